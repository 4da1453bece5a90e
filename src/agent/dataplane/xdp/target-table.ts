import { isIpv4 } from '../flow-key.ts'
import { TARGET, TARGET_BYTES } from './layout/edge.ts'
import { swap32 } from './mapping-slots.ts'

const STRIDE = TARGET_BYTES / 4
const VIP = TARGET.vip / 4
const WORD = TARGET.word / 4
const swap16 = (word: number): number => ((word & 0xff) << 8) | (word >>> 8)

/** Number of a service → what a host restores for it, in memory that the kernel's programs read (`targets` of edge.bpf.c). */
export class TargetTable {
  /** Numbers from this on have no place: their packets take the slow path. */
  readonly size: number
  readonly #halves: Uint32Array
  readonly #words: Int32Array

  /** The values of the map, from their first byte on; zeroed if new. */
  constructor(memory: Uint8Array<ArrayBuffer>) {
    this.size = memory.byteLength / TARGET_BYTES
    this.#halves = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4)
    this.#words = new Int32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4)
  }

  /**
   * Says what a service is; false when its number is too large. A number that has meant another service is deleted first, and its mappings
   * are taken out before it is used again.
   * @param vip four words from `at` (see flow-key.ts)
   */
  set(number: number, vip: Uint32Array, at: number, port: number, protocol: number): boolean {
    if (!(number >= 1)) throw new RangeError(`service number ${number} is not within 1..65535`)
    if (number >= this.size) return false
    const slot = number * STRIDE
    const word = ((isIpv4(vip, at) ? 4 : 6) << 24) | (protocol << 16) | swap16(port)
    const was = this.#words[slot + WORD]
    if (was !== 0 && (was !== word || !this.#hasVip(slot, vip, at)))
      throw new RangeError(`the service number ${number} is in use`)
    for (let i = 0; i < 4; i++) this.#halves[slot + VIP + i] = swap32(vip[at + i])
    Atomics.store(this.#words, slot + WORD, word)
    return true
  }

  /** No packet that comes after it is restored for the service. */
  delete(number: number): void {
    if (number < this.size) Atomics.store(this.#words, number * STRIDE + WORD, 0)
  }

  #hasVip(slot: number, vip: Uint32Array, at: number): boolean {
    for (let i = 0; i < 4; i++) if (this.#halves[slot + VIP + i] !== swap32(vip[at + i])) return false
    return true
  }
}
