import { isIpv4 } from '../flow-key.ts'
import type { KernelFlow } from '../kernel-flows.ts'
import { flowKeyOf, kernelFlow } from './class-events.ts'
import type { RouteKey } from './route-key.ts'
import { ROUTE_RESULT, ROUTE_STATE } from './route-layout.ts'
import { eachRoute, RouteSweep } from './route-sweep.ts'
import type { RouteTable } from './route-table.ts'
import type { ServiceNumbers } from './service-numbers.ts'
import { SweepPace } from './sweep-pace.ts'
import { ticksOf } from './tick.ts'

const { INSERTED, KICKED, EVICTED, EXISTS, UPDATED } = ROUTE_RESULT
const ORPHAN_TICKS = 480

/** Told while flows are put in, and by sweeps. Keys are ten words, good until the call returns. */
export interface EmbryoChanges {
  /** It gave way to another, or has been there for longer than half-open flows live. */
  readonly gone: (key: Uint32Array, flow: KernelFlow) => void
  /** Packets of it pass. */
  readonly used: (key: Uint32Array) => void
}

/** Where the kernel keeps the flows of one family that it opens: half-open, and as routes. */
export interface FlowTables {
  readonly embryos: RouteTable
  readonly routes: RouteTable
}

/** Of each family. */
export interface FlowTablesByFamily {
  readonly 4: FlowTables
  readonly 6: FlowTables
}

interface Family extends FlowTables {
  readonly key: RouteKey
  readonly routeKey: RouteKey
  readonly sweep: RouteSweep
  readonly pace: SweepPace
}

/** The agent's side of the kernel's tables of embryonic flows, and of their routes. */
export class Embryos {
  readonly #four: Family
  readonly #six: Family
  readonly #services: ServiceNumbers
  readonly #changes: EmbryoChanges
  readonly #tick: () => number
  readonly #words = new Uint32Array(10)

  constructor(
    tables: FlowTablesByFamily,
    services: ServiceNumbers,
    changes: EmbryoChanges,
    tick: () => number,
  ) {
    const family = ({ embryos, routes }: FlowTables): Family => ({
      ...{ embryos, routes, key: embryos.newKey(), routeKey: routes.newKey() },
      ...{ sweep: new RouteSweep(embryos, ORPHAN_TICKS), pace: new SweepPace(tick()) },
    })
    this.#four = family(tables[4])
    this.#six = family(tables[6])
    this.#services = services
    this.#changes = changes
    this.#tick = tick
  }

  /** The tables of a flow, with both keys set; null: they have no place for it. */
  #of(key: Uint32Array, at: number): Family | null {
    const number = this.#services.ofKey(key, at)
    if (number === 0) return null
    const family = isIpv4(key, at) ? this.#four : this.#six
    family.key.set(key, at, key[at + 8] >>> 16, number)
    family.routeKey.set(key, at, key[at + 8] >>> 16, number)
    return family
  }

  /** True: it is in. */
  put(key: Uint32Array, at: number, { host, identifier, mapped, held }: KernelFlow): boolean {
    const family = this.#of(key, at)
    if (family === null) return false
    const content = {
      identifier: identifier === 0 ? host * 2 ** 24 : identifier,
      state: held ? ROUTE_STATE.HELD : ROUTE_STATE.EMBRYONIC,
      ...{ generation: 0, mapped: mapped || identifier === 0, pinned: false },
    }
    const { result, victim } = family.embryos.insert(family.key, content, this.#tick())
    if (victim !== null) {
      const flow = kernelFlow(victim.route)
      // A move that was taken back may have left it where it was.
      family.embryos.remove(victim.key)
      if (flowKeyOf(this.#services, victim.key, this.#words)) this.#changes.gone(this.#words, flow)
    }
    if (result === EXISTS) return family.embryos.update(family.key, content) === UPDATED
    return result === INSERTED || result === KICKED || result === EVICTED
  }

  /** True: it had a route as well, which is gone too. */
  take(key: Uint32Array, at: number, identifier: number): boolean {
    const family = this.#of(key, at)
    if (family === null) return false
    takeFrom(family.embryos, family.key, identifier)
    // Afterwards: the kernel makes the route first.
    return takeFrom(family.routes, family.routeKey, identifier)
  }

  search(key: Uint32Array): (KernelFlow & { readonly isRoute: boolean }) | null {
    const family = this.#of(key, 0)
    if (family === null) return null
    const route = family.routes.get(family.routeKey)
    if (route !== null) return { ...kernelFlow(route), isRoute: true }
    const embryo = family.embryos.get(family.key)
    return embryo === null ? null : { ...kernelFlow(embryo), isRoute: false }
  }

  /** None stays. */
  clear(): void {
    for (const { embryos } of [this.#four, this.#six])
      for (const { key } of eachRoute(embryos)) embryos.remove(key)
  }

  /** A slice of a pass. `lifeMs`: of half-open flows. */
  sweep(lifeMs: number, nowMs: number): void {
    this.#sweep(this.#four, lifeMs, nowMs)
    this.#sweep(this.#six, lifeMs, nowMs)
  }

  #sweep({ embryos, sweep, pace }: Family, lifeMs: number, nowMs: number): void {
    const now = this.#tick()
    const lifetime = ticksOf(lifeMs)
    const rules = {
      shortest: lifetime,
      lifetime: () => lifetime,
      recent: pace.ticksSince(now),
      expired: (key: RouteKey, route: Parameters<typeof kernelFlow>[0]) => {
        if (flowKeyOf(this.#services, key, this.#words)) this.#changes.gone(this.#words, kernelFlow(route))
      },
      used: (key: RouteKey) => {
        if (flowKeyOf(this.#services, key, this.#words)) this.#changes.used(this.#words)
      },
    }
    const { buckets } = embryos.buckets.memory
    if (sweep.slice(pace.step(buckets, nowMs, lifeMs), now, rules)) pace.passed(now)
  }
}

const takeFrom = (table: RouteTable, key: RouteKey, identifier: number): boolean => {
  const route = table.get(key)
  if (route === null || kernelFlow(route).identifier !== identifier) return false
  return table.remove(key) !== null
}
