/** Which small numbers were given out by this process: from `next` on never, those of `freed` once; longest free first. */
export interface IndexBook {
  readonly next: number
  readonly freed: readonly number[]
}

export const emptyBook = (first: number): IndexBook => ({ next: first, freed: [] })

/**
 * Keeps the index of every key that has one and gives the others one that was never used while there is one up to `last`,
 * else the one that is free longest: what may still be under way with an old meaning dies out before it gets a new one. Keys
 * beyond the capacity get none; those that have an index come first.
 */
export const assignIndexes = (
  keys: readonly string[],
  held: ReadonlyMap<string, number>,
  book: IndexBook,
  last: number,
): { readonly indexes: ReadonlyMap<string, number>; readonly book: IndexBook } => {
  const wanted = new Set(keys)
  const released = [...held].filter(([key]) => !wanted.has(key)).map(([, index]) => index)
  const freed = [...book.freed, ...released]
  const indexes = new Map<string, number>()
  for (const key of wanted) {
    const index = held.get(key)
    if (index !== undefined) indexes.set(key, index)
  }
  let { next } = book
  for (const key of wanted) {
    if (indexes.has(key)) continue
    const index = next <= last ? next++ : freed.shift()
    if (index === undefined) break
    indexes.set(key, index)
  }
  return { indexes, book: { next, freed } }
}
