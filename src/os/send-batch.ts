import { EINTR, errno, libc } from './ffi.ts'
import { MessageVector } from './message-vector.ts'

const IPV6_HEADER_BYTES = 40
const IPV6_DESTINATION = 24

const copy = Buffer.prototype.copy

/**
 * Collects datagrams in slots of its own and sends them with one sendmmsg(2). A message that the kernel
 * refuses (EAGAIN, ENOBUFS, EMSGSIZE, ENETUNREACH, ...) is counted and skipped: the network may lose a
 * packet, but one packet must not hold up the others.
 */
export class SendBatch {
  readonly #fd: number
  readonly #vector: MessageVector
  #queued = 0
  /** Refused messages by errno. */
  readonly errors = new Map<number, number>()
  /** Messages the kernel took. */
  sent = 0

  /** @param family of where messages go */
  constructor(fd: number, count: number, slotSize: number, family: 4 | 6 = 4) {
    this.#fd = fd
    this.#vector = new MessageVector(count, slotSize, family)
  }

  /** How many messages wait for `flush`. */
  get queued(): number {
    return this.#queued
  }

  /**
   * Copies a message of one or two parts into a slot, so that the caller may reuse its buffers at once; sends
   * the batch first if it is full. Throws RangeError for what does not fit a slot: that is a caller's error.
   */
  queue(
    head: Uint8Array,
    headOffset: number,
    headLength: number,
    tail: Uint8Array | null,
    tailOffset: number,
    tailLength: number,
    destination: number,
    port: number,
  ): void {
    const { slotSize, bytes } = this.#vector
    const length = headLength + (tail === null ? 0 : tailLength)
    if (length > slotSize)
      throw new RangeError(`a message of ${length} bytes does not fit a slot of ${slotSize}`)
    if (this.#queued === this.#vector.count) this.flush()
    const at = this.#queued * slotSize
    // Called on a plain Uint8Array on purpose: unlike set(subarray()) it allocates nothing.
    copy.call(head, bytes, at, headOffset, headOffset + headLength)
    if (tail !== null) copy.call(tail, bytes, at + headLength, tailOffset, tailOffset + tailLength)
    this.#vector.setOutgoing(this.#queued, length, destination, port)
    this.#queued++
  }

  /** Of a batch of IPv6: the same for a whole packet, which goes to its own destination. */
  queuePacket6(packet: Uint8Array, offset: number, length: number): void {
    const { slotSize, bytes } = this.#vector
    if (length > slotSize || length < IPV6_HEADER_BYTES)
      throw new RangeError(`a packet of ${length} bytes is none of ${IPV6_HEADER_BYTES} to ${slotSize}`)
    if (this.#queued === this.#vector.count) this.flush()
    copy.call(packet, bytes, this.#queued * slotSize, offset, offset + length)
    this.#vector.setOutgoing6(this.#queued, length, IPV6_DESTINATION)
    this.#queued++
  }

  /** Sends what is queued; answers how many messages were refused. Never blocks. */
  flush(): number {
    const count = this.#queued
    this.#queued = 0
    let refused = 0
    for (let next = 0; next < count; ) {
      const accepted = libc.sendmmsg(this.#fd, this.#vector.pointer(next), count - next, 0)
      if (accepted > 0) {
        next += accepted
        this.sent += accepted
        continue
      }
      const number = errno()
      if (number === EINTR) continue
      this.errors.set(number, (this.errors.get(number) ?? 0) + 1)
      refused++
      next++
    }
    return refused
  }
}
