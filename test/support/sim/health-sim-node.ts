/**
 * A node of the simulation of health and load: the true cores, a clock of its own that drifts, an inbox that fills while the node is
 * frozen, and, on units, a data plane that follows the core a while later.
 */
import { appKey } from '../../../src/health/app-id.ts'
import { decodeHealth, encodeHealth } from '../../../src/health/codec.ts'
import type { Endpoint } from '../../../src/health/host/events.ts'
import {
  HealthNode,
  type HealthNodeAction,
  type HealthNodeEvent,
  type HealthNodePolicy,
} from '../../../src/health/node.ts'
import type { DirectiveState, Health, HealthMessage, HeartbeatEntry, Row } from '../../../src/health/types.ts'
import { type Bug, bugged, sent } from './health-bugs.ts'
import type { HealthMember, HealthOptions, Place } from './health-place.ts'
import { HealthPlane } from './health-plane.ts'
import { type HealthPolicy, LeaseLog, toldAs } from './health-policy.ts'

/** Longer than a run takes, as the true ones last longer than trouble does. */
const CHAIN_LINKS = 64
/** Wake-ups in a row without time passing; more is a core that spins. */
const MAX_SPINS = 50

/** What is true of a node's endpoints, whatever its tables say; it outlives the agent. */
export interface Endpoints {
  listening: Map<string, Endpoint>
  health: Map<string, Health>
  orders: Map<string, DirectiveState>
}

export class SimHealthNode {
  readonly name: string
  readonly truth: Endpoints = { listening: new Map(), health: new Map(), orders: new Map() }
  /** As the host's table last said it. */
  table = new Map<string, Row>()
  /** When an application was last in this host's table. */
  readonly lastListed = new Map<string, number>()
  /** When the data plane of this unit must have followed the goodbye of a host. */
  readonly goodbyes = new Map<string, number>()
  readonly linked = new Set<string>()
  /** Nodes that it cannot reach, though others can. */
  readonly blocked = new Set<string>()
  readonly plane = new HealthPlane()
  /** What it was last told; it outlives the agent. */
  policy: HealthPolicy
  readonly leases: LeaseLog
  core: HealthNode | null = null
  /** When the agent last ended. */
  endedMs = Number.NEGATIVE_INFINITY
  startedMs = Number.NEGATIVE_INFINITY
  thawedMs = Number.NEGATIVE_INFINITY
  isStopping = false
  sends = 0
  readonly #place: Place
  readonly #offsetMs: number
  readonly #rate: number
  readonly #heard: HeartbeatEntry[] = []
  #life = 0
  #frozen: 'no' | 'core' | 'all' = 'no'
  #inbox: (() => void)[] = []
  #planeInbox: (() => void)[] = []
  #planeAtMs = 0
  #cancelWake: () => void = () => {}
  #spins = 0
  #spunMs = 0
  #hosting: HealthNode['host'] = null

  constructor(name: string, place: Place) {
    this.name = name
    this.#place = place
    const { world, options } = place
    this.policy = { ...options }
    this.leases = new LeaseLog(options.beatMs, options.leaseBeats)
    this.#offsetMs = 1_000 + world.random() * 1e9
    this.#rate = 1 + (world.random() * 2 - 1) * options.drift
  }

  get #options(): HealthOptions {
    return this.#place.options
  }
  get #bug(): Bug | null {
    return this.#options.bug
  }
  get nowMs(): number {
    return this.#offsetMs + this.#place.world.nowMs * this.#rate
  }
  get isUp(): boolean {
    return this.core !== null
  }
  /** Chooses hosts: the data plane runs on while only the agent's main thread is frozen. */
  get isChoosing(): boolean {
    return this.core?.unit != null && this.#frozen !== 'all'
  }
  get isFrozen(): boolean {
    return this.#frozen !== 'no'
  }
  get leads(): boolean {
    return this.core?.group?.leader === this.name
  }

  start(members: readonly HealthMember[]): void {
    const { world, links, network } = this.#place
    const { beatMs, ageMs, retieMs } = this.#options
    const { host, group } = this.#told()
    this.#life++
    this.isStopping = false
    this.startedMs = world.nowMs
    this.goodbyes.clear()
    const isRestart = this.#bug !== 'restart-not-told' && world.nowMs <= this.leases.endMs(this.endedMs) + 1
    this.core = new HealthNode(
      {
        name: this.name,
        host: {
          beatMs,
          ...host,
          formerLeaseBeats: this.#bug === 'settles-at-once' ? 0 : this.leases.longest(world.nowMs),
          dnsName: `${this.name}.example`,
          dnsEvery: 30,
          load: { everyMs: 15_000, step: 5, jump: 25 },
          // With the time that a clock may gain in so long.
          isRestart,
          chainLinks: CHAIN_LINKS,
        },
        group: { beatMs, ...group },
        unit: {
          askAgainMs: 1000,
          retieMs,
          ageMs: this.#bug === 'never-forgets' ? 1e9 : ageMs,
        },
      },
      { instance: () => world.integer(2 ** 32), seed: () => world.bytes(32) },
    )
    network.attach(this.name, () => {})
    this.#step({ on: 'members', members })
    links.attach(this.name, {
      wants: peer => !this.blocked.has(peer),
      up: peer => this.#arrive(() => this.#linkChanged(peer, true)),
      down: peer => this.#arrive(() => this.#linkChanged(peer, false)),
      receive: (peer, message) => this.#arrive(() => this.#receive(peer, message)),
    })
  }

  /** The document changed. */
  follow(policy: HealthPolicy): void {
    this.#arrive(() => {
      if (policy.leaseBeats !== this.policy.leaseBeats)
        this.leases.change(policy.leaseBeats, this.#place.world.nowMs)
      this.policy = policy
      this.#step({ on: 'settings', settings: this.#told() })
    })
  }

  #told(): HealthNodePolicy {
    return toldAs(this.policy, this.#bug === 'settles-at-once' ? 0 : this.policy.leaseBeats)
  }

  /** Without a word. */
  crash(): void {
    const { links, network, world } = this.#place
    if (!this.isUp) return
    this.#life++
    this.#cancelWake()
    this.core = null
    this.#hosting = null
    this.#unlistAll()
    this.endedMs = world.nowMs
    this.linked.clear()
    this.#frozen = 'no'
    this.#inbox = []
    this.#planeInbox = []
    this.plane.clear()
    links.detach(this.name)
    network.detach(this.name)
  }

  /** As an agent stops: it drains (`drainMs` 0: it does not), says goodbye, and is gone when that is out. */
  stop(drainMs: number): void {
    const { world } = this.#place
    if (!this.isUp || this.isStopping) return
    this.isStopping = true
    const life = this.#life
    const isSame = (): boolean => life === this.#life && this.isUp
    if (drainMs > 0) this.tell({ on: 'stopping' })
    world.after(drainMs, () => {
      if (!isSame()) return
      this.tell({ on: 'goodbye', reason: 'stop' })
      world.after(this.#options.maxDelayMs + 1, () => {
        if (isSame()) this.crash()
      })
    })
  }

  /** `what`: 'core' leaves the data plane running. What arrives waits. */
  freeze(what: 'core' | 'all', forMs: number): void {
    if (!this.isUp || this.isFrozen) return
    this.#frozen = what
    const life = this.#life
    this.#place.world.after(forMs, () => {
      if (life === this.#life) this.thaw()
    })
  }

  thaw(): void {
    if (!this.isFrozen) return
    this.#frozen = 'no'
    this.thawedMs = this.#place.world.nowMs
    const plane = this.#planeInbox
    this.#planeInbox = []
    for (const run of plane) run()
    const { world } = this.#place
    // Timers may fire before or after what has arrived is read.
    if (world.chance(0.5)) this.#step({ on: 'tick' })
    const inbox = this.#inbox
    this.#inbox = []
    for (const run of inbox) run()
    this.#step({ on: 'tick' })
  }

  tell(event: HealthNodeEvent): void {
    this.#arrive(() => this.#step(event))
  }

  /** The shell tells a table that begins what is true of this node. */
  tellEndpoints(): void {
    this.tell({ on: 'endpoints', endpoints: this.#endpoints() })
  }

  #endpoints(): Endpoint[] {
    const all = [...this.truth.listening.values()]
    return this.#bug === 'freezes-failing' ? all.map(each => ({ ...each, whenFailing: 'inactive' })) : all
  }

  /** Says again what it once heard of others, as if it led them. */
  replay(to: string): void {
    if (!this.isUp || this.#heard.length === 0) return
    const { world, links } = this.#place
    const entries = [world.pick(this.#heard)]
    links.send(this.name, to, { type: 'heartbeat', leader: 1 + world.integer(9), entries, gone: [] })
  }

  #arrive(run: () => void): void {
    if (this.isFrozen) this.#inbox.push(run)
    else if (this.isUp) run()
  }

  #linkChanged(peer: string, up: boolean): void {
    if (up) this.linked.add(peer)
    else this.linked.delete(peer)
    this.#step({ on: 'link', peer, up })
  }

  #receive(from: string, message: HealthMessage): void {
    const { world } = this.#place
    if (message.type === 'heartbeat') {
      for (const entry of message.entries) {
        if (this.#heard.length < 100) this.#heard.push(entry)
        else this.#heard[world.integer(100)] = entry
        if (this.#bug === 'old-beats-renew') this.#renewAnyway(entry)
      }
    }
    const changed = bugged(this.#bug, message, this.leads)
    if (changed !== null) this.#step({ on: 'message', from, message: changed })
    if (message.type === 'goodbye') this.#inPlane(10, () => this.goodbyes.set(from, world.nowMs))
  }

  #renewAnyway(entry: HeartbeatEntry): void {
    const host = this.core?.unit?.hosts().find(each => each.host === entry.host)
    const leaseMs = this.#options.beatMs * this.policy.leaseBeats
    if (host?.inForce != null) this.plane.lease(host.name, this.nowMs + leaseMs)
  }

  #step(event: HealthNodeEvent): void {
    if (this.core === null) return
    const { actions, wakeAtMs } = this.core.step(event, this.nowMs)
    for (const action of actions) this.#act(action)
    if (this.core.unit === null) this.plane.clear()
    this.#checkHosting()
    this.#wakeAt(wakeAtMs)
  }

  /** A table that has just begun knows nothing yet. */
  #checkHosting(): void {
    const host = this.core?.host ?? null
    if (host === this.#hosting) return
    if (this.#hosting !== null) this.#unlistAll()
    this.#hosting = host
    if (host === null) return
    for (const [app, state] of this.truth.orders) this.#step({ on: 'order', app, state })
    this.#step({ on: 'endpoints', endpoints: this.#endpoints() })
    for (const [app, health] of this.truth.health) this.#step({ on: 'health', app, health })
  }

  #wakeAt(wakeAtMs: number): void {
    this.#cancelWake()
    this.#cancelWake = () => {}
    if (wakeAtMs === Number.POSITIVE_INFINITY) return
    const { world } = this.#place
    const isNow = wakeAtMs <= this.nowMs
    if (isNow && this.#spunMs === world.nowMs) this.#spins++
    else this.#spins = 0
    this.#spunMs = world.nowMs
    if (this.#spins > MAX_SPINS) throw new Error(`${this.name} asks to be woken at once, again and again`)
    const delayMs = (wakeAtMs - this.nowMs) / this.#rate
    this.#cancelWake = world.after(delayMs, () => this.#arrive(() => this.#step({ on: 'tick' })))
  }

  #act(action: HealthNodeAction): void {
    const { world, links } = this.#place
    if (action.do === 'send') {
      this.sends++
      const message = sent(this.#bug, action.message, this.leases.most)
      links.send(this.name, action.to, this.#options.encodes ? decodeHealth(encodeHealth(message)) : message)
    } else if (action.do === 'rows') this.#relist()
    else if (action.do === 'settled') this.#place.settled()
    else if (action.do === 'apply') {
      const { host, version, rows } = action
      const report = (): void => this.tell({ on: 'applied', host, version })
      if (this.#bug === 'right-before-applied') world.after(0, this.#ofThisLife(report))
      this.#inPlane(this.#place.applyMs(), () => {
        this.goodbyes.delete(host)
        this.plane.apply(host, version, rows)
        world.after(world.random() * 5, this.#ofThisLife(report))
      })
    } else if (action.do === 'lease') this.plane.lease(action.host, action.untilMs)
    else if (action.do === 'drop') {
      this.plane.endLease(action.host)
      this.#inPlane(world.random() * 5, () => this.plane.drop(action.host))
    }
  }

  /** Rows go there in order; a lease counts at once, for the core gives it to what is in force. */
  #inPlane(delayMs: number, run: () => void): void {
    const { world } = this.#place
    this.#planeAtMs = Math.max(this.#planeAtMs, world.nowMs + Math.ceil(delayMs))
    const later = this.#ofThisLife(() => {
      if (this.#frozen === 'all') this.#planeInbox.push(run)
      else if (this.core?.unit != null) run()
    })
    world.after(this.#planeAtMs - world.nowMs, later)
  }

  #ofThisLife(run: () => void): () => void {
    const life = this.#life
    return () => {
      if (life === this.#life && this.isUp) run()
    }
  }

  #relist(): void {
    const rows = this.core?.host?.rows() ?? []
    const now = new Map(rows.map(row => [appKey(row.app), row]))
    for (const key of this.table.keys()) if (!now.has(key)) this.lastListed.set(key, this.#place.world.nowMs)
    this.table = now
  }

  #unlistAll(): void {
    for (const key of this.table.keys()) this.lastListed.set(key, this.#place.world.nowMs)
    this.table = new Map()
  }
}
