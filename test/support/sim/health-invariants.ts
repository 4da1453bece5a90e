/**
 * What must hold at any time in a cluster's health and load, whatever happens. Each sentence that is thrown names the invariant:
 *   directive   after a host made a directive current, no unit gives it a connection against it (R-B6)
 *   frozen      in peace, a row is inactive if, and only if, an order or its failing application asks for that (R-B6)
 *   dead        nor does any, later than a lease and a margin after the host's end, or after its application's
 *   goodbye     nor does one that has its goodbye
 *   forgets     units forget hosts that are gone (R-B8)
 *   converge    in peace, caches become what the hosts' tables are (R-B5)
 *   leader      in peace, a group has one leader (R-B7)
 *   lease       in peace, no healthy, active host is without a lease for long
 *   storm       nodes do not answer each other without end
 */
import { isDeepStrictEqual } from 'node:util'
import { appKey } from '../../../src/health/app-id.ts'
import { groupsOf } from '../../../src/health/group/groups.ts'
import { hostNumbers } from '../../../src/health/host-number.ts'
import type { Row } from '../../../src/health/types.ts'
import type { HealthMember, HealthOptions } from './health-place.ts'
import type { Chosen } from './health-plane.ts'
import type { SimHealthNode } from './health-sim-node.ts'
import type { World } from './world.ts'

/** What a data plane may take now and then. */
export const SLOW_APPLY_MS = 4800
const MAX_GAP_MS = 5000
const MAX_LEADERS_MS = 3000
/** What goes on in a unit between the end of a bound and what is seen of it. */
const SLACK_MS = 5
/** Messages that a node sends to one other in a second, at most: beats, claims, row changes, questions, answers. */
const MAX_SENDS = 60

export interface Cluster {
  readonly world: World
  readonly options: HealthOptions
  readonly nodes: ReadonlyMap<string, SimHealthNode>
  readonly members: readonly HealthMember[]
}

export class HealthInvariants {
  readonly #cluster: Cluster
  /** Not finite: there is trouble. */
  #peaceMs = Number.POSITIVE_INFINITY
  readonly #gaps = new Map<string, number>()
  readonly #leaders = new Map<number, number>()
  #sends = new Map<string, number>()
  #sendsMs = 0
  /** Connections that were checked, by kind. */
  readonly counts = { chosen: 0, lastResort: 0, directives: 0 }

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  peace(): void {
    this.#peaceMs = this.#cluster.world.nowMs
  }

  /** No unit chooses what it must not. */
  checkChoices(): void {
    const { options } = this.#cluster
    for (const unit of this.#cluster.nodes.values()) {
      if (!unit.isChoosing) continue
      const isAlive = (host: string): boolean =>
        !options.trustsLinks || host === unit.name || unit.linked.has(host)
      const chosen = unit.plane.chosen(unit.nowMs, isAlive, options.bug === 'lease-not-checked')
      for (const choice of chosen) this.#checkChoice(unit, choice)
    }
  }

  #checkChoice(unit: SimHealthNode, choice: Chosen): void {
    const { nodes, world } = this.#cluster
    const host = nodes.get(choice.host)!
    const isOver = (atMs: number): boolean => world.nowMs > host.leases.endMs(atMs) + SLACK_MS
    const key = appKey(choice.row.app)
    const row = host.table.get(key)
    const what = `${unit.name} gives ${host.name} a connection of ${key}`
    this.counts.chosen++
    if (choice.isLastResort) this.counts.lastResort++
    if (!host.isUp) {
      const goneMs = world.nowMs - host.endedMs
      if (isOver(host.endedMs)) throw new Error(`dead: ${what}, ${goneMs} ms after its end`)
      const goodbyeMs = world.nowMs - (unit.goodbyes.get(host.name) ?? Number.POSITIVE_INFINITY)
      if (goodbyeMs >= 0) throw new Error(`goodbye: ${what}, ${goodbyeMs} ms after it took its goodbye`)
    }
    if (row === undefined) {
      const unlistedMs = host.lastListed.get(key) ?? Number.NEGATIVE_INFINITY
      if (isOver(unlistedMs))
        throw new Error(`dead: ${what}, ${world.nowMs - unlistedMs} ms after that stopped listening`)
      return
    }
    if (row.current === 'active') return
    const isWanted = row.cause === 'health' || row.cause === 'overload' || isPending(host, row)
    if (choice.isLastResort && isWanted) return
    const state = `${row.current}, cause ${row.cause}`
    throw new Error(`directive: ${what}, which is ${state}${choice.isLastResort ? ', as a last resort' : ''}`)
  }

  /** To be called every so often. */
  checkState(): void {
    this.#checkForgotten()
    this.#checkStorm()
    if (this.#peaceMs === Number.POSITIVE_INFINITY) return
    this.#checkLeases()
    this.#checkLeaders()
  }

  #checkForgotten(): void {
    const { nodes, options, world } = this.#cluster
    for (const unit of nodes.values()) {
      if (unit.core?.unit == null || unit.isFrozen || world.nowMs - unit.thawedMs < 1000) continue
      for (const { name, version } of unit.core.unit.hosts()) {
        const host = nodes.get(name)!
        const keepMs = host.leases.endMs(host.endedMs) - host.endedMs + options.ageMs + 1000
        if (host.isUp || world.nowMs - host.endedMs <= keepMs) continue
        const since = `${world.nowMs - host.endedMs} ms after its end`
        if (version !== null) throw new Error(`forgets: ${unit.name} holds rows of ${name}, ${since}`)
        if (unit.plane.has(name) && world.nowMs - host.endedMs > keepMs + SLOW_APPLY_MS)
          throw new Error(`forgets: the data plane of ${unit.name} holds ${name}, ${since}`)
      }
    }
  }

  #checkStorm(): void {
    const { nodes, world } = this.#cluster
    if (world.nowMs - this.#sendsMs < 1000) return
    this.#sendsMs = world.nowMs
    for (const node of nodes.values()) {
      const sends = node.sends - (this.#sends.get(node.name) ?? 0)
      this.#sends.set(node.name, node.sends)
      // What had waited for a frozen node is answered at once.
      const calm = world.nowMs - node.thawedMs > 2000 ? 1 : 10
      if (sends > MAX_SENDS * nodes.size * calm)
        throw new Error(`storm: ${node.name} sent ${sends} messages in a second`)
    }
  }

  #checkLeases(): void {
    const { world } = this.#cluster
    for (const [unit, host] of this.#pairs()) {
      const pair = `${unit.name} ${host.name}`
      const isFine =
        ![...host.table.values()].some(isWelcome) || unit.plane.leaseUntilMs(host.name) > unit.nowMs
      const sinceMs = this.#gaps.get(pair)
      if (isFine) this.#gaps.delete(pair)
      else if (sinceMs === undefined) this.#gaps.set(pair, world.nowMs)
      else if (world.nowMs - sinceMs > MAX_GAP_MS)
        throw new Error(
          `lease: ${unit.name} has none of ${host.name} for ${world.nowMs - sinceMs} ms of peace`,
        )
    }
  }

  #checkLeaders(): void {
    const { world } = this.#cluster
    for (const { index, live } of this.#groups()) {
      const leaders = live.filter(node => node.leads).map(({ name }) => name)
      if (leaders.length < 2) this.#leaders.delete(index)
      else if (!this.#leaders.has(index)) this.#leaders.set(index, world.nowMs)
      const forMs = world.nowMs - (this.#leaders.get(index) ?? world.nowMs)
      if (forMs > MAX_LEADERS_MS)
        throw new Error(`leader: group ${index} has ${leaders.join(' and ')} for ${forMs} ms of peace`)
    }
  }

  /** At the end of peace: what is not as it should be, or null. */
  unsettled(): string | null {
    const { world } = this.#cluster
    for (const [unit, host] of this.#pairs()) {
      const held = unit.core!.unit!.hosts().find(({ name }) => name === host.name)!
      const of = `${unit.name} and ${host.name}`
      const { version } = host.core!.host!
      if (!isDeepStrictEqual(held.version, version)) return `converge: versions of ${of} differ`
      if (!isDeepStrictEqual(held.inForce, version)) return `converge: the version in force of ${of} differs`
      if (!isDeepStrictEqual(sorted(held.rows), sorted(host.core!.host!.rows())))
        return `converge: rows of ${of} differ`
      if (unit.plane.leaseUntilMs(host.name) <= unit.nowMs) return `lease: none of ${of}`
    }
    // Units that are gone are waited for as long as their leases may last.
    for (const host of this.#cluster.nodes.values())
      for (const { id, sinceMs, waiting } of host.core?.host?.pending() ?? [])
        if (host.nowMs - sinceMs > host.leases.endMs(world.nowMs) - world.nowMs + 1000)
          return `directive: ${host.name} still waits with row ${id} for ${JSON.stringify(waiting)}`
    for (const host of this.#cluster.nodes.values()) {
      if (host.core?.host == null || host.isStopping) continue
      for (const { app, target } of host.core.host.rows())
        if ((target === 'inactive') !== isFreezing(host, appKey(app)))
          return `frozen: ${appKey(app)} of ${host.name} is ${target}`
    }
    for (const { index, live } of this.#groups()) {
      const seen = new Set(live.map(node => node.core?.group?.leader ?? null))
      if (seen.size > 1 || seen.has(null))
        return `leader: in group ${index} they follow ${[...seen].join(', ')}`
    }
    return null
  }

  /** Living units with each living host. */
  #pairs(): [SimHealthNode, SimHealthNode][] {
    const up = [...this.#cluster.nodes.values()].filter(node => node.isUp)
    const hosts = up.filter(node => node.core?.host != null)
    return up
      .filter(node => node.core?.unit != null)
      .flatMap(unit => hosts.map((host): [SimHealthNode, SimHealthNode] => [unit, host]))
  }

  /** Those that elect leaders, with their living members. */
  #groups(): { index: number; live: SimHealthNode[] }[] {
    const { members, nodes, options } = this.#cluster
    const hosts = members.filter(({ host }) => host)
    if (hosts.length <= options.directHosts) return []
    const numbers = hostNumbers(hosts.map(({ id }) => id))
    const named = hosts.map(({ name, id }) => ({ name, id, host: numbers.get(id)! }))
    return groupsOf(named, options.groupSize)
      .map(({ index, hosts }) => ({
        index,
        live: hosts.map(({ name }) => nodes.get(name)!).filter(node => node.core?.group != null),
      }))
      .filter(({ live }) => live.length > 0)
  }
}

const isWelcome = (row: Row): boolean =>
  row.health !== 'failing' && row.target === 'active' && row.current === 'active'

/** Somebody asks that the application gets no packet. */
const isFreezing = ({ truth }: SimHealthNode, key: string): boolean =>
  ['*', key].some(each => truth.orders.get(each) === 'inactive') ||
  (truth.health.get(key) === 'failing' && truth.listening.get(key)?.whenFailing === 'inactive')

const isPending = (host: SimHealthNode, row: Row): boolean =>
  host.core?.host?.pending().some(({ id }) => id === row.id) === true

const sorted = (rows: readonly Row[]): Row[] => [...rows].sort((a, b) => a.id - b.id)
