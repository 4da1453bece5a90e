/** Runs of a simulation by seed: a seed that fails is printed with the way to replay it. */

/** The seeds of a run: 1 to `count`, or the one of SEED=n. */
export const seeds = (count: number): number[] => {
  const one = process.env.SEED
  return one === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [Number(one)]
}

/** Runs `once` for every seed; a failure says which seed, and how to run it alone. */
export const forSeeds = (count: number, file: string, once: (seed: number) => void): void => {
  for (const seed of seeds(count))
    try {
      once(seed)
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      throw new Error(`seed ${seed}: ${text}\nreplay: SEED=${seed} node ${file}`, { cause: error })
    }
}

/** The first of so many seeds for which `once` throws, or undefined: how fast a seeded bug is found. */
export const firstFailure = (count: number, once: (seed: number) => void): number | undefined => {
  for (let seed = 1; seed <= count; seed++)
    try {
      once(seed)
    } catch {
      return seed
    }
  return undefined
}
