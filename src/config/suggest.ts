/**
 * Edits between two words (insert, delete, replace, swap of neighbours), or more than `max`. Only what `max` edits can
 * reach is computed.
 */
const distance = (a: string, b: string, max: number): number => {
  const far = max + 1
  if (Math.abs(a.length - b.length) > max) return far
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = new Array<number>(b.length + 1).fill(far)
    next[0] = i
    let least = i
    for (let j = Math.max(1, i - max); j <= Math.min(b.length, i + max); j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      let edits = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + same)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        edits = Math.min(edits, before[j - 2]! + 1)
      next[j] = edits
      least = Math.min(least, edits)
    }
    if (least > max) return far
    before = row
    row = next
  }
  return row[b.length]!
}

/** The candidate that `word` was probably meant to be, if one is near enough. */
export const nearest = (word: string, candidates: readonly string[]): string | undefined => {
  if (word.length > 64) return undefined
  const max = word.length <= 4 ? 1 : word.length <= 8 ? 2 : 3
  const lower = word.toLowerCase()
  let best: string | undefined
  let bestDistance = max + 1
  for (const candidate of candidates) {
    const d = distance(lower, candidate.toLowerCase(), bestDistance - 1)
    if (d < bestDistance && d < candidate.length) [best, bestDistance] = [candidate, d]
  }
  return best
}

/** ` (did you mean "x"?)`, or nothing. */
export const didYouMean = (word: string, candidates: readonly string[]): string => {
  const guess = nearest(word, candidates)
  return guess === undefined ? '' : ` (did you mean "${guess}"?)`
}
