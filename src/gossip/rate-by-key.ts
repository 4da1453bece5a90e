/** A token bucket for each of many keys (addresses, peers), bounded in memory: those that are full again are as good as unknown. */
import { type Bucket, type BucketSettings, takeTokens } from './bucket.ts'

const MAX_KEYS = 4096

export class RateByKey {
  readonly #settings: BucketSettings
  // In order of the last use; a Map keeps it.
  readonly #buckets = new Map<string, Bucket>()

  constructor(settings: BucketSettings) {
    this.#settings = settings
  }

  /** How many keys are remembered. */
  get size(): number {
    return this.#buckets.size
  }

  /** Takes so many tokens of this key's; false, and nothing is taken, when there are not. */
  take(key: string, nowMs: number, cost = 1): boolean {
    const before = this.#buckets.get(key) ?? { tokens: this.#settings.burst, atMs: nowMs }
    const { bucket, waitMs } = takeTokens(before, cost, nowMs, this.#settings)
    this.#buckets.delete(key)
    const taken = waitMs === 0
    this.#buckets.set(key, taken ? bucket : { tokens: bucket.tokens + cost, atMs: nowMs })
    this.#forget(nowMs)
    return taken
  }

  #forget(nowMs: number): void {
    const fullAfterMs = (this.#settings.burst * 1000) / this.#settings.ratePerS
    for (const [key, { atMs }] of this.#buckets) {
      if (nowMs - atMs < fullAfterMs && this.#buckets.size <= MAX_KEYS) return
      this.#buckets.delete(key)
    }
  }
}
