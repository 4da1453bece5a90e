import { check, closeFd, libc } from './ffi.ts'
import { SendBatch } from './send-batch.ts'
import { SO_MARK, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, setInt, setSendBuffer } from './sockopt.ts'

const AF_INET = 2
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
}

/**
 * Sends whole IPv4 packets, routed by the kernel to a given next destination. The kernel fills in total length
 * and header checksum, and the identification if it is 0; the caller finishes the transport checksum. A packet
 * larger than the route's MTU is refused (EMSGSIZE), never fragmented.
 */
export class RawSender {
  readonly fd: number
  readonly #batch: SendBatch

  private constructor(fd: number, batch: number, slotSize: number) {
    this.fd = fd
    this.#batch = new SendBatch(fd, batch, slotSize)
  }

  /** Throws OsError (EPERM without CAP_NET_RAW). */
  static open({ batch = 64, slotSize = 2048, mark }: RawSenderOptions = {}): RawSender {
    const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC
    const fd = check('socket(IPPROTO_RAW)', libc.socket(AF_INET, type, IPPROTO_RAW))
    try {
      setSendBuffer(fd, SEND_BUFFER_BYTES)
      if (mark !== undefined) setInt(fd, SOL_SOCKET, SO_MARK, mark, 'setsockopt(SO_MARK)')
      return new RawSender(fd, batch, slotSize)
    } catch (error) {
      libc.close(fd)
      throw error
    }
  }

  /** Packets refused by the kernel, by errno. */
  get errors(): ReadonlyMap<number, number> {
    return this.#batch.errors
  }

  /** Packets the kernel took. */
  get sent(): number {
    return this.#batch.sent
  }

  /**
   * Takes a copy of a packet for the next `flush`, flushing by itself when the batch is full. `destination`
   * (u32, host order) is what is routed by; give the packet's own destination unless it should go elsewhere.
   * Throws RangeError if the packet is larger than a slot.
   */
  queue(buffer: Uint8Array, offset: number, length: number, destination: number): void {
    this.#batch.queue(buffer, offset, length, null, 0, 0, destination, 0)
  }

  /** Sends what is queued; answers how many of those packets were refused (see `errors`). Never blocks. */
  flush(): number {
    return this.#batch.flush()
  }

  /** Drops what was not flushed. */
  close(): void {
    closeFd(this.fd)
  }
}
