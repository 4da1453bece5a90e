import { halfSipHash13 } from './half-siphash.ts'

export interface LimitSettings {
  /** Messages a second, and at once, in all. */
  readonly perSecond: number
  readonly burst: number
  /** The same for one address; several may share theirs. */
  readonly eachPerSecond: number
  readonly eachBurst: number
}

/** Addresses that share the buckets of `each`: a power of two. */
const SLOTS = 1024

/**
 * Bounds what ICMP makes this node do: token buckets, one in all and one for each address (by keyed hash, so that nobody outside can
 * choose whom to share with). One sender so cannot use up what is there for the others.
 */
export class IcmpLimit {
  readonly #settings: LimitSettings
  readonly #k0: number
  readonly #k1: number
  readonly #tokens: Float64Array
  readonly #atMs: Float64Array

  constructor(settings: LimitSettings, k0: number, k1: number) {
    this.#settings = settings
    this.#k0 = k0
    this.#k1 = k1
    this.#tokens = new Float64Array(SLOTS + 1).fill(settings.eachBurst)
    this.#atMs = new Float64Array(SLOTS + 1)
    this.#tokens[SLOTS] = settings.burst
  }

  /** Whether one more may be; then it is counted. `words`: an address, four words from `at`. */
  allows(words: Uint32Array, at: number, nowMs: number): boolean {
    const { perSecond, burst, eachPerSecond, eachBurst } = this.#settings
    const slot = halfSipHash13(this.#k0, this.#k1, words, at, 4) & (SLOTS - 1)
    const own = this.#earned(slot, eachPerSecond, eachBurst, nowMs)
    const all = this.#earned(SLOTS, perSecond, burst, nowMs)
    if (own < 1 || all < 1) return false
    this.#tokens[slot] = own - 1
    this.#tokens[SLOTS] = all - 1
    return true
  }

  /** Time that runs backwards earns nothing. */
  #earned(slot: number, perSecond: number, burst: number, nowMs: number): number {
    const passedMs = Math.max(0, nowMs - this.#atMs[slot])
    this.#atMs[slot] = nowMs
    this.#tokens[slot] = Math.min(burst, this.#tokens[slot] + (passedMs * perSecond) / 1000)
    return this.#tokens[slot]
  }
}
