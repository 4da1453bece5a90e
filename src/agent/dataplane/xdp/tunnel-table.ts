import { isIpv4 } from '../flow-key.ts'
import { EDGE_MAPS, TUNNEL_SLOT, TUNNEL_SLOT_BYTES } from './layout/edge.ts'
import { MAX_TUNNEL, TUNNEL_GENERATIONS } from './mapping-layout.ts'
import { swap32 } from './mapping-slots.ts'

/** What bpf/tunnels.h says; a test runs both. */
const PROBES = 16
const HASH_SHIFT = 22
const FACTORS = [0x27d4eb2f, 0xc2b2ae3d, 0x85ebca77]
const USED = 1
const WAS_USED = 2
export const TUNNEL_SLOTS = 1 << (32 - HASH_SHIFT)

const STRIDE = TUNNEL_SLOT_BYTES / 4
const TUNNEL = TUNNEL_SLOT.tunnel / 4
const OWN = TUNNEL_SLOT.own / 4
const WORD = TUNNEL_SLOT.word / 4

/** Which tunnel: a forwarder's address and one of this node, both of one family; four words each (see flow-key.ts). */
export interface TunnelEnds {
  readonly tunnel: Uint32Array
  readonly own: Uint32Array
}

/** Where tunnelled packets come from and go to → index and generation of the tunnel, in memory that the kernel's programs read. */
export class TunnelTable {
  readonly #halves: Uint32Array
  readonly #words: Int32Array

  /** The values of the map `tunnels`, from their first byte on; zeroed if new. */
  constructor(memory: Uint8Array<ArrayBuffer>) {
    if (memory.byteLength !== TUNNEL_SLOTS * EDGE_MAPS.tunnels.valueBytes)
      throw new RangeError(`${memory.byteLength} bytes are no table of ${TUNNEL_SLOTS} tunnels`)
    this.#halves = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4)
    this.#words = new Int32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4)
  }

  /**
   * Adds a tunnel, or gives it another index or generation, at once for all packets.
   * @returns false when there is no room near where it belongs: then its packets take the slow path
   */
  set({ tunnel, own }: TunnelEnds, index: number, generation: number): boolean {
    if (!(index >= 1 && index <= MAX_TUNNEL))
      throw new RangeError(`tunnel index ${index} is not within 1..${MAX_TUNNEL}`)
    if (!(generation >= 0 && generation < TUNNEL_GENERATIONS))
      throw new RangeError(`generation ${generation} is not within 0..${TUNNEL_GENERATIONS - 1}`)
    const family = familyOf({ tunnel, own })
    const found = this.#find({ tunnel, own }, family)
    const slot = found >= 0 ? found : this.#free({ tunnel, own }, family)
    if (slot < 0) return false
    if (found < 0)
      for (let i = 0; i < 4; i++) {
        this.#halves[slot + TUNNEL + i] = swap32(tunnel[i])
        this.#halves[slot + OWN + i] = swap32(own[i])
      }
    // Last, and whole: the slot is taken from here on.
    Atomics.store(this.#words, slot + WORD, (USED << 24) | (family << 16) | (generation << 8) | index)
    return true
  }

  /** Takes a tunnel out; false if it was not there. */
  delete(ends: TunnelEnds): boolean {
    const slot = this.#find(ends, familyOf(ends))
    if (slot < 0) return false
    // What was put behind it is still to be found.
    Atomics.store(this.#words, slot + WORD, WAS_USED << 24)
    return true
  }

  get(ends: TunnelEnds): { readonly index: number; readonly generation: number } | null {
    const slot = this.#find(ends, familyOf(ends))
    if (slot < 0) return null
    const word = this.#halves[slot + WORD]
    return { index: word & 0xff, generation: (word >>> 8) & 0xff }
  }

  #find(ends: TunnelEnds, family: number): number {
    const first = hashOf(ends, family)
    for (let i = 0; i < PROBES; i++) {
      const slot = ((first + i) % TUNNEL_SLOTS) * STRIDE
      const word = this.#halves[slot + WORD]
      if (word === 0) return -1
      if (word >>> 16 !== ((USED << 8) | family)) continue
      let same = true
      for (let j = 0; j < 4; j++)
        same &&=
          this.#halves[slot + TUNNEL + j] === swap32(ends.tunnel[j]) &&
          this.#halves[slot + OWN + j] === swap32(ends.own[j])
      if (same) return slot
    }
    return -1
  }

  #free(ends: TunnelEnds, family: number): number {
    const first = hashOf(ends, family)
    for (let i = 0; i < PROBES; i++) {
      const slot = ((first + i) % TUNNEL_SLOTS) * STRIDE
      if (this.#halves[slot + WORD] >>> 24 !== USED) return slot
    }
    return -1
  }
}

const familyOf = ({ tunnel, own }: TunnelEnds): number => {
  if (isIpv4(tunnel, 0) !== isIpv4(own, 0)) throw new RangeError('the ends of a tunnel are of one family')
  return isIpv4(tunnel, 0) ? 4 : 6
}

const hashOf = ({ tunnel, own }: TunnelEnds, family: number): number => {
  const [a, b] = [swap32(tunnel[3]), swap32(own[3])]
  let hash = Math.imul(a ^ (b << 16) ^ (b >>> 16), 0x9e3779b1)
  if (family === 6)
    for (let i = 2; i >= 0; i--)
      hash = Math.imul(hash ^ (hash >>> 15) ^ swap32(tunnel[i]) ^ swap32(own[i]), FACTORS[i])
  return hash >>> HASH_SHIFT
}
