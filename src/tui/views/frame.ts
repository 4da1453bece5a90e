/** The whole screen, as exactly as many lines as the terminal has. Pure. */
import { bindings, type Command, keyName } from '../keys.ts'
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

/** What gives way on a narrow screen, the first one first; the help has them all. */
const YIELDS: readonly Command[] = ['sort', 'pause', 'filter']

/** Keys of this place, from the table of keys. */
const hints = (state: State): Line => {
  const at = shownPlace(state)
  const all: { key: string; what: string; does: Command }[] = []
  if (state.places.length > 1 || (at.kind === 'table' && at.list.filter !== ''))
    all.push({ key: 'Esc', what: 'back', does: 'back' })
  for (const { keys, hint, screens, does } of bindings(state.settings.readOnly)) {
    if (hint === undefined || (screens !== undefined && !screens.includes(at.screen))) continue
    if (at.kind === 'details' && ['open', 'filter', 'sort'].includes(does)) continue
    all.push({ key: keyName(keys[0]!), what: does === 'pause' && state.paused ? 'go on' : hint, does })
  }
  const readOnly = state.settings.readOnly ? '  read-only' : ''
  const widthOf = (shown: typeof all): number =>
    shown.reduce((sum, { key, what }) => sum + key.length + what.length + 3, readOnly.length - 2)
  const shown = YIELDS.reduce(
    (left, yields) => (widthOf(left) > state.columns ? left.filter(({ does }) => does !== yields) : left),
    all,
  )
  return [
    ...shown.flatMap(({ key, what }, i): Span[] => [
      ...(i === 0 ? [] : [span('  ')]),
      span(key, 'head'),
      span(` ${what}`, 'dim'),
    ]),
    ...(readOnly === '' ? [] : [span(readOnly, 'odd')]),
  ]
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
