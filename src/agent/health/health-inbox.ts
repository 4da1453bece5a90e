/** Health messages of peers, within what one peer may cost this node's main thread. */
import { RateByKey } from '../../gossip/rate-by-key.ts'
import { openHealth, readHealth } from '../../health/codec.ts'
import type { HealthMessage } from '../../health/types.ts'

/**
 * Of one peer: a message 1, and 1 more for each UNIT_BYTES that it has once it is inflated. A few bytes inflate to a thousand rows, and
 * it is the rows that cost time.
 */
const RATE = { ratePerS: 300, burst: 2_000 }
const UNIT_BYTES = 512

export class HealthInbox {
  readonly #rates = new RateByKey(RATE)
  readonly #count: (what: 'messages_in' | 'messages_bad' | 'messages_over_rate') => void

  constructor(count: (what: 'messages_in' | 'messages_bad' | 'messages_over_rate') => void) {
    this.#count = count
  }

  /** Null for what is none, or too much. Monotonic ms. */
  take(from: string, bytes: Uint8Array, nowMs: number): HealthMessage | null {
    this.#count('messages_in')
    const isWithin = (cost: number): boolean => {
      const taken = this.#rates.take(from, nowMs, cost)
      if (!taken) this.#count('messages_over_rate')
      return taken
    }
    if (!isWithin(1 + bytes.length / UNIT_BYTES)) return null
    try {
      const opened = openHealth(bytes)
      const grown = Math.max(0, opened.body.length - bytes.length)
      return isWithin(grown / UNIT_BYTES) ? readHealth(opened) : null
    } catch {
      this.#count('messages_bad')
      return null
    }
  }
}
