/** Which of two atoms of one key is in force: the same answer everywhere, in whatever order they come (R-C4, R-C6). */
import type { Origin } from './types.ts'

export interface Rank {
  readonly generation: number
  readonly zombie: boolean
  readonly owner: Origin
}

/** Ticks of a generation in a millisecond: so many replacements of one key in one millisecond keep their order. */
const PER_MS = 1024

/**
 * The generation of a replacement: above what is replaced, and above what another member gave earlier.
 * @param atMs unix time, as members together have it (clock.ts)
 */
export const nextGeneration = (replaced: number, atMs: number): number =>
  Math.max(replaced + 1, Math.floor(atMs) * PER_MS)

/** What a member puts before it has heard of the others' atoms is numbered from 0, and not by time: everything else is above it. */
const FIRST_HEARD = 2 ** 32
export const isUnheard = (generation: number): boolean => generation < FIRST_HEARD

/** Unix time (ms) by the clock of the member that gave it; later where it replaced one of a clock ahead. */
export const timeOf = (generation: number): number => Math.floor(generation / PER_MS)

/** Whether a generation can be believed: one far in the future could not be replaced by anybody whose clock is right. */
export const isPlausible = (generation: number, wallMs: number, aheadMs: number): boolean =>
  Number.isSafeInteger(generation) && generation >= 0 && generation <= (wallMs + aheadMs) * PER_MS

export const sameOrigin = (a: Origin, b: Origin): boolean =>
  a.member === b.member && a.incarnation === b.incarnation

/** Negative: `a` gives way. 0: they are the same version. Of one generation an end wins, then the later incarnation, then the name. */
export const compareAtoms = (a: Rank, b: Rank): number => {
  if (a.generation !== b.generation) return a.generation - b.generation
  if (a.zombie !== b.zombie) return a.zombie ? 1 : -1
  if (a.owner.member !== b.owner.member) return a.owner.member < b.owner.member ? -1 : 1
  return a.owner.incarnation - b.owner.incarnation
}
