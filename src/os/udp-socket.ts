import { check, closeFd, libc, pinned } from './ffi.ts'
import { parseIpv4 } from './inet.ts'
import { ReceiveBatch } from './receive-batch.ts'
import { SendBatch } from './send-batch.ts'
import { SOCK_CLOEXEC, SOCK_NONBLOCK, setInt, setReceiveBuffer, setSendBuffer } from './sockopt.ts'

const AF_INET = 2
const SOCK_DGRAM = 2
const SOL_IP = 0
const IP_MTU_DISCOVER = 10
const IP_PMTUDISC_DO = 2

export interface UdpBatchOptions {
  /** Local IPv4 address. */
  address: string
  /** 1..65535, or 0 for one chosen by the kernel (see `port`). */
  port: number
  /** Receive queue (default 4 MiB). */
  receiveBytes?: number
  /** Datagrams a system call (default 64). */
  batch?: number
  /** Largest datagram in bytes, either way (default 2048). */
  slotSize?: number
}

/** Gets one datagram. `buffer` is only valid during the call; `sourceAddress` is u32 in host order. */
export type DatagramHandler = (
  buffer: Uint8Array,
  offset: number,
  length: number,
  sourceAddress: number,
  sourcePort: number,
) => void

/**
 * A UDP socket that works in batches and never blocks. Datagrams are sent with the don't-fragment bit, and one
 * that does not fit the path's known MTU is refused (EMSGSIZE): IP_PMTUDISC_DO, because a lost fragment loses
 * a whole first packet, and because the sender, told at once, has a shorter form to send. (PMTUDISC_PROBE
 * would ignore the path's MTU and lose such datagrams in silence.)
 */
export class UdpBatchSocket {
  readonly fd: number
  /** The local port. */
  readonly port: number
  readonly #incoming: ReceiveBatch
  readonly #outgoing: SendBatch
  /** Datagrams longer than a slot: dropped. */
  truncated = 0

  private constructor(fd: number, port: number, batch: number, slotSize: number) {
    this.fd = fd
    this.port = port
    this.#incoming = new ReceiveBatch(fd, batch, slotSize)
    this.#outgoing = new SendBatch(fd, batch, slotSize)
  }

  /** Throws OsError (EADDRINUSE, EADDRNOTAVAIL, EACCES) and RangeError for what is no IPv4 address. */
  static open(options: UdpBatchOptions): UdpBatchSocket {
    const { address, port, receiveBytes = 4 << 20, batch = 64, slotSize = 2048 } = options
    const name = pinned(16) // struct sockaddr_in
    name.writeUInt16LE(AF_INET, 0)
    name.writeUInt16BE(port, 2)
    name.writeUInt32BE(parseIpv4(address), 4)
    const fd = check('socket(UDP)', libc.socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
    try {
      setReceiveBuffer(fd, receiveBytes)
      setSendBuffer(fd, receiveBytes)
      setInt(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, 'setsockopt(IP_MTU_DISCOVER)')
      check(`bind(UDP ${address}:${port})`, libc.bind(fd, name, 16))
      const length = pinned(4)
      length.writeUInt32LE(16, 0)
      check('getsockname', libc.getsockname(fd, name, length))
      return new UdpBatchSocket(fd, name.readUInt16BE(2), batch, slotSize)
    } catch (error) {
      libc.close(fd)
      throw error
    }
  }

  /** Errors of receiving, by errno. */
  get receiveErrors(): ReadonlyMap<number, number> {
    return this.#incoming.errors
  }

  /** Refused datagrams by errno. */
  get errors(): ReadonlyMap<number, number> {
    return this.#outgoing.errors
  }

  /** Datagrams the kernel took. */
  get sent(): number {
    return this.#outgoing.sent
  }

  /** Hands up to `max` waiting datagrams to `handler`; answers how many were taken. Never blocks. */
  receive(max: number, handler: DatagramHandler): number {
    return this.#incoming.receive(max, index => this.#deliver(index, handler))
  }

  /**
   * Takes a copy of a datagram (a header, and a payload or null) for the next `flush`, flushing by itself when
   * the batch is full. `destination` is u32 in host order. Throws RangeError if it is larger than a slot.
   */
  queue(
    header: Uint8Array,
    headerLength: number,
    payload: Uint8Array | null,
    payloadOffset: number,
    payloadLength: number,
    destination: number,
    port: number,
  ): void {
    this.#outgoing.queue(header, 0, headerLength, payload, payloadOffset, payloadLength, destination, port)
  }

  /** Sends what is queued; answers how many of those datagrams were refused (see `errors`). Never blocks. */
  flush(): number {
    return this.#outgoing.flush()
  }

  /** Drops what was not flushed. */
  close(): void {
    closeFd(this.fd)
  }

  #deliver(index: number, handler: DatagramHandler): void {
    const { vector } = this.#incoming
    if (vector.wasTruncated(index)) {
      this.truncated++
      return
    }
    const length = vector.receivedLength(index)
    const offset = index * vector.slotSize
    handler(vector.bytes, offset, length, vector.sourceAddress(index), vector.sourcePort(index))
  }
}
