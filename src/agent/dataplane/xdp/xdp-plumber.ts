import { FLOW_KEY_WORDS, isIpv4, KEY_PORTS, KEY_VIP } from '../flow-key.ts'
import type {
  MappingPlace,
  Plumber,
  PlumbFailures,
  PlumbLearning,
  PlumbUse,
  RouteKind,
  RoutePlace,
} from '../plumber.ts'
import type { LearntMap } from './learnt-map.ts'
import type { Mapping } from './mapping-slots.ts'
import { eachMapping, type MappingRules, MappingSweep } from './mapping-sweep.ts'
import type { KernelMappings } from './mapping-table.ts'
import type { RouteKey } from './route-key.ts'
import { ROUTE_RESULT, ROUTE_STATE } from './route-layout.ts'
import { eachRoute, RouteSweep, type SweepRules } from './route-sweep.ts'
import type { RouteTable } from './route-table.ts'
import type { ServiceNumbers } from './service-numbers.ts'
import { SweepPace } from './sweep-pace.ts'
import { ticksOf, usedMs } from './tick.ts'
import type { TunnelBook } from './tunnel-book.ts'

const { INSERTED, KICKED, EVICTED, EXISTS, FULL, UPDATED } = ROUTE_RESULT
/** An entry that was claimed and not filled for so long is nobody's: some minute. */
const ORPHAN_TICKS = 480
/** A mapping's first stamp lies so many ticks back: any packet that follows it, however soon, makes it another one. */
const UNUSED_TICKS = 3
/** When others change the same entries at once. */
const TRIES = 4

export interface XdpTables {
  readonly routes: RouteTable
  readonly routes6: RouteTable
  readonly mappings: KernelMappings
  readonly mappings6: KernelMappings
  readonly services: ServiceNumbers
  readonly tunnels: TunnelBook
  /** What the kernel has learnt by itself. Left out: nothing. */
  readonly learnt?: LearntMap
  /** Gives the tunnel a new generation, in force when it returns (decision 5). */
  readonly renewTunnel: (tunnel: number) => void
}

/** Of one family. */
interface RouteSide {
  readonly table: RouteTable
  readonly key: RouteKey
  readonly keys: RouteKey[]
  waiting: number
  readonly sweep: RouteSweep
  readonly pace: SweepPace
}

interface MappingSide {
  readonly table: KernelMappings
  readonly sweep: MappingSweep
  readonly pace: SweepPace
}

/**
 * Puts routes and mappings into the tables that the programs of edge.bpf.c look up (decision 30). They stay until they are taken out, or
 * until no packet has followed them for a lease: a sweep tells which are used, and takes the others out. Each family has
 * tables of its own.
 */
export class XdpPlumber implements Plumber {
  readonly lasting = true
  readonly encapsulates = true
  readonly learning?: PlumbLearning
  readonly counters = { batches: 0, changes: 0, batchFailures: 0, changeFailures: 0, evicted: 0 }
  readonly #tables: XdpTables
  readonly #failed: PlumbFailures
  readonly #use: PlumbUse
  readonly #tick: () => number
  readonly #words = new Uint32Array(10)
  #pending: (() => boolean)[] = []
  readonly #routes: readonly RouteSide[]
  readonly #mappings: readonly MappingSide[]

  /** @param tick the current one, of the tables' stamps */
  constructor(
    tables: XdpTables,
    failed: PlumbFailures,
    use: PlumbUse,
    tick: () => number,
    learning?: PlumbLearning,
  ) {
    this.learning = learning
    this.#tables = tables
    this.#failed = failed
    this.#use = use
    this.#tick = tick
    this.#routes = [tables.routes, tables.routes6].map(table => ({
      ...{ table, key: table.newKey(), keys: [], waiting: 0 },
      ...{ sweep: new RouteSweep(table, ORPHAN_TICKS), pace: new SweepPace(tick()) },
    }))
    this.#mappings = [tables.mappings, tables.mappings6].map(table => ({
      ...{ table, sweep: new MappingSweep(table), pace: new SweepPace(tick()) },
    }))
  }

  route(slot: number, key: Uint32Array, at: number, identifier: number): void {
    this.#push(slot, key, at, identifier)
  }

  local(slot: number, key: Uint32Array, at: number): void {
    this.#push(slot, key, at, 0)
  }

  /** @param identifier 0: this node is the host */
  #push(slot: number, key: Uint32Array, at: number, identifier: number): void {
    const side = this.#routesOf(key, at)
    const route = this.#keyOf(waitingKey(side), key, at)
    this.#pending.push(() => {
      if (route !== null && this.#insert(side.table, route, identifier)) return true
      this.#failed.route(slot)
      return false
    })
  }

  #routesOf(client: Uint32Array, at: number): RouteSide {
    return this.#routes[isIpv4(client, at) ? 0 : 1]
  }

  #mappingsOf(family: 4 | 6): KernelMappings {
    return this.#mappings[family === 4 ? 0 : 1].table
  }

  /** Null: the table has no place for such a flow. */
  #keyOf(out: RouteKey, key: Uint32Array, at: number): RouteKey | null {
    const number = this.#tables.services.ofKey(key, at)
    return number === 0 ? null : out.set(key, at, key[at + 8] >>> 16, number)
  }

  #insert(routes: RouteTable, key: RouteKey, identifier: number): boolean {
    const content = {
      identifier: identifier === 0 ? this.localHost * 2 ** 24 : identifier,
      ...{ state: ROUTE_STATE.ESTABLISHED, generation: 0, mapped: true, pinned: false },
    }
    for (let tries = 0; tries < TRIES; tries++) {
      const { result, victim } = routes.insert(key, content, this.#tick())
      if (victim !== null) {
        // A move that was taken back may have left it where it was.
        routes.remove(victim.key)
        this.counters.evicted++
        this.#routeGone(victim.key)
      }
      if (result === INSERTED || result === KICKED || result === EVICTED) return true
      if (result === EXISTS && routes.update(key, content) === UPDATED) return true
      if (result === FULL) return false
    }
    return false
  }

  /** Index of this node as a host, 0: it is none. */
  localHost = 0

  unroute(key: Uint32Array, at: number, kind: RouteKind): void {
    this.unrouteAll([{ key, at, kind }])
  }

  unrouteAll(places: readonly RoutePlace[]): void {
    this.flush()
    for (const { key, at } of places) {
      const side = this.#routesOf(key, at)
      const route = this.#keyOf(side.key, key, at)
      if (route !== null) side.table.remove(route)
    }
  }

  mapping(slot: number, tunnel: number, identifier: number, tuple: Uint32Array, at: number): void {
    const flow = tuple.slice(at, at + FLOW_KEY_WORDS)
    this.#pending.push(() => {
      const service = this.#tables.services.ofKey(flow, 0)
      const content = { client: flow.subarray(0, 4), port: flow[KEY_PORTS] >>> 16, service }
      if (this.#put(tunnel, identifier, content)) return true
      this.#failed.mapping(slot)
      return false
    })
  }

  #put(
    tunnel: number,
    identifier: number,
    content: { readonly client: Uint32Array; readonly port: number; readonly service: number },
  ): boolean {
    const { tunnels, learnt } = this.#tables
    const index = tunnels.indexOf(tunnel)
    if (index === 0 || content.service === 0) return false
    const mappings = this.#mappingsOf(isIpv4(content.client, 0) ? 4 : 6)
    const key = { tunnel: index, generation: tunnels.generations[index], identifier }
    const { victim } = mappings.put(key, content, (this.#tick() - UNUSED_TICKS) & 0xffff)
    // It stands in one place, and what the agent has decided goes first.
    learnt?.delete(index, key.generation, identifier)
    if (victim !== null) {
      this.counters.evicted++
      this.#mappingGone(victim)
    }
    return true
  }

  unmap(places: readonly MappingPlace[]): void {
    this.flush()
    const { tunnels, learnt } = this.#tables
    for (const { tunnel, identifier, family } of places) {
      const index = tunnels.indexOf(tunnel)
      // A tunnel that has gone took its mappings along.
      if (index === 0) continue
      this.#mappingsOf(family).remove(index, identifier)
      learnt?.delete(index, tunnels.generations[index], identifier)
    }
  }

  unmapTunnel(tunnel: number): boolean {
    this.flush()
    // The sweep frees their places.
    this.#tables.renewTunnel(tunnel)
    return true
  }

  flush(): void {
    const pending = this.#pending
    if (pending.length === 0) return
    this.#pending = []
    this.counters.batches++
    this.counters.changes += pending.length
    for (const apply of pending) if (!apply()) this.counters.changeFailures++
    for (const side of this.#routes) side.waiting = 0
  }

  sweep(nowMs: number, leaseMs: number, keepMs = leaseMs): void {
    for (const side of this.#routes) this.#sweepRoutes(side, nowMs, leaseMs, keepMs)
    for (const side of this.#mappings) this.#sweepMappings(side, nowMs, leaseMs)
    this.learning?.sweep(nowMs)
  }

  #sweepRoutes({ table, sweep, pace }: RouteSide, nowMs: number, leaseMs: number, keepMs: number): void {
    const now = this.#tick()
    const lease = ticksOf(leaseMs)
    // A flow without a route is a new one to the kernel (bpf/classify.h), which may choose another host for its next datagram or SYN.
    const keep = Math.max(lease, ticksOf(keepMs))
    const rules: SweepRules = {
      shortest: lease,
      lifetime: state => (state === ROUTE_STATE.FIN || state === ROUTE_STATE.RESET ? lease : keep),
      expired: key => this.#routeGone(key),
      recent: pace.ticksSince(now),
      used: (key, { stamp, identifier }) => {
        if (this.#read(key)) this.#use.routeUsed(this.#words, usedMs(stamp, now, nowMs), identifier)
      },
    }
    const { buckets } = table.buckets.memory
    if (sweep.slice(pace.step(buckets, nowMs, leaseMs), now, rules)) pace.passed(now)
  }

  #sweepMappings({ table, sweep, pace }: MappingSide, nowMs: number, leaseMs: number): void {
    const { tunnels } = this.#tables
    const now = this.#tick()
    const lifetime = ticksOf(leaseMs)
    const rules: MappingRules = {
      generations: tunnels.generations,
      shortest: lifetime,
      lifetime: () => lifetime,
      expired: mapping => this.#mappingGone(mapping),
      recent: pace.ticksSince(now),
      used: ({ tunnel, identifier, stamp }) => {
        const address = tunnels.addressOf(tunnel)
        if (address !== undefined) this.#use.mappingUsed(address, identifier, usedMs(stamp, now, nowMs))
      },
    }
    const { buckets } = table.slots.memory
    if (sweep.slice(pace.step(buckets, nowMs, leaseMs), now, rules)) pace.passed(now)
  }

  #routeGone(key: RouteKey): void {
    if (this.#read(key)) this.#use.routeGone(this.#words)
  }

  /** The flow key of a route, into #words; false: its service has gone, and its flows with it. */
  #read(key: RouteKey): boolean {
    const service = this.#tables.services.at(key.service)
    if (service === undefined) return false
    const words = this.#words
    key.client(words, 0)
    words.set(service.vip, KEY_VIP)
    words[8] = (key.port << 16) | service.port
    words[9] = service.protocol
    return true
  }

  #mappingGone({ tunnel, generation, identifier }: Mapping): void {
    const { tunnels } = this.#tables
    const address = tunnels.addressOf(tunnel)
    if (address !== undefined && tunnels.generations[tunnel] === generation)
      this.#use.mappingGone(address, identifier)
  }

  clearRoutes(): void {
    this.flush()
    for (const { table } of this.#routes) for (const { key } of eachRoute(table)) table.remove(key)
  }

  clearMappings(): void {
    this.flush()
    for (const { table } of this.#mappings)
      for (const { tunnel, identifier } of eachMapping(table)) table.remove(tunnel, identifier)
  }
}

/** Made once, for as many as wait at a time. */
const waitingKey = (side: RouteSide): RouteKey => {
  side.keys[side.waiting] ??= side.table.newKey()
  return side.keys[side.waiting++]
}
