/** Everything about one row, and the events of its node. */
import { cut, type Line, span } from '../lines.ts'
import type { Place, State } from '../model.ts'
import { clockOf } from '../screens/events.ts'
import { stateStyle } from '../screens/screen.ts'
import { screenOf } from '../screens/table.ts'
import { clean, wrap } from '../text.ts'

const STATES = ['machine', 'agent', 'state', 'severity']

const factLines = (facts: readonly (readonly [string, string])[], columns: number): Line[] => {
  const width = Math.max(...facts.map(([name]) => name.length))
  return facts.flatMap(([name, value]) =>
    wrap(clean(value), Math.max(10, columns - width - 4)).map((part, i) => [
      span(`  ${(i === 0 ? name : '').padEnd(width)}  `, 'dim'),
      span(part, STATES.includes(name) ? stateStyle(value) : undefined),
    ]),
  )
}

const eventLines = ({ snapshot }: State, subject: string): Line[] => {
  const events = (snapshot?.events ?? []).filter(event => event.subject === subject).reverse()
  if (events.length === 0) return []
  return [
    [],
    [span('  events of this node, newest first', 'head')],
    ...events.map(
      (event): Line => [
        span(`  ${clockOf(event.time)}  `),
        span(event.severity.padEnd(7), stateStyle(event.severity)),
        span(`  ${clean(event.text)}`),
      ],
    ),
  ]
}

export const detailLines = (state: State, at: Place & { kind: 'details' }, height: number): Line[] => {
  const details = state.snapshot && screenOf(at.screen).details(at.key, state.snapshot)
  if (details === null) return [[], [span('  it is not there any more; Esc goes back', 'dim')]]
  const lines: Line[] = [
    [],
    ...factLines(details.facts, state.columns),
    ...(details.subject === undefined ? [] : eventLines(state, details.subject)),
  ]
  const top = Math.max(0, Math.min(at.top, lines.length - height))
  return lines.slice(top, top + height).map(line => cut(line, state.columns))
}
