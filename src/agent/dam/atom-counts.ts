/** Atoms by service, for people: the table is gone through in pieces, and no more often than costs little. */
import { setImmediate as turn } from 'node:timers/promises'
import { type AtomTable, PLACE } from '../../dam/atom-table.ts'
import { BUCKETS } from '../../dam/location.ts'

const BUCKETS_A_TURN = 16
/** Counting takes a twentieth of the time at most. */
const REST_FACTOR = 20

export interface ServiceAtoms {
  own: number
  /** Others' atoms that are here as copies. */
  copies: number
}

export class AtomCounts {
  readonly #table: () => AtomTable | null
  readonly #serviceOf: (key: Uint32Array) => string | undefined
  #last: ReadonlyMap<string, ServiceAtoms> = new Map()
  #nextMs = 0
  #under: Promise<ReadonlyMap<string, ServiceAtoms>> | null = null

  constructor(table: () => AtomTable | null, serviceOf: (key: Uint32Array) => string | undefined) {
    this.#table = table
    this.#serviceOf = serviceOf
  }

  /** By name of the service. */
  look(): Promise<ReadonlyMap<string, ServiceAtoms>> {
    if (performance.now() < this.#nextMs) return Promise.resolve(this.#last)
    this.#under ??= this.#count().finally(() => {
      this.#under = null
    })
    return this.#under
  }

  async #count(): Promise<ReadonlyMap<string, ServiceAtoms>> {
    const found = new Map<string, ServiceAtoms>()
    const startMs = performance.now()
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const table = this.#table()
      if (table === null || table.size === 0) break
      for (const slot of table.inBucket(bucket)) this.#add(table, slot, found)
      if (bucket % BUCKETS_A_TURN === BUCKETS_A_TURN - 1) await turn()
    }
    const endMs = performance.now()
    this.#nextMs = endMs + REST_FACTOR * Math.max(0, endMs - startMs - 5)
    this.#last = found
    return found
  }

  #add(table: AtomTable, slot: number, found: Map<string, ServiceAtoms>): void {
    const place = table.place(slot)
    if (place !== PLACE.own && place !== PLACE.copy) return
    const service = this.#serviceOf(table.atom(slot).key)
    if (service === undefined) return
    const counts = found.get(service) ?? { own: 0, copies: 0 }
    found.set(service, counts)
    if (place === PLACE.own) counts.own++
    else counts.copies++
  }
}
