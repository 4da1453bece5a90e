import {
  CLIENT_HALVES,
  ENTRY_HALVES,
  HIGH_GENERATION_SHIFT,
  HIGH_REUSE_SHIFT,
  HIGH_STAMP_MASK,
  HIGH_TUNNEL_SHIFT,
} from './mapping-layout.ts'
import type { MappingMemory } from './mapping-memory.ts'
import { RouteHash } from './route-hash.ts'
import { ROUTE_WAYS } from './route-layout.ts'

/** Which mapping: an identifier of a forwarder, in one epoch of it. */
export interface MappingKey {
  /** Index of the tunnel address, 1..255. */
  readonly tunnel: number
  /** Of the tunnel, 0..15: raised with each new epoch (decision 5). */
  readonly generation: number
  /** 32 bits; never 0. */
  readonly identifier: number
}

/** What the identifier stands for. */
export interface MappingContent {
  /** Four words (see flow-key.ts). */
  readonly client: Uint32Array
  /** The client's, 0..65535. */
  readonly port: number
  /** Number of the service (VIP, port, protocol), 1..65535. */
  readonly service: number
}

export interface Mapping extends MappingKey, MappingContent {
  /** Tick of the last packet, 0..65535. */
  readonly stamp: number
}

const pair = new Uint32Array(2)
const big = new BigUint64Array(pair.buffer)

/** Between a number and how it stands in a packet, read by a little-endian machine. */
export const swap32 = (word: number): number =>
  ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0
const swap16 = (word: number): number => ((word & 0xff) << 8) | (word >>> 8)

const REUSE_ONE = 2 ** HIGH_REUSE_SHIFT
const REUSE_MASK = 0xf0000000

/**
 * The slots of a mapping table under the rules of bpf/mapping-table.h. A slot is known by the index of its key's lower half. Only the agent
 * writes, so it reads plainly; what the kernel's programs read at the same time is stored word by word. Only stamps change by themselves.
 */
export class MappingSlots {
  readonly memory: MappingMemory
  /** Of the last `place`: halves at which the two buckets begin. */
  first = 0
  second = 0
  readonly #words: BigUint64Array
  readonly #halves: Uint32Array
  readonly #six: boolean
  readonly #stride: number
  readonly #hash: RouteHash

  constructor(memory: MappingMemory) {
    this.memory = memory
    this.#words = memory.words
    this.#halves = memory.halves
    this.#six = memory.family === 6
    this.#stride = memory.halves.length / memory.buckets
    this.#hash = new RouteHash(memory.secret, memory.buckets)
  }

  /** @param identifier as it stands in memory */
  place(identifier: number, tunnel: number): void {
    this.#hash.hash4(identifier, tunnel)
    this.first = this.#hash.first * this.#stride
    this.second = this.#hash.second * this.#stride
  }

  /** All that are taken. */
  *used(): Generator<number> {
    const halves = this.#halves
    for (let bucket = 0; bucket < halves.length; bucket += this.#stride)
      for (let slot = bucket; slot < bucket + ENTRY_HALVES * ROUTE_WAYS; slot += ENTRY_HALVES)
        if (halves[slot] !== 0) yield slot
  }

  isFree(slot: number): boolean {
    return this.#halves[slot] === 0
  }

  /** As it stands in memory; 0: the slot is free. */
  identifierAt(slot: number): number {
    return this.#halves[slot]
  }

  tunnelAt(slot: number): number {
    return (this.#halves[slot + 1] >>> HIGH_TUNNEL_SHIFT) & 0xff
  }

  generationAt(slot: number): number {
    return (this.#halves[slot + 1] >>> HIGH_GENERATION_SHIFT) & 15
  }

  stampAt(slot: number): number {
    return this.#halves[slot + 1] & HIGH_STAMP_MASK
  }

  /** The bucket's slot of an identifier, whatever its generation, or -1. */
  slotOf(bucket: number, identifier: number, tunnel: number): number {
    for (let slot = bucket; slot < bucket + ENTRY_HALVES * ROUTE_WAYS; slot += ENTRY_HALVES)
      if (this.#halves[slot] === identifier && this.tunnelAt(slot) === tunnel) return slot
    return -1
  }

  freeSlot(bucket: number): number {
    for (let slot = bucket; slot < bucket + ENTRY_HALVES * ROUTE_WAYS; slot += ENTRY_HALVES)
      if (this.#halves[slot] === 0) return slot
    return -1
  }

  read(slot: number): Mapping {
    const halves = this.#halves
    const client = new Uint32Array(4)
    const at = slot + CLIENT_HALVES
    if (this.#six) for (let i = 0; i < 4; i++) client[i] = swap32(halves[at + i])
    else client.set([0, 0, 0xffff, swap32(halves[slot + 2])])
    return {
      tunnel: this.tunnelAt(slot),
      generation: this.generationAt(slot),
      identifier: swap32(halves[slot]),
      client,
      port: swap16(halves[slot + 3] & 0xffff),
      service: halves[slot + 3] >>> 16,
      stamp: this.stampAt(slot),
    }
  }

  says(slot: number, { client, port, service }: MappingContent): boolean {
    const halves = this.#halves
    const at = slot + CLIENT_HALVES
    if (halves[slot + 3] !== rest(port, service)) return false
    if (!this.#six) return halves[slot + 2] === swap32(client[3])
    for (let i = 0; i < 4; i++) if (halves[at + i] !== swap32(client[i])) return false
    return true
  }

  /** Rule 1, its first half: no look-up that begins now finds what the slot holds. */
  free(slot: number): void {
    this.#store(slot, 0, this.#halves[slot + 1] & REUSE_MASK)
  }

  /** Rule 1, its second half: a mapping into a free slot. */
  fill(slot: number, key: MappingKey, { client, port, service }: MappingContent, stamp: number): void {
    const at = slot + CLIENT_HALVES
    this.#store(slot + 2, this.#six ? 0 : swap32(client[3]), rest(port, service))
    if (this.#six) {
      this.#store(at, swap32(client[0]), swap32(client[1]))
      this.#store(at + 2, swap32(client[2]), swap32(client[3]))
    }
    const high =
      (key.generation << HIGH_GENERATION_SHIFT) |
      (key.tunnel << HIGH_TUNNEL_SHIFT) |
      (stamp & HIGH_STAMP_MASK)
    this.#publish(slot, swap32(key.identifier), high)
  }

  /** Rule 3: another slot's mapping into a free one; the caller then frees the other. */
  copy(from: number, to: number): void {
    const halves = this.#halves
    this.#store(to + 2, halves[from + 2], halves[from + 3])
    if (this.#six)
      for (const i of [CLIENT_HALVES, CLIENT_HALVES + 2])
        this.#store(to + i, halves[from + i], halves[from + i + 1])
    this.#publish(to, halves[from], halves[from + 1] & ~REUSE_MASK)
  }

  /** A packet passed, or might have. */
  touch(slot: number, stamp: number): void {
    this.#store(
      slot,
      this.#halves[slot],
      (this.#halves[slot + 1] & ~HIGH_STAMP_MASK) | (stamp & HIGH_STAMP_MASK),
    )
  }

  #publish(slot: number, low: number, high: number): void {
    this.#store(slot, low, high | ((this.#halves[slot + 1] + REUSE_ONE) & REUSE_MASK))
  }

  /** One word, whole: `half` is that of its lower half. */
  #store(half: number, low: number, high: number): void {
    pair[0] = low
    pair[1] = high
    Atomics.store(this.#words, half / 2, big[0])
  }
}

const rest = (port: number, service: number): number => (swap16(port) | (service << 16)) >>> 0
