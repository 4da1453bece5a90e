import { check, closeFd, libc } from './ffi.ts'
import { SendBatch } from './send-batch.ts'
import { SO_MARK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, setInt, setSendBuffer } from './sockopt.ts'

const AF_INET = 2
const AF_INET6 = 10
const SOCK_RAW = 3
const IPPROTO_RAW = 255 // implies IP_HDRINCL, and receives nothing: raw(7)
const SEND_BUFFER_BYTES = 4 << 20

export interface RawSenderOptions {
  /** Packets a sendmmsg(2) call (default 64). */
  batch?: number
  /** Largest packet in bytes (default 2048). */
  slotSize?: number
  /** Mark of all packets sent, for policy routing and for nftables. */
  mark?: number
  /** Whether it sends IPv6 packets too (default false). */
  ipv6?: boolean
}

/**
 * Sends whole packets, routed by the kernel to a given next destination, or of IPv6 to their own. Of IPv4 the kernel fills in total length
 * and header checksum, and the identification if it is 0; the caller finishes the transport checksum. A packet
 * larger than the route's MTU is refused (EMSGSIZE), never fragmented.
 */
export class RawSender {
  readonly fd: number
  readonly #fd6: number | null
  readonly #batch: SendBatch
  readonly #batch6: SendBatch | null

  private constructor(fd: number, fd6: number | null, batch: number, slotSize: number) {
    this.fd = fd
    this.#fd6 = fd6
    this.#batch = new SendBatch(fd, batch, slotSize)
    this.#batch6 = fd6 === null ? null : new SendBatch(fd6, batch, slotSize, 6)
  }

  /** Throws OsError (EPERM without CAP_NET_RAW). */
  static open({ batch = 64, slotSize = 2048, mark, ipv6 = false }: RawSenderOptions = {}): RawSender {
    const fd = openRaw(AF_INET, mark)
    try {
      return new RawSender(fd, ipv6 ? openRaw(AF_INET6, mark) : null, batch, slotSize)
    } catch (error) {
      libc.close(fd)
      throw error
    }
  }

  /** Packets refused by the kernel, by errno. */
  get errors(): ReadonlyMap<number, number> {
    const errors = new Map(this.#batch.errors)
    for (const [number, count] of this.#batch6?.errors ?? [])
      errors.set(number, (errors.get(number) ?? 0) + count)
    return errors
  }

  /** Packets the kernel took. */
  get sent(): number {
    return this.#batch.sent + (this.#batch6?.sent ?? 0)
  }

  /**
   * Takes a copy of a packet for the next `flush`, flushing by itself when the batch is full. `destination`
   * (u32, host order) is what is routed by; give the packet's own destination unless it should go elsewhere.
   * An IPv6 packet goes to its own. Throws RangeError if the packet is larger than a slot.
   */
  queue(buffer: Uint8Array, offset: number, length: number, destination: number): void {
    if (buffer[offset] >>> 4 === 6 && this.#batch6 !== null)
      return this.#batch6.queuePacket6(buffer, offset, length)
    this.#batch.queue(buffer, offset, length, null, 0, 0, destination, 0)
  }

  /** Sends what is queued; answers how many of those packets were refused (see `errors`). Never blocks. */
  flush(): number {
    return this.#batch.flush() + (this.#batch6?.flush() ?? 0)
  }

  /** Drops what was not flushed. */
  close(): void {
    closeFd(this.fd)
    if (this.#fd6 !== null) closeFd(this.#fd6)
  }
}

const openRaw = (family: number, mark: number | undefined): number => {
  const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC
  const fd = check('socket(IPPROTO_RAW)', libc.socket(family, type, IPPROTO_RAW))
  try {
    setSendBuffer(fd, SEND_BUFFER_BYTES)
    if (mark !== undefined) setInt(fd, SOL_SOCKET, SO_MARK, mark, 'setsockopt(SO_MARK)')
    return fd
  } catch (error) {
    libc.close(fd)
    throw error
  }
}
