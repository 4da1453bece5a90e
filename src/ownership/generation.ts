/**
 * Numbers of claims, compared as serial numbers (RFC 1982): each can be passed by another, so whatever a member has said, or a disk has kept, the others
 * come to one claim again, and none stands for ever. Pure.
 */

/** From 1 to this; 0: there is no claim. */
export const MAX_GENERATION = 2 ** 48 - 1
const SPACE = MAX_GENERATION + 1

/** Whether `a` is above `b`; of two different ones one always is above the other. */
export const isAbove = (a: number, b: number): boolean => {
  if (a === 0 || b === 0) return a > b
  const ahead = (a - b + SPACE) % SPACE
  return ahead === SPACE / 2 ? a > b : ahead !== 0 && ahead < SPACE / 2
}

/** The next one above the higher of both. */
export const nextGeneration = (a: number, b = 0): number => {
  const highest = isAbove(a, b) ? a : b
  return highest === MAX_GENERATION ? 1 : highest + 1
}
