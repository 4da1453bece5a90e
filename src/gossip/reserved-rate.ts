/** A rate of which some callers are sure of a part: what the others leave of it is theirs too, and what they take is taken from all. Pure. */
import { type Bucket, type BucketSettings, takeTokens } from './bucket.ts'

export interface ReservedRateSettings {
  /** Of all together: those that are sure of theirs may go `reserved.burst` beyond `burst` for a moment. */
  readonly all: BucketSettings
  /** A lower rate than that of all. */
  readonly reserved: BucketSettings
}

export class ReservedRate {
  readonly #settings: ReservedRateSettings
  #all: Bucket
  #reserved: Bucket

  constructor(settings: ReservedRateSettings, nowMs: number) {
    this.#settings = settings
    this.#all = { tokens: settings.all.burst, atMs: nowMs }
    this.#reserved = { tokens: settings.reserved.burst, atMs: nowMs }
  }

  /** Takes so many; false, and nothing is taken, when there are not. @param isSure may use the reserved part */
  take(isSure: boolean, nowMs: number, cost = 1): boolean {
    const all = takeTokens(this.#all, cost, nowMs, this.#settings.all)
    if (all.waitMs > 0) {
      if (!isSure) return false
      const reserved = takeTokens(this.#reserved, cost, nowMs, this.#settings.reserved)
      if (reserved.waitMs > 0) return false
      this.#reserved = reserved.bucket
    }
    this.#all = all.bucket
    return true
  }
}
