/** The data plane of a simulated unit: follows what the core says a while later, and shows who would get new connections. */

import { type Candidate, isUp, sharesOf } from '../../../src/health/allotment/shares.ts'
import { appType } from '../../../src/health/app-id.ts'
import type { Row, TableVersion } from '../../../src/health/types.ts'

export interface Chosen {
  host: string
  row: Row
  /** The row is not for new connections, and only used because there is no better one. */
  isLastResort: boolean
}

interface Held {
  version: TableVersion
  rows: readonly Row[]
}

export class HealthPlane {
  readonly #held = new Map<string, Held>()
  readonly #leases = new Map<string, number>()

  apply(host: string, version: TableVersion, rows: readonly Row[]): void {
    this.#held.set(host, { version, rows })
  }

  lease(host: string, untilMs: number): void {
    this.#leases.set(host, Math.max(untilMs, this.#leases.get(host) ?? 0))
  }

  endLease(host: string): void {
    this.#leases.delete(host)
  }

  drop(host: string): void {
    this.#held.delete(host)
  }

  clear(): void {
    this.#held.clear()
    this.#leases.clear()
  }

  /** By the unit's clock; 0: none. */
  leaseUntilMs(host: string): number {
    return this.#held.has(host) ? (this.#leases.get(host) ?? 0) : 0
  }

  has(host: string): boolean {
    return this.#held.has(host)
  }

  /** Everybody who may get a connection now. */
  chosen(nowMs: number, isAlive: (host: string) => boolean, ignoresLeases: boolean): Chosen[] {
    const services = new Map<string, Candidate[]>()
    for (const [host, { rows }] of this.#held) {
      const leaseUntilMs = ignoresLeases ? Number.POSITIVE_INFINITY : this.leaseUntilMs(host)
      for (const row of rows) {
        const type = appType(row.app)
        const candidate = { host, row, leaseUntilMs, alive: isAlive(host), upSinceMs: 0 }
        const same = services.get(type)
        if (same === undefined) services.set(type, [candidate])
        else same.push(candidate)
      }
    }
    return [...services.values()].flatMap(candidates => {
      const { shares } = sharesOf(candidates, { slowStartMs: 0 }, nowMs)
      const hosts = new Set(shares.map(share => share.host))
      const used = candidates.filter(({ host }) => hosts.has(host))
      const isLastResort = !used.some(({ row }) => isUp(row))
      return used
        .filter(({ row }) => isLastResort || isUp(row))
        .map(({ host, row }) => ({ host, row, isLastResort }))
    })
  }
}
