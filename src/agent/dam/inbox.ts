/** Messages of members as they come: decoded, within what one member may cost this node's main thread. */
import { decodeDam } from '../../dam/codec.ts'
import type { DamMessage, Origin } from '../../dam/types.ts'
import { RateByKey } from '../../gossip/rate-by-key.ts'

/** Bytes of one member, with a price a message. Members send at two thirds of it at most (outgoing.ts), but for what is urgent. */
const RATE = { ratePerS: 6 * 1024 * 1024, burst: 8 * 1024 * 1024 }
const MESSAGE_PRICE_BYTES = 128

export class DamInbox {
  readonly counters = { messages_in: 0, bytes_in: 0, messages_bad: 0, messages_over_rate: 0 }
  readonly #rates = new RateByKey(RATE)

  /** Null for what is none, or too much: digests make up for it. */
  take(from: Origin, body: Uint8Array, nowMs: number): DamMessage | null {
    this.counters.messages_in++
    this.counters.bytes_in += body.length
    if (!this.#rates.take(from.member, nowMs, body.length + MESSAGE_PRICE_BYTES)) {
      this.counters.messages_over_rate++
      return null
    }
    try {
      return decodeDam(body, from)
    } catch {
      this.counters.messages_bad++
      return null
    }
  }
}
