/** The keys, from the table that binds them. */
import { bindings, keyName } from '../keys.ts'
import { cut, type Line, span } from '../lines.ts'
import type { State } from '../model.ts'

const keysText = (keys: readonly string[]): string => keys.map(keyName).join(' ')

/** Groups side by side where they fit, so that all keys are seen at once in 80 x 24. */
export const helpLines = (state: State, top: number, height: number): Line[] => {
  const all = bindings(state.settings.readOnly)
  const groups = [...new Set(all.map(binding => binding.group))]
  const width = Math.max(...all.map(binding => keysText(binding.keys).length))
  const blocks = groups.map((group): Line[] => [
    [span(group, 'head')],
    ...all
      .filter(binding => binding.group === group)
      .map(
        ({ keys, help, screen }): Line => [
          span(`  ${keysText(keys).padEnd(width)}  `),
          span(screen === undefined ? help : `${help} (${screen})`, 'dim'),
        ],
      ),
    [],
  ])
  const half = Math.ceil(blocks.reduce((sum, block) => sum + block.length, 0) / 2)
  const left: Line[] = []
  const right: Line[] = []
  for (const block of blocks) (left.length + block.length <= half + 1 ? left : right).push(...block)
  const column = Math.floor(state.columns / 2)
  const wide = state.columns >= 78
  const lines = wide
    ? Array.from({ length: Math.max(left.length, right.length) }, (_, i): Line => {
        const first = cut(left[i] ?? [], column - 1)
        const used = first.reduce((sum, part) => sum + part.text.length, 0)
        return [...first, span(' '.repeat(column - used)), ...(right[i] ?? [])]
      })
    : [...left, ...right]
  lines.push([
    span('Rates are a second, from counters of this node; times are UTC; - stands for nothing.', 'dim'),
  ])
  const from = Math.max(0, Math.min(top, lines.length - height))
  return lines.slice(from, from + height).map(line => cut([span(' '), ...line], state.columns))
}
