import { check, closeFd, libc, pinned } from './ffi.ts'
import { parseIpv4 } from './inet.ts'
import { attachFilter } from './mark-filter.ts'
import { ReceiveBatch } from './receive-batch.ts'
import { SendBatch } from './send-batch.ts'
import { SOCK_CLOEXEC, SOCK_NONBLOCK, setInt, setReceiveBuffer } from './sockopt.ts'

const AF_INET = 2
const SOCK_RAW = 3
const IPPROTO_ICMP = 1
const SOL_IP = 0
const IP_TOS = 1
const SOL_RAW = 255
const ICMP_FILTER = 1 // <linux/icmp.h>: a bit set blocks that type
/** Network control (RFC 4594): probes must not wait behind bulk traffic. The kernel answers with the same. */
const CS6 = 0xc0
const ECHO_REPLY = 0
const ECHO_REQUEST = 8
const RECEIVE_BYTES = 512 << 10
const BATCH = 64
const SLOT_BYTES = 128

/**
 * ICMP echo (RFC 792): type, code, checksum, identifier, sequence number, and as payload the nonce.
 *
 *       0               1               2               3
 *   +---------------+---------------+-------------------------------+
 *   |   type 8 / 0  |    code 0     |           checksum            |
 *   +---------------+---------------+-------------------------------+
 *   |          identifier           |        sequence number        |
 *   +-------------------------------+-------------------------------+
 *   |                        nonce, 8 bytes                         |
 *   +---------------------------------------------------------------+
 */
const ECHO_BYTES = 16
const IDENTIFIER = 4
const SEQUENCE = 6
const NONCE = 8

/** Gets one echo reply to our identifier; `source` is u32 in host order. */
export type EchoHandler = (source: number, sequence: number, nonceHigh: number, nonceLow: number) => void

/**
 * Sends ICMP echo requests and takes the replies, in batches, never blocking. Bound to one own address; the kernel hands
 * over only echo replies with our identifier, so other people's pings do not wake us.
 */
export class IcmpEchoSocket {
  readonly fd: number
  readonly #incoming: ReceiveBatch
  readonly #outgoing: SendBatch
  readonly #request = Buffer.alloc(ECHO_BYTES)
  /** Replies that are no echo of ours by their length. */
  malformed = 0

  private constructor(fd: number, identifier: number) {
    this.fd = fd
    this.#incoming = new ReceiveBatch(fd, BATCH, SLOT_BYTES)
    this.#outgoing = new SendBatch(fd, BATCH, ECHO_BYTES)
    this.#request[0] = ECHO_REQUEST
    this.#request.writeUInt16BE(identifier, IDENTIFIER)
  }

  /**
   * `identifier` (u16) tells our echoes from others' on this machine. Throws OsError (EPERM without CAP_NET_RAW,
   * EADDRNOTAVAIL) and RangeError for what is no IPv4 address.
   */
  static open(address: string, identifier: number): IcmpEchoSocket {
    const name = pinned(16) // struct sockaddr_in
    name.writeUInt16LE(AF_INET, 0)
    name.writeUInt32BE(parseIpv4(address), 4)
    const type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC
    const fd = check('socket(ICMP)', libc.socket(AF_INET, type, IPPROTO_ICMP))
    try {
      setInt(fd, SOL_RAW, ICMP_FILTER, ~(1 << ECHO_REPLY), 'setsockopt(ICMP_FILTER)')
      attachFilter(fd, identifierFilter(identifier))
      setInt(fd, SOL_IP, IP_TOS, CS6, 'setsockopt(IP_TOS)')
      setReceiveBuffer(fd, RECEIVE_BYTES)
      check(`bind(ICMP ${address})`, libc.bind(fd, name, 16))
      return new IcmpEchoSocket(fd, identifier)
    } catch (error) {
      libc.close(fd)
      throw error
    }
  }

  /** Errors of receiving, by errno. */
  get receiveErrors(): ReadonlyMap<number, number> {
    return this.#incoming.errors
  }

  /** Refused requests by errno. */
  get errors(): ReadonlyMap<number, number> {
    return this.#outgoing.errors
  }

  /** Requests the kernel took. */
  get sent(): number {
    return this.#outgoing.sent
  }

  /** Takes a request for the next `flush`, flushing by itself when the batch is full. `destination` is u32 in host order. */
  queue(destination: number, sequence: number, nonceHigh: number, nonceLow: number): void {
    const request = this.#request
    request.writeUInt16BE(sequence, SEQUENCE)
    request.writeUInt32BE(nonceHigh, NONCE)
    request.writeUInt32BE(nonceLow, NONCE + 4)
    request.writeUInt16BE(0, 2)
    request.writeUInt16BE(checksum(request), 2)
    this.#outgoing.queue(request, 0, ECHO_BYTES, null, 0, 0, destination, 0)
  }

  /** Sends what is queued; answers how many were refused (see `errors`). */
  flush(): number {
    return this.#outgoing.flush()
  }

  /** Hands up to `max` waiting replies to `handler`; answers how many packets were taken. */
  receive(max: number, handler: EchoHandler): number {
    return this.#incoming.receive(max, index => this.#deliver(index, handler))
  }

  close(): void {
    closeFd(this.fd)
  }

  #deliver(index: number, handler: EchoHandler): void {
    const { vector } = this.#incoming
    const start = index * vector.slotSize
    const at = start + (vector.bytes[start] & 0x0f) * 4 // a raw socket gets the IP header too
    if (vector.wasTruncated(index) || vector.receivedLength(index) !== at - start + ECHO_BYTES) {
      this.malformed++
      return
    }
    const { bytes } = vector
    handler(
      vector.sourceAddress(index),
      (bytes[at + SEQUENCE] << 8) | bytes[at + SEQUENCE + 1],
      word(bytes, at + NONCE),
      word(bytes, at + NONCE + 4),
    )
  }
}

const word = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0

/** RFC 1071, of an even number of bytes. */
const checksum = (bytes: Buffer): number => {
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  sum = (sum & 0xffff) + (sum >>> 16)
  return ~(sum + (sum >>> 16)) & 0xffff
}

/** A classic BPF program that accepts what carries `identifier` 4 bytes after its IPv4 header. */
const identifierFilter = (identifier: number): Buffer => {
  const instructions: [code: number, ifTrue: number, ifFalse: number, k: number][] = [
    [0xb1, 0, 0, 0], // BPF_LDX | BPF_B | BPF_MSH: X = length of the IP header
    [0x48, 0, 0, IDENTIFIER], // BPF_LD | BPF_H | BPF_IND: A = 16 bits at X + 4
    [0x15, 0, 1, identifier], // BPF_JMP | BPF_JEQ | BPF_K
    [0x06, 0, 0, 0x40000], // BPF_RET: all of it
    [0x06, 0, 0, 0],
  ]
  const program = pinned(instructions.length * 8)
  instructions.forEach(([code, ifTrue, ifFalse, k], index) => {
    program.writeUInt16LE(code, index * 8)
    program[index * 8 + 2] = ifTrue
    program[index * 8 + 3] = ifFalse
    program.writeUInt32LE(k, index * 8 + 4)
  })
  return program
}
