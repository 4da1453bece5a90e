/** Finds keys that a mapping has twice. The library's own check compares each key with every other, which takes half a minute for some ten thousand. Pure. */
import { type Document, isAlias, isScalar, visit } from 'yaml'

/** Keys that are the same text once read (`1` and `"1"`) are the same. Those that are no scalars count as different. */
const textOf = (key: unknown): string | undefined => {
  if (isScalar(key)) return `=${String(key.value)}`
  return isAlias(key) ? `*${key.source}` : undefined
}

/** Offsets in the text of every key that its mapping has already. */
export const repeatedKeys = (doc: Document): number[] => {
  const offsets: number[] = []
  visit(doc, {
    Map: (_, map) => {
      const seen = new Set<string>()
      for (const { key } of map.items) {
        const text = textOf(key)
        if (text === undefined) continue
        if (seen.has(text)) offsets.push((key as { range?: [number, number, number] }).range?.[0] ?? 0)
        seen.add(text)
      }
    },
  })
  return offsets
}
