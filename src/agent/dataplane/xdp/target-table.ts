import { isIpv4 } from '../flow-key.ts'
import { TARGET, TARGET_BYTES } from './layout/edge.ts'
import { swap32 } from './mapping-slots.ts'

/** What bpf/host.h says; a test runs both. */
const TARGET_IPV4 = 1
const TARGET_IPV6 = 2

const STRIDE = TARGET_BYTES / 4
const IPV4 = TARGET.ipv4 / 4
const IPV6 = TARGET.ipv6 / 4
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
   * Says what a service is, or that it has other VIPs; false when its number is too large. Before a number means another service, its mappings
   * are taken out.
   * @param number 1..65535
   * @param vips four words each (see flow-key.ts): one of IPv4, or of IPv6, or one of both
   * @param port 0..65535
   * @param protocol 6 or 17
   */
  set(number: number, vips: readonly Uint32Array[], port: number, protocol: number): boolean {
    if (!(number >= 1 && number <= 0xffff))
      throw new RangeError(`service number ${number} is not within 1..65535`)
    if (number >= this.size) return false
    this.delete(number)
    const slot = number * STRIDE
    let families = 0
    for (const vip of vips)
      if (isIpv4(vip, 0)) {
        this.#halves[slot + IPV4] = swap32(vip[3])
        families |= TARGET_IPV4
      } else {
        for (let i = 0; i < 4; i++) this.#halves[slot + IPV6 + i] = swap32(vip[i])
        families |= TARGET_IPV6
      }
    // Last, and whole: packets are restored from here on.
    Atomics.store(this.#words, slot + WORD, (families << 24) | (protocol << 16) | swap16(port))
    return true
  }

  /** No packet that comes after it is restored for the service. */
  delete(number: number): void {
    if (number < this.size) Atomics.store(this.#words, number * STRIDE + WORD, 0)
  }
}
