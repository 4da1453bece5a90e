import { SERVICE_BUCKET_BYTES, SERVICE_SLOT, SERVICE_SLOT_BYTES } from './layout/edge.ts'

/** What bpf/services.h says; a test runs both. */
const HASH_SHIFT = 22
const USED = 1 << 24
const SLOTS = SERVICE_BUCKET_BYTES / SERVICE_SLOT_BYTES
const WORD = SERVICE_SLOT.word / 8

/** What a service has beside its number. */
export const SERVICE_FLAG = { encapsulate: 1 << 16 } as const

const swap32 = (word: number): number =>
  ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0
const swap16 = (word: number): number => ((word & 0xff) << 8) | (word >>> 8)

/** (VIP, port, protocol) → number of the service, in memory that the kernel's programs read (`services` of edge.bpf.c). */
export class ServiceTable {
  readonly #words: BigUint64Array
  readonly #halves: Uint32Array

  /** The values of the map, from their first byte on; zeroed if new. */
  constructor(memory: Uint8Array<ArrayBuffer>) {
    this.#words = new BigUint64Array(memory.buffer, memory.byteOffset, memory.byteLength / 8)
    this.#halves = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4)
  }

  /**
   * Adds a service, or gives it another number, at once for all packets.
   * @param vip four words from `at` (see flow-key.ts)
   * @param number 1..65535
   * @param flags of SERVICE_FLAG
   * @returns false when its bucket is full: then the VIP must be open (VIP_OPEN), so that the slow path gets its packets
   */
  set(vip: Uint32Array, at: number, port: number, protocol: number, number: number, flags = 0): boolean {
    if (!(number >= 1 && number <= 0xffff))
      throw new RangeError(`service number ${number} is not within 1..65535`)
    const key = keyOf(port, protocol)
    const found = this.#find(vip, at, key)
    const slot = found >= 0 ? found : this.#free(vip, at, key)
    if (slot < 0) return false
    if (found < 0) for (let i = 0; i < 4; i++) this.#halves[slot * 8 + i] = swap32(vip[at + i])
    // Last, and whole: a slot is taken from here on.
    Atomics.store(this.#words, slot * 4 + WORD, BigInt(key) | (BigInt(number | flags) << 32n))
    return true
  }

  /** Takes a service out; false if it was not there. */
  delete(vip: Uint32Array, at: number, port: number, protocol: number): boolean {
    const slot = this.#find(vip, at, keyOf(port, protocol))
    if (slot < 0) return false
    Atomics.store(this.#words, slot * 4 + WORD, 0n)
    return true
  }

  /** The service's number, or 0. */
  get(vip: Uint32Array, at: number, port: number, protocol: number): number {
    const slot = this.#find(vip, at, keyOf(port, protocol))
    return slot < 0 ? 0 : this.#halves[slot * 8 + WORD * 2 + 1] & 0xffff
  }

  #find(vip: Uint32Array, at: number, key: number): number {
    const first = bucketOf(vip, at, key) * SLOTS
    for (let slot = first; slot < first + SLOTS; slot++) {
      if (this.#halves[slot * 8 + WORD * 2] !== key) continue
      let same = true
      for (let i = 0; i < 4; i++) same &&= this.#halves[slot * 8 + i] === swap32(vip[at + i])
      if (same) return slot
    }
    return -1
  }

  #free(vip: Uint32Array, at: number, key: number): number {
    const first = bucketOf(vip, at, key) * SLOTS
    for (let slot = first; slot < first + SLOTS; slot++)
      if (this.#halves[slot * 8 + WORD * 2] === 0) return slot
    return -1
  }
}

const keyOf = (port: number, protocol: number): number =>
  (swap16(port & 0xffff) | (protocol << 16) | USED) >>> 0

const bucketOf = (vip: Uint32Array, at: number, key: number): number => {
  let hash = Math.imul(key, 0x9e3779b1)
  hash = Math.imul(hash ^ (hash >>> 15) ^ swap32(vip[at + 3]), 0x85ebca77)
  hash = Math.imul(hash ^ (hash >>> 15) ^ swap32(vip[at + 1]), 0xc2b2ae3d)
  hash = Math.imul(hash ^ (hash >>> 15) ^ swap32(vip[at]) ^ swap32(vip[at + 2]), 0x27d4eb2f)
  return hash >>> HASH_SHIFT
}
