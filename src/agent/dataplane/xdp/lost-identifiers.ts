/**
 * Identifiers that the kernel took for flows of which every event got lost, and which no table has any more: a sender who keeps the ring of
 * events full could use up all there are. They are looked for only when more are missing than could be on their way.
 */
import type { IdentifierAllocator } from '../identifiers.ts'
import type { ClassPools } from './class-pools.ts'
import { eachRoute } from './route-sweep.ts'
import type { RouteTable } from './route-table.ts'

/** Of all identifiers, the part that may be missing. */
const PART = 16

export class LostIdentifiers {
  readonly #pools: ClassPools
  readonly #tables: readonly RouteTable[]
  #suspects: ReadonlySet<number> | null = null
  #sinceMs = 0

  /** @param tables all where the kernel keeps what it took */
  constructor(pools: ClassPools, tables: readonly RouteTable[]) {
    this.#pools = pools
    this.#tables = tables
  }

  /**
   * Several times a second. Answers how many were found: they rest.
   * @param hosts indexes. @param lifeMs of half-open flows: what is missing for longer was never told of
   */
  tick(identifiers: IdentifierAllocator, hosts: readonly number[], lifeMs: number, nowMs: number): number {
    if (this.#suspects !== null && nowMs - this.#sinceMs < lifeMs) return 0
    const waiting = hosts.reduce((sum, host) => sum + this.#pools.waiting(host), 0)
    if ((identifiers.reserved - waiting) * PART < identifiers.capacity) {
      this.#suspects = null
      return 0
    }
    const missing = this.#missing(identifiers, hosts)
    const suspects = this.#suspects
    if (suspects === null) {
      this.#suspects = missing
      this.#sinceMs = nowMs
      return 0
    }
    this.#suspects = null
    for (const table of this.#tables)
      for (const { route } of eachRoute(table)) missing.delete(route.identifier)
    let found = 0
    // A route may have had it.
    for (const identifier of missing)
      if (suspects.has(identifier) && identifiers.free(identifier, nowMs, true)) found++
    return found
  }

  #missing(identifiers: IdentifierAllocator, hosts: readonly number[]): Set<number> {
    const missing = new Set(identifiers.allReserved())
    for (const host of hosts) for (const identifier of this.#pools.ready(host)) missing.delete(identifier)
    return missing
  }
}
