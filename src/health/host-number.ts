import { freeNumber } from './hash.ts'

/**
 * Host numbers (u32, never 0) that stand for peer ids in health messages: from SHA-256 of the id; of ids with the same number the
 * later in order takes the next that is free. The same on all nodes with the same membership. An id that is there twice counts once.
 */
export const hostNumbers = (ids: readonly string[]): Map<string, number> => {
  const numbers = new Map<string, number>()
  const taken = new Set<number>()
  for (const id of [...new Set(ids)].sort()) {
    const number = freeNumber(id, candidate => taken.has(candidate))
    taken.add(number)
    numbers.set(id, number)
  }
  return numbers
}
