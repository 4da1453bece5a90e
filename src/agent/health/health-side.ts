/** Health and load on this node (src/health/node.ts) with everything around it: links, timers, applications, allotments, events. */
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { NodeConfig } from '../../config/schema.ts'
import type { GroupData, HealthData, ShareRow } from '../../control/types.ts'
import { errorText } from '../../errors.ts'
import { encodeHealthFrame } from '../../gossip/frames.ts'
import type { PeerLinks } from '../../gossip/links-api.ts'
import { encodeHealth } from '../../health/codec.ts'
import { HealthNode, type HealthNodeAction, type HealthNodeEvent } from '../../health/node.ts'
import type { DirectiveState, ServerState } from '../../health/types.ts'
import { Standstill } from '../../health/unit/standstill.ts'
import { readClocks } from '../../os/clock.ts'
import type { Course } from '../cluster/course.ts'
import type { EventLog } from '../events.ts'
import { GroupWatch } from './group-watch.ts'
import { HealthInbox } from './health-inbox.ts'
import { factsOf, type HealthViewParts, healthView, sharesView } from './health-view.ts'
import { LOAD, nodeSettings } from './node-settings.ts'
import { type AppReport, OwnApps, type OwnEndpoint } from './own-apps.ts'
import { PolicyWatch } from './policy-watch.ts'
import { RowWatch } from './row-watch.ts'
import { addedHosts, ordersOf, settledNews } from './services.ts'
import { SettledWatch } from './settled-watch.ts'
import { UnitSide, type UnitSidePorts } from './unit-side.ts'

/** Links of this version carry health and load. */
const HEALTH_VERSION = 3
/** Between two tellings of the server state. */
const SERVER_MS = 15_000
/** For rows of hosts that are new to a service: they come before the host says that it follows. */
const READY_MS = 500
/** Node has no longer timers. */
const MAX_TIMER_MS = 2_147_483_647

export interface HealthSideParts {
  links: PeerLinks
  events: EventLog
  log: Logger
  /** The kernel of that machine answers no probes. */
  isDead(name: string): boolean
  allot: UnitSidePorts['allot']
  leases: UnitSidePorts['leases']
  /** The operator's, about a host's applications. */
  orders(host: string): readonly DirectiveOrder[]
}

export class HealthSide {
  readonly #parts: HealthSideParts
  readonly #node: HealthNode
  readonly #rows: RowWatch
  readonly #group: GroupWatch
  readonly #settled: SettledWatch
  readonly #policy: PolicyWatch
  #course: Course
  #unit: UnitSide | null = null
  #apps: OwnApps | null = null
  #timer: NodeJS.Timeout | null = null
  readonly #linked = new Set<string>()
  readonly #servers = new Map<string, ServerState>()
  /** Orders in force, by key of the application. */
  #ordered: ReadonlyMap<string, DirectiveState> = new Map()
  /** The table that was told of them. */
  #told: HealthNode['host'] = null
  #serverToldMs = Number.NEGATIVE_INFINITY
  readonly counters: Record<string, number> = {
    messages_in: 0,
    messages_out: 0,
    messages_bad: 0,
    messages_over_rate: 0,
    refused: 0,
  }
  readonly #inbox = new HealthInbox(what => this.counters[what]!++)
  readonly #standstill = new Standstill()
  /** What an action leads to has to wait for the other actions. */
  readonly #waiting: HealthNodeEvent[] = []
  #isStepping = false
  #stopped = false

  constructor(course: Course, parts: HealthSideParts) {
    this.#parts = parts
    this.#course = course
    this.#rows = new RowWatch(parts.events, () => factsOf(this.#viewParts()))
    this.#group = new GroupWatch(parts.events, () => this.#node.group)
    this.#settled = new SettledWatch(parts.events, (services, host) => this.#rows.before(services, host))
    this.#policy = new PolicyWatch(course.config, parts.log)
    this.#node = new HealthNode(nodeSettings(course.config, this.#policy.formerLeaseBeats), {
      instance: () => randomBytes(4).readUInt32LE(0),
      seed: () => randomBytes(32),
    })
  }

  get node(): HealthNode {
    return this.#node
  }
  get apps(): OwnApps | null {
    return this.#apps
  }

  start(): void {
    const { links } = this.#parts
    links.onFrame((peer, frame) => {
      if (frame.type === 'health') this.#receive(peer, frame.body)
    })
    links.onChange(({ name, state, version }) =>
      this.#link(name, state === 'alive' && (version ?? 0) >= HEALTH_VERSION),
    )
    this.follow(this.#course)
    for (const { name, state, version } of links.states())
      this.#link(name, state === 'alive' && (version ?? 0) >= HEALTH_VERSION)
  }

  /** The cluster has changed, and the packets follow it already. */
  follow(course: Course): void {
    this.#course = course
    const { config } = course
    const self = { name: config.node.name, id: this.#parts.links.id, roles: config.roles }
    const isUnit = (roles: readonly string[]): boolean =>
      roles.includes('forwarder') || roles.includes('classifier')
    // What the cache holds already, of this very node, is told in the same step.
    this.#followUnit(config, isUnit(config.roles))
    const settings = this.#policy.follow(config)
    if (settings !== null) this.#step({ on: 'settings', settings })
    this.#step({
      on: 'members',
      members: [self, ...config.peers].map(({ name, id, roles }) => ({
        ...{ name, id, host: roles.includes('host') },
        unit: isUnit(roles),
      })),
    })
    this.#followHost(config)
  }

  /**
   * Resolves when the rows of hosts that are new to a service are in force here, so that a change that was told to be in force
   * is followed by new connections too. Waits so long at most: an application may not run there at all.
   */
  async ready(before: NodeConfig): Promise<void> {
    const { config } = this.#course
    const own = config.node.name
    const added = addedHosts(before, config).filter(({ host }) => host === own || this.#linked.has(host))
    await this.#unit?.awaitHosts(added, READY_MS)
  }

  /** A peer's agent or machine came or went. */
  peersChanged(): void {
    this.#unit?.update()
  }

  /** A classifier has used up what it had of a service. */
  wanted(service: string): void {
    this.#unit?.wanted(service)
  }

  /** An application says how it is; false: no socket of that service is known here (yet). */
  report(service: string, said: AppReport, pid: number): boolean {
    const own = this.#apps?.endpoints.filter(endpoint => endpoint.service.name === service) ?? []
    for (const { key } of own) this.#apps?.report(key, said, pid)
    return own.length > 0
  }

  /** Everything of this host drains; the units are told at once. */
  stopping(): void {
    this.#step({ on: 'stopping' })
  }

  /** Whether every unit follows what this host wants. */
  get isSettled(): boolean {
    return (this.#node.host?.pending().length ?? 0) === 0
  }

  /** @param reason told to the units; null: they hear nothing, as if this process had been killed */
  stop(reason: string | null): void {
    if (this.#stopped) return
    if (reason !== null) this.#step({ on: 'goodbye', reason })
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#rows.stop()
    this.#group.stop()
    this.#settled.stop()
    this.#policy.stop()
    this.#apps?.stop()
    this.#unit?.stop()
  }

  /** For shunt status: what came and went, and what the cache and the allotments saw. */
  counted(): Record<string, number> {
    const parts = { ...this.counters, ...this.#node.unit?.counters, ...this.#unit?.handler.counters }
    return Object.fromEntries(Object.entries(parts).map(([name, value]) => [`health_${name}`, value]))
  }

  /** Null where this node is in no group that has a leader. */
  group(): GroupData | null {
    return this.#group.view()
  }

  view(): HealthData {
    return healthView(this.#viewParts())
  }

  /** Of new connections from here; null where this node is no load balancing unit. */
  shares(): ShareRow[] | null {
    return sharesView(this.#unit, performance.now())
  }

  #viewParts(): HealthViewParts {
    const { config, leaving } = this.#course
    return {
      ...{ config, leaving, node: this.#node, apps: this.#apps, unit: this.#unit, servers: this.#servers },
      group: this.group(),
      orders: this.#parts.orders,
      nowMs: performance.now(),
    }
  }

  #followUnit(config: NodeConfig, isUnit: boolean): void {
    if (!isUnit) {
      this.#unit?.stop()
      this.#unit = null
      return
    }
    if (this.#unit !== null) return this.#unit.reconfigure(config)
    const { links, log, allot, leases } = this.#parts
    const own = config.node.name
    const stateOf = (name: string) => links.states().find(peer => peer.name === name)
    this.#unit = new UnitSide(config, {
      ...{ allot, leases },
      lookAtClocks: () => this.#lookAtClocks(),
      applied: (host, version) => this.#step({ on: 'applied', host, version }),
      followed: () => this.#rows.soon(),
      alive: name => name === own || (stateOf(name)?.state === 'alive' && !this.#parts.isDead(name)),
      silent: () =>
        links
          .states()
          .filter(({ state, version }) => state === 'alive' && (version ?? 0) < HEALTH_VERSION)
          .map(({ name }) => name),
      trouble: text => log.error({ error: text }, 'allotments could not be put into force; trying again'),
    })
    this.#unit.update()
  }

  #followHost(config: NodeConfig): void {
    if (!config.roles.includes('host')) {
      this.#apps?.stop()
      this.#apps = null
      return
    }
    if (this.#node.host !== this.#told) {
      // A table that begins anew knows no orders.
      this.#told = this.#node.host
      this.#ordered = new Map()
    }
    this.#order()
    if (this.#apps !== null) return this.#apps.reconfigure(config)
    const { log } = this.#parts
    this.#apps = new OwnApps(config, {
      endpoints: endpoints => this.#endpoints(endpoints),
      health: (key, health) => {
        this.#step({ on: 'health', app: key, health })
        this.#rows.soon()
      },
      load: (key, percent) => this.#step({ on: 'load', app: key, percent }),
      server: state => this.#server(state),
      trouble: text => log.warn({ error: text }, 'listening sockets could not be looked at; trying again'),
      warning: text => log.warn(text),
    })
    this.#apps.start()
  }

  #endpoints(endpoints: readonly OwnEndpoint[]): void {
    this.#order(endpoints)
    this.#step({ on: 'endpoints', endpoints })
    this.#rows.soon()
  }

  /** Tells the table what changed of the operator's orders. */
  #order(endpoints: readonly OwnEndpoint[] = this.#apps?.endpoints ?? []): void {
    const wanted = ordersOf(this.#course.directives, endpoints)
    for (const key of this.#ordered.keys())
      if (!wanted.has(key)) this.#step({ on: 'order', app: key, state: null })
    for (const [key, state] of wanted)
      if (this.#ordered.get(key) !== state) this.#step({ on: 'order', app: key, state })
    this.#ordered = wanted
  }

  #server(state: ServerState): void {
    const own = this.#course.config.node.name
    const before = this.#servers.get(own)
    this.#servers.set(own, state)
    const nowMs = performance.now()
    const isLarge = Math.abs((before?.cpuPercent ?? 0) - state.cpuPercent) >= LOAD.jump
    if (!isLarge && nowMs - this.#serverToldMs < SERVER_MS) return
    this.#serverToldMs = nowMs
    this.#step({ on: 'server-state', state })
  }

  #link(peer: string, up: boolean): void {
    if (up === this.#linked.has(peer)) return this.#unit?.update()
    if (up) this.#linked.add(peer)
    else this.#linked.delete(peer)
    this.#step({ on: 'link', peer, up })
    this.#unit?.update()
  }

  #receive(from: string, body: Uint8Array): void {
    const message = this.#inbox.take(from, body, performance.now())
    if (message !== null) this.#step({ on: 'message', from, message })
  }

  /** Before anything that rests on leases. */
  #lookAtClocks(): void {
    if (this.#standstill.passed(readClocks())) this.#step({ on: 'stood-still' })
  }

  #step(event: HealthNodeEvent): void {
    if (this.#stopped) return
    this.#lookAtClocks()
    this.#waiting.push(event)
    if (this.#isStepping) return
    this.#isStepping = true
    try {
      while (this.#waiting.length > 0) this.#take(this.#waiting.shift()!)
    } finally {
      // Links catch what their callbacks throw, and go on.
      this.#isStepping = false
    }
  }

  #take(event: HealthNodeEvent): void {
    const { actions, wakeAtMs } = this.#node.step(event, performance.now())
    this.#wakeAt(wakeAtMs)
    for (const action of actions) this.#act(action)
    this.#tellSettled(actions)
  }

  #tellSettled(actions: readonly HealthNodeAction[]): void {
    const settled = actions.filter(action => action.do === 'settled')
    if (settled.length === 0) return
    const rows = new Map(this.#node.host?.rows().map(row => [row.id, row]))
    this.#settled.add(settled.map(({ id, state }) => settledNews(this.#course.config, rows.get(id), state)))
  }

  #wakeAt(atMs: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (!Number.isFinite(atMs)) return
    const delayMs = Math.min(MAX_TIMER_MS, Math.max(0, atMs - performance.now()))
    this.#timer = setTimeout(() => this.#step({ on: 'tick' }), delayMs)
  }

  #act(action: HealthNodeAction): void {
    const { links, log } = this.#parts
    switch (action.do) {
      case 'send':
        this.counters.messages_out!++
        try {
          links.send(action.to, encodeHealthFrame(encodeHealth(action.message)))
        } catch (error) {
          log.error(
            { error: errorText(error), type: action.message.type },
            'a health message could not be written',
          )
        }
        return
      case 'apply':
        return this.#unit?.apply(action.host, action.version, action.rows)
      case 'lease':
        return this.#unit?.lease(action.host, action.untilMs)
      case 'drop':
        this.#servers.delete(action.host)
        return this.#unit?.drop(action.host)
      case 'check':
        return this.#unit?.update()
      case 'refused':
        this.counters.refused!++
        log.debug({ from: action.from, why: action.why }, 'health message refused')
        return
      case 'leader':
        log.debug({ leader: action.leader }, 'leader of the group of hosts')
        return this.#group.changed()
      case 'server-state':
        if (
          this.#course.config.peers.some(({ name, roles }) => name === action.from && roles.includes('host'))
        )
          this.#servers.set(action.from, action.state)
    }
  }
}
