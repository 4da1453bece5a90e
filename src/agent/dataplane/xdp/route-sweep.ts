import { ageOf } from './route-buckets.ts'
import type { RouteKey } from './route-key.ts'
import { REUSE_MASK, ROUTE_WAYS } from './route-layout.ts'
import type { RouteTable } from './route-table.ts'
import { type Route, unpackRoute } from './route-value.ts'

const PINNED_HALF = 0x40000000
/** Most half-made entries that are watched at a time. */
const MAX_SUSPECTS = 1024

export interface SweepRules {
  /** Ticks without a packet below which no route expires: most entries are passed over by it alone. 0..ROUTE_MAX_AGE. */
  readonly shortest: number
  /** Ticks without a packet after which a route in that state, of that service, has expired. */
  lifetime(state: number, service: number): number
  /** A route has expired and is gone. `key` is good until the next call. */
  expired(key: RouteKey, route: Route): void
  /** Ticks since the last packet up to which a route is told of by `used`; -1, or left out: none is. */
  readonly recent?: number
  /** A route that packets follow. `key` is good until the next call. */
  used?(key: RouteKey, route: Route): void
}

/** What a whole pass has seen. */
export interface SweepCount {
  readonly used: number
  readonly pinned: number
  readonly expired: number
  /** Entries that somebody who died had claimed and not filled: freed. */
  readonly orphans: number
}

/**
 * Goes through a route table again and again, a slice at a time, and takes out what has expired: the only one that does. One pass must take
 * less than ROUTE_MAX_AGE less the longest lifetime. Two sweeps of one table must not run at once.
 */
export class RouteSweep {
  /** Of the last pass that was finished. */
  last: SweepCount = { used: 0, pinned: 0, expired: 0, orphans: 0 }
  passes = 0
  readonly #table: RouteTable
  readonly #orphanTicks: number
  readonly #key: RouteKey
  readonly #suspects = new Map<number, { readonly value: bigint; readonly since: number }>()
  #bucket = 0
  #used = 0
  #pinned = 0
  #expired = 0
  #orphans = 0

  /** @param orphanTicks how long an entry must stay claimed without a key: longer than any processor stands still */
  constructor(table: RouteTable, orphanTicks = 60) {
    this.#table = table
    this.#orphanTicks = orphanTicks
    this.#key = table.newKey()
  }

  /**
   * Looks at so many buckets (some 20 ns each when nothing expires) from where it stopped, fewer when `most` routes have expired meanwhile
   * (some 1 us each). True: the pass is finished.
   */
  slice(buckets: number, now: number, rules: SweepRules, most = 2048): boolean {
    const { memory } = this.#table.buckets
    const { halves } = memory
    const stride = halves.length / memory.buckets
    const { shortest, recent = -1 } = rules
    const until = this.#expired + most
    let used = 0
    let bucket = this.#bucket
    const end = Math.min(memory.buckets, this.#bucket + buckets)
    for (; bucket < end && this.#expired < until; bucket++) {
      const at = bucket * stride
      for (let half = at + 3; half < at + 4 * ROUTE_WAYS; half += 4) {
        const high = halves[half]
        // USED is the sign.
        if (high >= 0) continue
        used++
        const age = ageOf(high & 0xffff, now)
        if (age <= recent) this.#tell((half - 3) / 2, rules)
        if ((high & PINNED_HALF) === 0 && age < shortest) continue
        if (halves[half - 3] === 0 && halves[half - 2] === 0) this.#suspect((half - 3) / 2, now)
        else if ((high & PINNED_HALF) !== 0) this.#pinned++
        else this.#judge((half - 3) / 2, now, rules)
      }
    }
    this.#used += used
    this.#bucket = bucket
    if (bucket < memory.buckets) return false
    this.last = {
      used: this.#used,
      pinned: this.#pinned,
      expired: this.#expired,
      orphans: this.#orphans,
    }
    this.#bucket = this.#used = this.#pinned = this.#expired = this.#orphans = 0
    this.passes++
    return true
  }

  #tell(entry: number, rules: SweepRules): void {
    const value = this.#table.buckets.readAny(entry, this.#key)
    if (value !== 0n) rules.used?.(this.#key, unpackRoute(value))
  }

  #judge(entry: number, now: number, rules: SweepRules): void {
    const { buckets } = this.#table
    const key = this.#key
    const value = buckets.readAny(entry, key)
    if (value === 0n) return
    const route = unpackRoute(value)
    if (route.pinned || ageOf(route.stamp, now) < rules.lifetime(route.state, key.service)) return
    // A copy that a move left behind, when its maker died, is never touched; the route itself may be in use.
    const copy = buckets.bucketOf(entry) !== key.first && buckets.scan(buckets.at(key.first), key) !== 0n
    if (!buckets.own(entry, key.word)) return
    const last = buckets.free(entry)
    if (copy) return
    this.#expired++
    rules.expired(key, unpackRoute(last))
  }

  /** An entry that is claimed and has no key: about to be published, or freed, or its maker died meanwhile. */
  #suspect(entry: number, now: number): void {
    const { buckets } = this.#table
    const value = buckets.valueAt(entry)
    const known = this.#suspects.get(entry)
    if (known === undefined || known.value !== value) {
      if (this.#suspects.size >= MAX_SUSPECTS) this.#suspects.clear()
      this.#suspects.set(entry, { value, since: now })
      return
    }
    if (((now - known.since) & 0xffff) < this.#orphanTicks) return
    this.#suspects.delete(entry)
    if (buckets.keyAt(entry) !== 0n || !buckets.exchangeValue(entry, value, value & REUSE_MASK)) return
    this.#orphans++
  }
}

/** Every route once, for listings and for an agent that takes a table over; those that come or move meanwhile may be left out. */
export function* eachRoute(table: RouteTable): Generator<{ readonly key: RouteKey; readonly route: Route }> {
  const { buckets } = table
  const key = table.newKey()
  for (let bucket = 0; bucket < buckets.memory.buckets; bucket++) {
    const at = buckets.at(bucket)
    for (let entry = at; entry < at + 2 * ROUTE_WAYS; entry += 2) {
      const value = buckets.readAny(entry, key)
      if (value === 0n) continue
      const copy = bucket !== key.first && buckets.scan(buckets.at(key.first), key) !== 0n
      if (!copy) yield { key, route: unpackRoute(value) }
    }
  }
}
