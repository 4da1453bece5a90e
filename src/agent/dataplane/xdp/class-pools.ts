import type { IdentifierAllocator } from '../identifiers.ts'
import { CLASS_POOL, CLASS_POOL_BYTES } from './layout/edge.ts'

/** Places of a pool; of bpf/class-maps.h. */
export const POOL_SIZE = (CLASS_POOL_BYTES - CLASS_POOL.identifiers) / 4
/** All pools together hold this part of the identifiers at most. */
const PART = 8

/** What of hosts the kernel needs for first packets: `class_pools` of edge.bpf.c, by index. */
export class ClassPools {
  readonly #words: BigUint64Array
  readonly #halves: Uint32Array
  readonly #signed: Int32Array

  /** The map's values, from their first byte on: what an agent before put ready is not given away. */
  constructor(memory: Uint8Array<ArrayBuffer>) {
    this.#words = new BigUint64Array(memory.buffer, memory.byteOffset, memory.byteLength / 8)
    this.#halves = new Uint32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4)
    this.#signed = new Int32Array(memory.buffer, memory.byteOffset, memory.byteLength / 4)
    for (let host = 0; host < memory.byteLength / CLASS_POOL_BYTES; host++) this.empty(host, null, 0)
  }

  /** `untilNs`: of CLOCK_MONOTONIC. */
  lease(host: number, untilNs: bigint): void {
    Atomics.store(this.#words, (host * CLASS_POOL_BYTES + CLASS_POOL.leaseUntil) / 8, untilNs)
  }

  /** What signs messages to the host. @param words 128 bits, four little-endian words. Only while nothing is sent to it */
  key(host: number, number: number, words: Uint32Array): void {
    const at = (host * CLASS_POOL_BYTES) / 4
    this.#halves.set(words, at + CLASS_POOL.keyLow / 4)
    this.#halves[at + CLASS_POOL.keyNumber / 4] = number
  }

  /** By how many seconds the host's clock is ahead. */
  clock(host: number, seconds: number): void {
    this.#signed[(host * CLASS_POOL_BYTES + CLASS_POOL.clockS) / 4] = seconds
  }

  /** Identifiers that wait for a flow. */
  waiting(host: number): number {
    const at = (host * CLASS_POOL_BYTES) / 4
    const head = Atomics.load(this.#halves, at + CLASS_POOL.head / 4)
    return (this.#halves[at + CLASS_POOL.tail / 4] - head) >>> 0
  }

  /** Those that wait; some may have been taken since. */
  ready(host: number): number[] {
    const at = (host * CLASS_POOL_BYTES) / 4
    const first = Atomics.load(this.#halves, at + CLASS_POOL.head / 4)
    const places = at + CLASS_POOL.identifiers / 4
    return Array.from(
      { length: this.waiting(host) },
      (_, i) => this.#halves[places + ((first + i) & (POOL_SIZE - 1))],
    )
  }

  /** Makes a pool full again if half of it is gone. `hosts`: how many there are. */
  refill(host: number, hosts: number, identifiers: IdentifierAllocator, nowMs: number): void {
    const size = Math.max(1, Math.min(POOL_SIZE, Math.floor(identifiers.capacity / PART / hosts)))
    const waiting = this.waiting(host)
    if (waiting > size / 2) return
    const at = (host * CLASS_POOL_BYTES) / 4
    let tail = this.#halves[at + CLASS_POOL.tail / 4]
    for (let i = waiting; i < size; i++) {
      const identifier = identifiers.reserve(host, nowMs)
      if (identifier === 0) break
      this.#halves[at + CLASS_POOL.identifiers / 4 + (tail & (POOL_SIZE - 1))] = identifier
      tail = (tail + 1) >>> 0
    }
    // Last: from here on programs take them.
    Atomics.store(this.#halves, at + CLASS_POOL.tail / 4, tail)
  }

  /** Takes out what waits, and gives it back. */
  empty(host: number, identifiers: IdentifierAllocator | null, nowMs: number): void {
    const at = (host * CLASS_POOL_BYTES) / 4
    for (;;) {
      const head = Atomics.load(this.#halves, at + CLASS_POOL.head / 4)
      if (head === this.#halves[at + CLASS_POOL.tail / 4]) return
      const identifier = this.#halves[at + CLASS_POOL.identifiers / 4 + (head & (POOL_SIZE - 1))]
      const next = (head + 1) >>> 0
      if (Atomics.compareExchange(this.#halves, at + CLASS_POOL.head / 4, head, next) !== head) continue
      if (identifiers?.isReserved(identifier)) identifiers.free(identifier, nowMs, false)
    }
  }
}
