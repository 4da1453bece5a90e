import { isIpv4 } from '../flow-key.ts'
import type { RouteHash } from './route-hash.ts'
import type { Family } from './route-layout.ts'

const words = new Uint32Array(2)
const big = new BigUint64Array(words.buffer)

const join = (high: number, low: number): bigint => {
  words[0] = low
  words[1] = high
  return big[0]
}

/** Between a number and how it stands in a packet, read by a little-endian machine. */
const swap32 = (word: number): number =>
  ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0
const swap16 = (word: number): number => ((word & 0xff) << 8) | (word >>> 8)

/** The key of a route in one table: a client's address and port, and the index of the service. Reused from one call to the next. */
export class RouteKey {
  readonly family: Family
  /** The entry's key word. */
  word = 0n
  /** The client's address as in the packet; IPv6 only. */
  clientHigh = 0n
  clientLow = 0n
  first = 0
  second = 0
  readonly #hash: RouteHash

  constructor(family: Family, hash: RouteHash) {
    this.family = family
    this.#hash = hash
  }

  /**
   * @param client four words from `at`, of the table's family (see flow-key.ts)
   * @param port of the client, 0..65535
   * @param service index, 1..65535
   */
  set(client: Uint32Array, at: number, port: number, service: number): this {
    if (!(service >= 1 && service <= 0xffff))
      throw new RangeError(`service index ${service} is not within 1..65535`)
    if (isIpv4(client, at) !== (this.family === 4))
      throw new RangeError(`the client's address is not IPv${this.family}`)
    const rest = (swap16(port & 0xffff) | (service << 16)) >>> 0
    if (this.family === 4) return this.#place4(swap32(client[at + 3]), rest)
    return this.#place6(
      swap32(client[at]),
      swap32(client[at + 1]),
      swap32(client[at + 2]),
      swap32(client[at + 3]),
      rest,
    )
  }

  /** From what stands in a bucket. */
  setStored(word: bigint, clientHigh: bigint, clientLow: bigint): this {
    big[0] = word
    const rest = words[1]
    if (this.family === 4) return this.#place4(words[0], rest)
    big[0] = clientHigh
    const a = words[0]
    const b = words[1]
    big[0] = clientLow
    return this.#place6(a, b, words[0], words[1], rest)
  }

  /** The client's address, into four words from `at`. */
  client(out: Uint32Array, at: number): void {
    if (this.family === 4) {
      out.set([0, 0, 0xffff, swap32(Number(this.word & 0xffffffffn))], at)
      return
    }
    big[0] = this.clientHigh
    out[at] = swap32(words[0])
    out[at + 1] = swap32(words[1])
    big[0] = this.clientLow
    out[at + 2] = swap32(words[0])
    out[at + 3] = swap32(words[1])
  }

  get port(): number {
    return swap16(Number((this.word >> 32n) & 0xffffn))
  }

  get service(): number {
    return Number(this.word >> 48n)
  }

  #place4(client: number, rest: number): this {
    this.#hash.hash4(client, rest)
    this.word = join(rest, client)
    this.first = this.#hash.first
    this.second = this.#hash.second
    return this
  }

  #place6(a: number, b: number, c: number, d: number, rest: number): this {
    this.#hash.hash6(a, b, c, d, rest)
    this.word = join(rest, this.#hash.fingerprint)
    this.clientHigh = join(b, a)
    this.clientLow = join(d, c)
    this.first = this.#hash.first
    this.second = this.#hash.second
    return this
  }
}
