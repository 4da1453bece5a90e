/** The four lines above every screen: who answers, how busy it is, what is not well, and where one is. */
import { bytes, duration, percent } from '../../cli/format.ts'
import { latest } from '../history.ts'
import { cut, type Line, lineText, type Span, span } from '../lines.ts'
import type { State } from '../model.ts'
import { rowsOf, shownPlace } from '../rows.ts'
import { clockOf } from '../screens/events.ts'
import { SCREENS, screenOf } from '../screens/table.ts'
import { clean, fit, short, sparkline } from '../text.ts'
import { orders, troubles } from '../troubles.ts'

/** Left and right part of a line; the left one gives way. */
const ends = (left: Line, right: Line, width: number): Line => {
  const rightWidth = right.reduce((sum, part) => sum + part.text.length, 0)
  const shown = cut(left, Math.max(0, width - rightWidth - 1))
  const used = shown.reduce((sum, part) => sum + part.text.length, 0)
  return cut([...shown, span(' '.repeat(Math.max(1, width - used - rightWidth))), ...right], width)
}

export const titleLine = ({ snapshot, settings, paused, columns }: State): Line => {
  if (snapshot === null) return ends([span('shunt top', 'head')], [span(settings.socket, 'dim')], columns)
  const { status, time } = snapshot
  const flows = status.limits.find(limit => limit.name === 'flows')
  const facts = [
    `up ${duration(status.uptimeMs)}`,
    ...(flows === undefined ? [] : [`flows ${flows.used} (${percent(flows.used, flows.capacity)})`]),
    bytes(status.memory.rssBytes),
  ]
  const clock = `${clockOf(time)}Z`
  const pace = paused
    ? [span('PAUSED ', 'odd'), span(clock)]
    : [span(`${clock} every ${duration(settings.intervalMs)}`, 'dim')]
  return ends(
    [
      span('shunt top  ', 'dim'),
      span(clean(status.node), 'head'),
      span(' '),
      span(status.state, status.state === 'running' ? 'good' : 'odd'),
      span(`  ${facts.join('  ')}`),
    ],
    pace,
    columns,
  )
}

const GAUGES = [
  ['conn/s', 'connections'],
  ['kernel pkt/s', 'packets kernel'],
  ['agent pkt/s', 'packets agent'],
] as const
const NUMBER = 5

export const gaugeLine = ({ history, settings, columns }: State): Line => {
  const fixed = GAUGES.reduce((sum, [label]) => sum + label.length + NUMBER + 2, 2 * (GAUGES.length - 1))
  const width = Math.max(0, Math.min(60, Math.floor((columns - fixed) / GAUGES.length)))
  const line: Span[] = []
  for (const [i, [label, name]] of GAUGES.entries()) {
    const rate = latest(history, name)
    line.push(
      span(`${i === 0 ? '' : '  '}${label} `, 'dim'),
      span(fit(rate === null ? '-' : short(rate), NUMBER, true)),
      span(` ${sparkline(history.series[name] ?? [], width, settings.unicode).padEnd(width)}`, 'good'),
    )
  }
  return cut(line, columns)
}

export const troubleLine = ({ snapshot, away, columns }: State): Line => {
  if (away !== null) {
    const seen = snapshot === null ? '' : ` (what you see is of ${clockOf(snapshot.time)}Z)`
    return cut([span(`! agent away, trying again${seen}: ${clean(away)}`, 'bad')], columns)
  }
  if (snapshot === null) return [span('asking the agent', 'dim')]
  const found = troubles(snapshot)
  const ordered = orders(snapshot)
  if (found.length === 0)
    return ordered.length === 0
      ? [span('all well', 'good')]
      : cut([span(`well, but ${clean(ordered.join('; '))}`, 'odd')], columns)
  const many = found.length > 1 ? `${found.length} troubles: ` : ''
  return cut([span(`! ${many}${clean([...found, ...ordered].join('; '))}`, 'bad')], columns)
}

const scopeText = (state: State): string => {
  const at = shownPlace(state)
  if (at.kind === 'details') {
    const details = state.snapshot && screenOf(at.screen).details(at.key, state.snapshot)
    return details === null ? '> gone' : `> ${details.title}`
  }
  const { service, host } = at.scope
  const what = state.columns < 100 ? '' : service !== undefined ? 'service ' : 'host '
  const name = service ?? host
  const of = name === undefined ? '' : `of ${what}${name}`
  const filter = at.list.filter === '' || state.overlay?.kind === 'filter' ? '' : `filter: ${at.list.filter}`
  return [of, filter].filter(Boolean).join('  ')
}

/** Which rows of how many. */
const windowText = (state: State, height: number): string => {
  const at = shownPlace(state)
  if (at.kind !== 'table') return ''
  const { snapshot } = state
  const rows = rowsOf(state).length
  const loaded = at.screen === 'flows' ? (snapshot?.flows ?? null) : null
  const more = loaded !== null && loaded.total > loaded.shown ? `, ${loaded.total} in all` : ''
  if (rows === 0) return more === '' ? '' : `0${more}`
  return `${at.list.top + 1}-${Math.min(rows, at.list.top + height)} of ${rows}${more}`
}

export const tabLine = (state: State, height: number): Line => {
  const here = shownPlace(state).screen
  const tabs = (named: boolean): Line =>
    SCREENS.map(({ id }, i) =>
      id === here ? span(`[${i + 1}:${id}]`, 'head') : span(named ? `${i + 1}:${id}` : String(i + 1), 'dim'),
    ).flatMap((tab, i) => (i === 0 ? [tab] : [span(' '), tab]))
  const scope = clean(scopeText(state))
  const window = windowText(state, height)
  const isRoomy = lineText(tabs(true)).length + scope.length + window.length + 2 <= state.columns
  return ends([...tabs(isRoomy), span(' '), span(scope, 'odd')], [span(window, 'dim')], state.columns)
}
