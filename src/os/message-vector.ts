import { pinned, pointerOf } from './ffi.ts'

const MESSAGE_BYTES = 64 // struct mmsghdr
const NAME = 0
const NAME_LENGTH = 8
const IOVEC = 16
const IOVEC_COUNT = 24
const FLAGS = 48
const MESSAGE_LENGTH = 56
const IOVEC_BYTES = 16
// struct sockaddr_in { u16 family; be16 port; be32 address; ... }
// struct sockaddr_in6 { u16 family; be16 port; be32 flow; be32 address[4]; u32 scope; }
const SOCKET_ADDRESS = { 4: { family: 2, bytes: 16 }, 6: { family: 10, bytes: 28 } } as const
const ADDRESS6 = 8
const MSG_TRUNC = 0x20

/**
 * The arrays that sendmmsg(2) and recvmmsg(2) work on, allocated once: `count` slots of `slotSize` bytes in
 * one buffer, each with a socket address. IPv4 addresses are u32 in host order.
 */
export class MessageVector {
  readonly count: number
  readonly slotSize: number
  /** All slots; slot `i` begins at `i * slotSize`. */
  readonly bytes: Uint8Array
  readonly #headers: Buffer
  readonly #vectors: Buffer
  readonly #addresses: Buffer
  readonly #pointers: bigint[]

  readonly #address: { readonly family: number; readonly bytes: number }

  /** @param family of the socket addresses */
  constructor(count: number, slotSize: number, family: 4 | 6 = 4) {
    this.#address = SOCKET_ADDRESS[family]
    this.count = count
    this.slotSize = slotSize
    this.bytes = new Uint8Array(new ArrayBuffer(count * slotSize)) // no Buffer: its slice() would not copy
    this.#headers = pinned(count * MESSAGE_BYTES)
    this.#vectors = pinned(count * IOVEC_BYTES)
    this.#addresses = pinned(count * this.#address.bytes)
    const base = pointerOf(this.#headers)
    this.#pointers = Array.from({ length: count }, (_, index) => base + BigInt(index * MESSAGE_BYTES))
    for (let index = 0; index < count; index++) this.#prepare(index)
  }

  #prepare(index: number): void {
    const at = index * MESSAGE_BYTES
    const { family, bytes } = this.#address
    const address = index * bytes
    const vector = index * IOVEC_BYTES
    this.#headers.writeBigUInt64LE(pointerOf(this.#addresses) + BigInt(address), at + NAME)
    this.#headers.writeUInt32LE(bytes, at + NAME_LENGTH)
    this.#headers.writeBigUInt64LE(pointerOf(this.#vectors) + BigInt(vector), at + IOVEC)
    this.#headers.writeBigUInt64LE(1n, at + IOVEC_COUNT)
    this.#vectors.writeBigUInt64LE(pointerOf(this.bytes) + BigInt(index * this.slotSize), vector)
    this.#vectors.writeUInt32LE(this.slotSize, vector + 8)
    this.#addresses.writeUInt16LE(family, address)
  }

  /** The address of message `index`, for a call that begins there. */
  pointer(index: number): bigint {
    return this.#pointers[index]
  }

  /** Sets how many bytes of slot `index` to send, and where to. */
  setOutgoing(index: number, length: number, destination: number, port: number): void {
    this.#vectors.writeUInt32LE(length, index * IOVEC_BYTES + 8)
    const at = index * this.#address.bytes
    this.#addresses.writeUInt16BE(port, at + 2)
    this.#addresses.writeUInt32BE(destination, at + 4)
  }

  /** Of a vector of IPv6: sends `length` bytes of slot `index` to the 16-byte address that stands at `at` in it. */
  setOutgoing6(index: number, length: number, at: number): void {
    this.#vectors.writeUInt32LE(length, index * IOVEC_BYTES + 8)
    const to = index * this.#address.bytes + ADDRESS6
    const from = index * this.slotSize + at
    for (let i = 0; i < 16; i++) this.#addresses[to + i] = this.bytes[from + i]
  }

  receivedLength(index: number): number {
    return this.#headers.readUInt32LE(index * MESSAGE_BYTES + MESSAGE_LENGTH)
  }

  /** Whether the datagram was longer than a slot. */
  wasTruncated(index: number): boolean {
    return (this.#headers.readInt32LE(index * MESSAGE_BYTES + FLAGS) & MSG_TRUNC) !== 0
  }

  sourceAddress(index: number): number {
    return this.#addresses.readUInt32BE(index * this.#address.bytes + 4)
  }

  sourcePort(index: number): number {
    return this.#addresses.readUInt16BE(index * this.#address.bytes + 2)
  }
}
