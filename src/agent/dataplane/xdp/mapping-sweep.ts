import { ENTRY_HALVES, HIGH_GENERATION_SHIFT, HIGH_STAMP_MASK, HIGH_TUNNEL_SHIFT } from './mapping-layout.ts'
import type { Mapping } from './mapping-slots.ts'
import type { KernelMappings } from './mapping-table.ts'
import { ageOf } from './route-buckets.ts'
import { ROUTE_WAYS } from './route-layout.ts'

/** In `MappingRules.generations`: there is no such tunnel (any more). */
export const NO_TUNNEL = 0xff

export interface MappingRules {
  /** The generation of each tunnel, by its index (256 of them), or NO_TUNNEL: mappings of others go. */
  readonly generations: Uint8Array
  /** Ticks without a packet below which no mapping expires: most are passed over by it alone. 0..ROUTE_MAX_AGE. */
  readonly shortest: number
  /** Ticks without a packet after which a mapping has expired. */
  lifetime(service: number): number
  /** A mapping has expired, or its tunnel's generation has passed, and it is gone. */
  expired(mapping: Mapping): void
  /** Ticks since the last packet up to which a mapping is told of by `used`; -1: none is. */
  readonly recent: number
  /** A mapping that packets pass by. */
  used(mapping: Mapping): void
}

export interface MappingCount {
  readonly used: number
  readonly expired: number
  /** Of a generation, or a tunnel, that has passed. */
  readonly outdated: number
}

/**
 * Goes through a mapping table again and again, a slice at a time, and takes out what has expired. One pass must take less than ROUTE_MAX_AGE
 * ticks less the longest lifetime, and a tunnel's generation must not come round within one.
 */
export class MappingSweep {
  /** Of the last pass that was finished. */
  last: MappingCount = { used: 0, expired: 0, outdated: 0 }
  passes = 0
  readonly #table: KernelMappings
  #bucket = 0
  #used = 0
  #expired = 0
  #outdated = 0

  constructor(table: KernelMappings) {
    this.#table = table
  }

  /**
   * Looks at so many buckets, from where it stopped, and at none more once about `most` mappings are out, whose owners have to be told (some
   * 1 us each). True: the pass is finished.
   */
  slice(buckets: number, now: number, rules: MappingRules, most = 2048): boolean {
    const { memory } = this.#table.slots
    const { halves } = memory
    const stride = halves.length / memory.buckets
    const end = Math.min(memory.buckets, this.#bucket + buckets)
    const until = this.#expired + this.#outdated + most
    let bucket = this.#bucket
    for (; bucket < end && this.#expired + this.#outdated < until; bucket++) {
      const at = bucket * stride
      for (let slot = at; slot < at + ENTRY_HALVES * ROUTE_WAYS; slot += ENTRY_HALVES) {
        if (halves[slot] === 0) continue
        const high = halves[slot + 1]
        const age = ageOf(high & HIGH_STAMP_MASK, now)
        const tunnel = (high >>> HIGH_TUNNEL_SHIFT) & 0xff
        const outdated = rules.generations[tunnel] !== ((high >>> HIGH_GENERATION_SHIFT) & 15)
        this.#used++
        if (outdated || age >= rules.shortest) this.#judge(slot, age, outdated, rules)
        if (age <= rules.recent && halves[slot] !== 0) rules.used(this.#table.slots.read(slot))
      }
    }
    this.#bucket = bucket
    if (bucket < memory.buckets) return false
    this.last = { used: this.#used, expired: this.#expired, outdated: this.#outdated }
    this.#bucket = this.#used = this.#expired = this.#outdated = 0
    this.passes++
    return true
  }

  #judge(slot: number, age: number, outdated: boolean, rules: MappingRules): void {
    const { slots } = this.#table
    const mapping = slots.read(slot)
    if (!outdated && age < rules.lifetime(mapping.service)) return
    slots.free(slot)
    if (outdated) this.#outdated++
    else this.#expired++
    rules.expired(mapping)
  }
}

/** Every mapping once, for listings and for an agent that takes a table over. */
export function* eachMapping({ slots }: KernelMappings): Generator<Mapping> {
  for (const slot of slots.used()) yield slots.read(slot)
}
