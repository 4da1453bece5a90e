/** Digests of sets of atoms: sums, so that an atom is added and taken out in any order, at the cost of itself. */
import { halfSipHash13 } from '../agent/dataplane/half-siphash.ts'
import { BUCKETS } from './location.ts'
import { type BucketDigest, KEY_WORDS, type SetDigest } from './types.ts'

const words = new Uint32Array(KEY_WORDS + 4)

/** Of what copies of an atom must agree in: 32 bits, under the key that members share. Its owner stands apart. */
export const atomHash = (
  k0: number,
  k1: number,
  key: Uint32Array,
  at: number,
  host: number,
  generation: number,
  level: number,
): number => {
  for (let i = 0; i < KEY_WORDS; i++) words[i] = key[at + i]
  words[KEY_WORDS] = host
  words[KEY_WORDS + 1] = generation >>> 0
  words[KEY_WORDS + 2] = Math.floor(generation / 2 ** 32)
  words[KEY_WORDS + 3] = level
  return halfSipHash13(k0, k1, words, 0, KEY_WORDS + 4)
}

/** A set of atoms, by bucket. */
export class Digests {
  readonly #counts = new Uint32Array(BUCKETS)
  readonly #sums = new Uint32Array(BUCKETS)
  #count = 0
  #sum = 0

  get all(): SetDigest {
    return { count: this.#count, sum: this.#sum }
  }

  add(bucket: number, hash: number): void {
    this.#change(bucket, 1, hash)
  }

  remove(bucket: number, hash: number): void {
    this.#change(bucket, -1, -hash)
  }

  of(bucket: number): SetDigest {
    return { count: this.#counts[bucket], sum: this.#sums[bucket] }
  }

  /** Those of the buckets that are not empty. */
  buckets(): BucketDigest[] {
    const found: BucketDigest[] = []
    for (let bucket = 0; bucket < BUCKETS; bucket++)
      if (this.#counts[bucket] > 0) found.push({ bucket, ...this.of(bucket) })
    return found
  }

  #change(bucket: number, count: number, hash: number): void {
    this.#counts[bucket] += count
    this.#sums[bucket] += hash
    this.#count += count
    this.#sum = (this.#sum + hash) >>> 0
  }
}

/** Sums of sums mix badly with counts of few: both must be the same. */
export const sameDigest = (a: SetDigest, b: SetDigest): boolean => a.count === b.count && a.sum === b.sum
