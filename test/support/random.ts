/** A seeded generator (mulberry32), so that a failing run replays: numbers 0 <= n < 1. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Integers 0..below-1 from a generator. */
export const integers =
  (next: () => number) =>
  (below: number): number =>
    Math.floor(next() * below)

/** Seeds of the long runs: three fixed ones, or those of SHUNT_TEST_SEED (comma-separated). */
export const runSeeds = (): number[] => (process.env.SHUNT_TEST_SEED ?? '1,2,3').split(',').map(Number)
