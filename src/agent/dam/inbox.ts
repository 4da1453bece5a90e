/** Messages of members as they come: decoded, within what one member may cost this node's main thread. */
import { decodeDam } from '../../dam/codec.ts'
import type { DamMessage, Origin } from '../../dam/types.ts'
import { RateByKey } from '../../gossip/rate-by-key.ts'

/** Bytes of one member, with a price a message. Members send at two thirds of it at most (outgoing.ts), but for what is urgent. */
const RATE = { ratePerS: 3 * 1024 * 1024, burst: 8 * 1024 * 1024 }
const MESSAGE_PRICE_BYTES = 128
/** What is short, but much work: a comparison is answered with a list of all buckets, a bucket is gone through. */
const PRICE_BYTES: Partial<Record<DamMessage['type'], number>> = { sync: 16_384, bucket: 2_048 }

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
      const message = decodeDam(body, from)
      const price = PRICE_BYTES[message.type]
      if (price === undefined || this.#rates.take(from.member, nowMs, price)) return message
      this.counters.messages_over_rate++
      return null
    } catch {
      this.counters.messages_bad++
      return null
    }
  }
}
