import { RouteBuckets } from './route-buckets.ts'
import type { RouteKey } from './route-key.ts'
import {
  CONTENT_MASK,
  GENERATION_MASK,
  OWNER_MASK,
  ROUTE_RESULT,
  ROUTE_RESULTS,
  ROUTE_STATE,
  ROUTE_TRIES,
  ROUTE_WAYS,
  STATE_MASK,
  USED,
} from './route-layout.ts'
import type { RouteMemory } from './route-memory.ts'
import { isOlder, packContent, type Route, type RouteContent, unpackRoute } from './route-value.ts'

const { BUSY, INSERTED, KICKED, EVICTED, EXISTS, FULL, UPDATED, STALE, MISSING, REMOVED } = ROUTE_RESULT

/** A route that made room for another. Look its key up before the identifier rests: a move that was taken back may have left it. */
export interface Victim {
  /** Of the table that answered it; good until its next call. */
  readonly key: RouteKey
  readonly route: Route
}

export interface Insertion {
  /** INSERTED, KICKED, EVICTED, EXISTS, FULL or BUSY of ROUTE_RESULT. */
  readonly result: number
  /** The route that the key has, when EXISTS. */
  readonly existing: Route | null
  readonly victim: Victim | null
}

/** How often operations came to what, by ROUTE_RESULT: what this side did; the kernel's programs count theirs alike. */
export type RouteCounts = Uint32Array

/**
 * The agent's side of a route table (R-A3) that the kernel's programs read and write at the same time: see bpf/route-table.h for the rules.
 * A key of one table does not fit another.
 */
export class RouteTable {
  readonly buckets: RouteBuckets
  readonly counts: RouteCounts = new Uint32Array(ROUTE_RESULTS)
  readonly #victim: RouteKey

  constructor(memory: RouteMemory) {
    this.buckets = new RouteBuckets(memory)
    this.#victim = this.newKey()
  }

  /** An empty key, to be set again and again. */
  newKey(): RouteKey {
    return this.buckets.newKey()
  }

  get(key: RouteKey): Route | null {
    const value = this.buckets.find(key)
    return value === 0n ? null : unpackRoute(value)
  }

  /**
   * Gives a key that has none a route; its identifier must be no other route's. When its eight places are taken, one of the routes there moves on, else the oldest goes: closed
   * ones before unproven ones before others, pinned ones never.
   * @param now the current tick
   */
  insert(key: RouteKey, content: RouteContent, now: number): Insertion {
    return this.#insert(key, packContent(content), now)
  }

  #insert(key: RouteKey, content: bigint, now: number): Insertion {
    const { buckets } = this
    const before = this.buckets.find(key)
    if (before !== 0n) return this.#inserted(EXISTS, before, null)
    const value = content | USED | (BigInt(now & 0xffff) << 32n)
    const first = buckets.at(key.first)
    const second = buckets.at(key.second)
    let result: number = INSERTED
    let victim: Victim | null = null
    let entry = buckets.claim(first, value)
    if (entry < 0) entry = buckets.claim(second, value)
    if (entry < 0) {
      result = KICKED
      entry = buckets.kick(key.first, value)
      if (entry < 0) entry = buckets.kick(key.second, value)
    }
    if (entry < 0) {
      result = EVICTED
      entry = buckets.oldest(first, second, now, this.#victim)
      if (entry < 0) return this.#inserted(FULL, 0n, null)
      if (!buckets.own(entry, this.#victim.word)) return this.#inserted(BUSY, 0n, null)
      victim = { key: this.#victim, route: unpackRoute(buckets.fill(entry, value)) }
    }
    const own = buckets.valueAt(entry) & OWNER_MASK
    buckets.publish(entry, key)
    const twin = buckets.twin(first, key, entry, value) || buckets.twin(second, key, entry, value)
    if (twin === 0n) return this.#inserted(result, 0n, victim)
    if ((buckets.valueAt(entry) & OWNER_MASK) === own && buckets.own(entry, key.word)) buckets.free(entry)
    else for (const bucket of [first, second]) buckets.withdraw(bucket, key, value)
    return (twin & CONTENT_MASK) !== 0n
      ? this.#inserted(EXISTS, twin, victim)
      : this.#inserted(BUSY, 0n, victim)
  }

  /** Another content in the place of the route's: UPDATED, STALE (the route is of a newer generation), MISSING or BUSY. */
  update(key: RouteKey, content: RouteContent): number {
    return this.#change(key, CONTENT_MASK, packContent(content))
  }

  /** Another state, all else as it is: UPDATED, MISSING or BUSY. */
  setState(key: RouteKey, state: number): number {
    return this.#change(key, STATE_MASK, BigInt(state & 7) << 59n)
  }

  /** The route that the key had, or null. */
  remove(key: RouteKey): Route | null {
    const { buckets } = this
    let removed: bigint | null = null
    for (const bucket of [buckets.at(key.first), buckets.at(key.second)])
      for (let entry = bucket; entry < bucket + 2 * ROUTE_WAYS; entry += 2) {
        if (buckets.read(entry, key) === 0n || !buckets.own(entry, key.word)) continue
        const value = buckets.free(entry)
        removed ??= value
      }
    this.counts[removed === null ? MISSING : REMOVED]++
    return removed === null ? null : unpackRoute(removed)
  }

  /**
   * The handshake's ACK (decision 8): a flow of this table of embryonic ones becomes a young route of `routes`. MISSING: there is no such
   * flow; with FULL and BUSY it stays embryonic.
   */
  promote(from: RouteKey, routes: RouteTable, to: RouteKey, now: number): Insertion {
    const value = this.buckets.find(from)
    if (value === 0n) return this.#inserted(MISSING, 0n, null)
    const young = (value & CONTENT_MASK & ~STATE_MASK) | (BigInt(ROUTE_STATE.YOUNG) << 59n)
    const insertion = routes.#insert(to, young, now)
    if (insertion.result !== FULL && insertion.result !== BUSY) this.remove(from)
    return insertion
  }

  #inserted(result: number, existing: bigint, victim: Victim | null): Insertion {
    this.counts[result]++
    return { result, existing: existing === 0n ? null : unpackRoute(existing), victim }
  }

  #change(key: RouteKey, mask: bigint, bits: bigint): number {
    let result: number = MISSING
    for (const bucket of [this.buckets.at(key.first), this.buckets.at(key.second)])
      for (let entry = bucket; entry < bucket + 2 * ROUTE_WAYS; entry += 2)
        result = this.#changeEntry(entry, key, mask, bits, result)
    this.counts[result]++
    return result
  }

  #changeEntry(entry: number, key: RouteKey, mask: bigint, bits: bigint, result: number): number {
    for (let tries = 0; tries < ROUTE_TRIES; tries++) {
      const was = this.buckets.read(entry, key)
      if (was === 0n) return result
      if ((mask & GENERATION_MASK) !== 0n && isOlder(generation(bits), generation(was)))
        return result === MISSING ? STALE : result
      if (this.buckets.exchangeValue(entry, was, (was & ~mask) | bits)) return UPDATED
    }
    return BUSY
  }
}

const generation = (value: bigint): number => Number((value & GENERATION_MASK) >> 52n)
