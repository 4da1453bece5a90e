/** The whole screen, as exactly as many lines as the terminal has. Pure. */
import { bindings, keyName } from '../keys.ts'
import { cut, type Line, type Span, span } from '../lines.ts'
import type { State } from '../model.ts'
import { isTooSmall, shownPlace, TOO_SMALL, tableHeight } from '../rows.ts'
import { clean } from '../text.ts'
import { actionLines } from './action.ts'
import { detailLines } from './details.ts'
import { gaugeLine, tabLine, titleLine, troubleLine } from './header.ts'
import { helpLines } from './help.ts'
import { tableLines } from './table.ts'

const bodyLines = (state: State): Line[] => {
  const { overlay } = state
  const height = tableHeight(state)
  const at = shownPlace(state)
  if (overlay?.kind === 'help') return helpLines(state, overlay.top, height + 1)
  if (overlay !== null && overlay.kind !== 'filter') return actionLines(state, overlay, height + 1)
  return at.kind === 'details' ? detailLines(state, at, height + 1) : tableLines(state, at, height)
}

/** Keys of this place, from the table of keys. */
const hints = (state: State): Line => {
  const at = shownPlace(state)
  const spans: Span[] = []
  const add = (key: string, what: string): void => {
    if (spans.length > 0) spans.push(span('  '))
    spans.push(span(key, 'head'), span(` ${what}`, 'dim'))
  }
  if (state.places.length > 1 || (at.kind === 'table' && at.list.filter !== '')) add('Esc', 'back')
  for (const { keys, hint, screen, does } of bindings(state.settings.readOnly)) {
    if (hint === undefined || (screen !== undefined && screen !== at.screen)) continue
    if (at.kind === 'details' && ['open', 'filter', 'sort'].includes(does)) continue
    add(keyName(keys[0]!), does === 'pause' && state.paused ? 'go on' : hint)
  }
  if (state.settings.readOnly) spans.push(span('  read-only', 'odd'))
  return spans
}

const lastLine = (state: State): Line => {
  const { overlay, message } = state
  if (message !== '') return [span(clean(message), 'odd')]
  const at = shownPlace(state)
  if (overlay?.kind === 'filter' && at.kind === 'table')
    return [
      span('/', 'head'),
      span(clean(`${at.list.filter}_`)),
      span('  Enter keeps it, Esc drops it', 'dim'),
    ]
  if (overlay?.kind === 'help') return [span('j k scroll, any other key goes back', 'dim')]
  return overlay === null ? hints(state) : []
}

export const frame = (state: State): Line[] => {
  const { rows, columns } = state
  if (isTooSmall(state)) {
    const text = `needs ${TOO_SMALL.columns} x ${TOO_SMALL.rows}, has ${columns} x ${rows}`
    return [cut([span(text)], columns), ...Array.from({ length: Math.max(0, rows - 1) }, (): Line => [])]
  }
  const lines = [
    titleLine(state),
    gaugeLine(state),
    troubleLine(state),
    tabLine(state, tableHeight(state)),
    ...bodyLines(state),
  ].slice(0, rows - 1)
  while (lines.length < rows - 1) lines.push([])
  return [...lines, cut(lastLine(state), columns)]
}
