/** The keys, from the table that binds them. */
import { type Binding, bindings, keyName } from '../keys.ts'
import { cut, type Line, span } from '../lines.ts'
import type { State } from '../model.ts'

const keysText = (keys: readonly string[]): string => keys.map(keyName).join(' ')
/** On more screens than this it is not said on which. */
const MANY = 2
const widthOf = (line: Line): number => line.reduce((sum, part) => sum + part.text.length, 0)

const groupLines = (group: string, all: readonly Binding[]): Line[] => {
  const width = Math.max(...all.map(({ keys }) => keysText(keys).length))
  return [
    [span(group, 'head')],
    ...all.map(
      ({ keys, help, screens }): Line => [
        span(`  ${keysText(keys).padEnd(width)}  `),
        span(
          screens === undefined || screens.length > MANY ? help : `${help} (${screens.join(', ')})`,
          'dim',
        ),
      ],
    ),
    [],
  ]
}

/** Groups side by side where they fit, so that all keys are seen at once in 80 x 24. */
export const helpLines = (state: State, top: number, height: number): Line[] => {
  const all = bindings(state.settings.readOnly)
  const groups = [...new Set(all.map(({ group }) => group))]
  const left: Line[] = []
  const right: Line[] = []
  for (const group of groups) {
    const block = groupLines(
      group,
      all.filter(binding => binding.group === group),
    )
    const toLeft = right.length === 0 && left.length <= (all.length + 2 * groups.length) / 2 - 2
    ;(toLeft ? left : right).push(...block)
  }
  const column = Math.max(...left.map(widthOf)) + 3
  const isWide = column + Math.max(...right.map(widthOf)) < state.columns
  const lines = isWide
    ? Array.from({ length: Math.max(left.length, right.length) }, (_, i): Line => {
        const first = left[i] ?? []
        return [...first, span(' '.repeat(column - widthOf(first))), ...(right[i] ?? [])]
      })
    : [...left, ...right]
  lines.push([span("Rates are per second, by this node's counters; times UTC. cls, fwd, hst: roles.", 'dim')])
  const from = Math.max(0, Math.min(top, lines.length - height))
  return lines.slice(from, from + height).map(line => cut([span(' '), ...line], state.columns))
}
