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

/** The agent's side of the kernel's table of embryonic flows, and of their routes. */
export class Embryos {
  readonly #embryos: RouteTable
  readonly #routes: RouteTable
  readonly #services: ServiceNumbers
  readonly #changes: EmbryoChanges
  readonly #tick: () => number
  readonly #key: RouteKey
  readonly #routeKey: RouteKey
  readonly #words = new Uint32Array(10)
  readonly #sweep: RouteSweep
  readonly #pace: SweepPace

  constructor(
    tables: { readonly embryos: RouteTable; readonly routes: RouteTable; readonly services: ServiceNumbers },
    changes: EmbryoChanges,
    tick: () => number,
  ) {
    this.#embryos = tables.embryos
    this.#routes = tables.routes
    this.#services = tables.services
    this.#changes = changes
    this.#tick = tick
    this.#key = tables.embryos.newKey()
    this.#routeKey = tables.routes.newKey()
    this.#sweep = new RouteSweep(tables.embryos, ORPHAN_TICKS)
    this.#pace = new SweepPace(tick())
  }

  /** Sets both keys; false: the tables have no place for such a flow. */
  #set(key: Uint32Array, at: number): boolean {
    const number = this.#services.ofKey(key, at)
    if (number === 0 || !isIpv4(key, at)) return false
    this.#key.set(key, at, key[at + 8] >>> 16, number)
    this.#routeKey.set(key, at, key[at + 8] >>> 16, number)
    return true
  }

  /** True: it is in. */
  put(key: Uint32Array, at: number, { host, identifier, mapped }: KernelFlow): boolean {
    if (!this.#set(key, at)) return false
    const content = {
      identifier: identifier === 0 ? host * 2 ** 24 : identifier,
      ...{ state: ROUTE_STATE.EMBRYONIC, generation: 0, mapped: mapped || identifier === 0, pinned: false },
    }
    const { result, victim } = this.#embryos.insert(this.#key, content, this.#tick())
    if (victim !== null) {
      const flow = kernelFlow(victim.route)
      // A move that was taken back may have left it where it was.
      this.#embryos.remove(victim.key)
      if (flowKeyOf(this.#services, victim.key, this.#words)) this.#changes.gone(this.#words, flow)
    }
    if (result === EXISTS) return this.#embryos.update(this.#key, content) === UPDATED
    return result === INSERTED || result === KICKED || result === EVICTED
  }

  /** True: it had a route as well, which is gone too. */
  take(key: Uint32Array, at: number, identifier: number): boolean {
    if (!this.#set(key, at)) return false
    this.#takeFrom(this.#embryos, this.#key, identifier)
    // Afterwards: the kernel makes the route first.
    return this.#takeFrom(this.#routes, this.#routeKey, identifier)
  }

  #takeFrom(table: RouteTable, key: RouteKey, identifier: number): boolean {
    const route = table.get(key)
    if (route === null || kernelFlow(route).identifier !== identifier) return false
    return table.remove(key) !== null
  }

  search(key: Uint32Array): (KernelFlow & { readonly isRoute: boolean }) | null {
    if (!this.#set(key, 0)) return null
    const route = this.#routes.get(this.#routeKey)
    if (route !== null) return { ...kernelFlow(route), isRoute: true }
    const embryo = this.#embryos.get(this.#key)
    return embryo === null ? null : { ...kernelFlow(embryo), isRoute: false }
  }

  /** None stays. */
  clear(): void {
    for (const { key } of eachRoute(this.#embryos)) this.#embryos.remove(key)
  }

  /** A slice of a pass. `lifeMs`: of half-open flows. */
  sweep(lifeMs: number, nowMs: number): void {
    const now = this.#tick()
    const lifetime = ticksOf(lifeMs)
    const rules = {
      shortest: lifetime,
      lifetime: () => lifetime,
      recent: this.#pace.ticksSince(now),
      expired: (key: RouteKey, route: Parameters<typeof kernelFlow>[0]) => {
        if (flowKeyOf(this.#services, key, this.#words)) this.#changes.gone(this.#words, kernelFlow(route))
      },
      used: (key: RouteKey) => {
        if (flowKeyOf(this.#services, key, this.#words)) this.#changes.used(this.#words)
      },
    }
    const { buckets } = this.#embryos.buckets.memory
    if (this.#sweep.slice(this.#pace.step(buckets, nowMs, lifeMs), now, rules)) this.#pace.passed(now)
  }
}
