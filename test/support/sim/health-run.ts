/**
 * A cluster of the cores of health and load in virtual time: so much trouble, then peace. Invariants (health-invariants.ts) hold at
 * random instants and whenever a host makes a directive current.
 */
import { appKey } from '../../../src/health/app-id.ts'
import type { AppId, DirectiveState, Health, HealthMessage } from '../../../src/health/types.ts'
import { HealthInvariants, SLOW_APPLY_MS } from './health-invariants.ts'
import type { HealthMember, HealthOptions, Place } from './health-place.ts'
import { anyPolicy, type HealthPolicy } from './health-policy.ts'
import { SimHealthNode } from './health-sim-node.ts'
import { Links } from './links.ts'
import { Network } from './network.ts'
import { World } from './world.ts'

const CHECK_MS = 60
/** Caches converge within this much peace. */
const PEACE_MS = 10_000
const STATES: readonly DirectiveState[] = ['active', 'draining', 'draining', 'inactive', 'inactive']
const HEALTHS: readonly Health[] = ['healthy', 'healthy', 'failing', 'unknown']

const appOf = (host: number, service: number): AppId => ({
  vip: `10.99.0.${1 + service}`,
  port: 80,
  physical: `10.10.0.${10 + host}`,
  physicalPort: 80,
  protocol: 'tcp',
  specific: '',
})

export interface RunOptions extends Partial<HealthOptions> {
  hosts?: number
  units?: number
}

export class HealthRun {
  readonly world: World
  readonly nodes = new Map<string, SimHealthNode>()
  readonly invariants: HealthInvariants
  readonly options: HealthOptions
  readonly links: Links<HealthMessage>
  members: HealthMember[] = []
  readonly #network: Network<unknown>
  readonly #hosts: SimHealthNode[] = []
  readonly #services: number
  /** Nodes learn of a change of the membership within so much. */
  readonly #membershipMs: number
  /** Of the newest document; null: that from the start. */
  #policy: HealthPolicy | null = null
  #isPeace = false
  #mustCheck = false

  constructor(seed: number, over: RunOptions = {}) {
    this.world = new World(seed, 1000)
    const { world } = this
    const maxDelayMs = 1 + world.integer(world.chance(0.2) ? 400 : 60)
    this.options = {
      bug: null,
      beatMs: 1000,
      ...anyPolicy(world),
      ageMs: 3000,
      retieMs: world.pick([5000, 300_000]),
      maxDelayMs,
      applyMs: 1 + world.integer(300),
      slowApplies: 0.06,
      drift: 0.0002,
      trustsLinks: world.chance(0.3),
      encodes: world.chance(0.1),
      isMixed: true,
      ...over,
    }
    this.#network = new Network<unknown>(world, { minDelayMs: 1, maxDelayMs, loss: 0, duplication: 0 })
    this.links = new Links(this.#network)
    const place: Place = {
      world,
      network: this.#network,
      links: this.links,
      options: this.options,
      applyMs: () =>
        world.chance(this.options.slowApplies) && !this.#isPeace
          ? SLOW_APPLY_MS * (0.6 + 0.4 * world.random())
          : this.options.applyMs * world.random(),
      settled: () => {
        this.#mustCheck = true
      },
    }
    this.invariants = new HealthInvariants(this)
    this.#membershipMs = world.pick([50, 300, 2000])
    this.#services = 1 + world.integer(2)
    const hosts = over.hosts ?? 1 + world.integer(5)
    const units = over.units ?? 1 + world.integer(3)
    // A node may be both.
    const shared = this.options.isMixed && world.chance(0.3) ? 1 : 0
    const count = Math.max(hosts, hosts + units - shared)
    for (let i = 0; i < count; i++) {
      const name = `n${i}`
      const isHost = i < hosts
      this.nodes.set(name, new SimHealthNode(name, place))
      this.members.push({ name, id: `id of ${name}`, host: isHost, unit: i >= count - units })
      if (isHost) this.#hosts.push(this.nodes.get(name)!)
    }
    for (const [i, host] of this.#hosts.entries())
      for (let service = 0; service < this.#services; service++)
        if (world.chance(0.8)) this.#listen(host, i, service)
    for (const node of this.nodes.values())
      world.after(world.integer(2000), () => node.isUp || this.#start(node))
    world.watch(() => {
      if (!this.#mustCheck) return
      this.#mustCheck = false
      this.invariants.counts.directives++
      this.invariants.checkChoices()
    })
    this.#checkLater()
  }

  /** So many things happen, then peace, then everything must be in order. */
  play(events: number): void {
    const { world } = this
    world.run(4000)
    for (let i = 0; i < events; i++) {
      world.after(0, () => this.#anything())
      world.run(world.integer(world.chance(0.4) ? 150 : 900))
    }
    this.rest()
  }

  rest(): void {
    const { world } = this
    world.after(0, () => this.#makePeace())
    world.run(PEACE_MS)
    // What is on its way at any one moment is no fault.
    for (let i = 0; i < 15 && this.invariants.unsettled() !== null; i++) world.run(100)
    const why = this.invariants.unsettled()
    if (why !== null) throw new Error(`after ${PEACE_MS} ms of peace: ${why}`)
  }

  /** Who leads the group of a host, as itself sees it. */
  leaders(): SimHealthNode[] {
    return [...this.nodes.values()].filter(node => node.leads)
  }

  #makePeace(): void {
    this.#isPeace = true
    for (const node of this.nodes.values()) {
      node.thaw()
      node.blocked.clear()
      if (!node.isUp && this.world.chance(0.6)) this.#start(node)
    }
    this.#network.heal()
    this.invariants.peace()
  }

  #checkLater(): void {
    const { world } = this
    world.after(1 + world.integer(2 * CHECK_MS), () => {
      this.invariants.checkChoices()
      this.invariants.checkState()
      this.#checkLater()
    })
  }

  #anything(): void {
    const { world } = this
    const dice = world.integer(100)
    if (dice < 55) return this.#application(dice)
    const up = [...this.nodes.values()].filter(node => node.isUp)
    if (dice < 66) return this.#breakPair(up)
    if (dice < 70) return this.#partition()
    if (dice < 76) return this.#crash(world.pick([...this.nodes.values()]))
    if (dice < 81) return this.leaders().length > 0 ? this.#crash(world.pick(this.leaders())) : undefined
    if (dice < 85) return this.#stop(world.pick([...this.nodes.values()]))
    if (dice < 91 && up.length > 0) return this.#freeze(world.pick(up))
    if (dice < 95) return this.options.isMixed ? this.#changeRoles() : undefined
    if (dice < 98) return this.changePolicy(anyPolicy(world))
    if (up.length > 0) this.#replay(world.pick(up), world.pick([...this.nodes.keys()]))
  }

  /** A peer that lies, or was frozen: for a while it says what it once heard. */
  #replay(node: SimHealthNode, to: string): void {
    for (let ms = 0; ms < 8000; ms += 250) this.world.after(ms, () => this.#isPeace || node.replay(to))
  }

  #application(dice: number): void {
    const { world } = this
    const i = world.integer(this.#hosts.length)
    const host = this.#hosts[i]!
    const service = world.integer(this.#services)
    const app = appKey(appOf(i, service))
    const { listening, health } = host.truth
    if (dice < 3) {
      const known = listening.get(app)
      if (known === undefined) return
      listening.set(app, { ...known, whenFailing: world.pick(['draining', 'inactive']) })
      host.tellEndpoints()
    } else if (dice < 12) {
      if (listening.delete(app)) health.delete(app)
      else this.#listen(host, i, service)
      host.tellEndpoints()
    } else if (dice < 24) {
      if (listening.has(app)) this.#often(() => this.#setHealth(host, app))
    } else if (dice < 32) {
      const percent = world.integer(world.chance(0.3) ? 255 : 90)
      for (let n = 0; n < 6; n++) world.after(n * 800, () => host.tell({ on: 'load', app, percent }))
    } else {
      const which = world.chance(0.2) ? '*' : app
      this.#often(() => this.#order(host, which))
    }
  }

  /** Once, or a few times while the first is still on its way. */
  #often(run: () => void): void {
    const { world } = this
    run()
    if (world.chance(0.7)) return
    for (let n = world.integer(3); n >= 0; n--) world.after(world.integer(600), () => this.#isPeace || run())
  }

  #setHealth(host: SimHealthNode, app: string): void {
    const health = this.world.pick(HEALTHS)
    // Meanwhile it may have ended: nobody says anything of it then.
    if (!host.truth.listening.has(app)) return
    host.truth.health.set(app, health)
    host.tell({ on: 'health', app, health })
  }

  #order(host: SimHealthNode, app: string): void {
    const { orders } = host.truth
    const state = orders.has(app) && this.world.chance(0.5) ? null : this.world.pick(STATES)
    if (state === null) orders.delete(app)
    else orders.set(app, state)
    host.tell({ on: 'order', app, state })
  }

  #listen(host: SimHealthNode, i: number, service: number): void {
    const app = appOf(i, service)
    const { world } = this
    const whenFailing = world.chance(0.3) ? 'inactive' : 'draining'
    host.truth.listening.set(appKey(app), { app, capacity: 1 + world.integer(99), whenFailing })
  }

  #breakPair(up: readonly SimHealthNode[]): void {
    const { world } = this
    if (up.length < 2) return
    const [a, b] = world.shuffled(up).slice(0, 2) as [SimHealthNode, SimHealthNode]
    if (world.chance(0.4)) return this.links.cut(a.name, b.name)
    a.blocked.add(b.name)
    this.links.check()
    world.after(world.integer(8000), () => {
      a.blocked.delete(b.name)
      this.links.check()
    })
    if (world.chance(0.3)) this.#stall(world.pick([a, b]), b)
  }

  /** A node stalls with what it was sent unread, and the link goes on to break. */
  #stall(node: SimHealthNode, peer: SimHealthNode): void {
    const { world } = this
    world.after(world.integer(9000), () => {
      if (this.#isPeace) return
      node.freeze('core', 500 + world.integer(5000))
      for (const name of this.links.peers(node.name)) this.links.cut(node.name, name)
      world.after(150 + world.integer(400), () => this.links.cut(node.name, peer.name))
    })
  }

  #partition(): void {
    const { world } = this
    const names = world.shuffled([...this.nodes.keys()])
    const at = 1 + world.integer(names.length)
    this.#network.partition(names.slice(0, at), names.slice(at))
    world.after(200 + world.integer(world.chance(0.5) ? 2000 : 7000), () => this.#network.heal())
  }

  #crash(node: SimHealthNode): void {
    const { world } = this
    if (node.isUp) node.crash()
    this.#startLater(node, world.integer(world.chance(0.5) ? 1000 : 8000))
  }

  #stop(node: SimHealthNode): void {
    node.stop(this.world.chance(0.4) ? 0 : this.world.integer(2500))
    if (this.world.chance(0.6)) this.#startLater(node, 2500 + this.world.integer(5000))
  }

  #startLater(node: SimHealthNode, delayMs: number): void {
    this.world.after(delayMs, () => node.isUp || this.#isPeace || this.#start(node))
  }

  #freeze(node: SimHealthNode): void {
    const { world } = this
    const forMs = 100 + world.integer(world.chance(0.6) ? 1500 : 9900)
    node.freeze(world.chance(0.5) ? 'core' : 'all', forMs)
    // Its peers may give it up meanwhile.
    if (world.chance(0.5))
      for (const peer of this.links.peers(node.name))
        world.after(world.integer(forMs), () => this.links.cut(node.name, peer))
  }

  /** A new revision of the document, of which nodes learn one after another. */
  changePolicy(policy: HealthPolicy): void {
    Object.assign(this.options, policy)
    this.#policy = policy
    for (const node of this.nodes.values()) this.#tellPolicy(node)
  }

  #tellPolicy(node: SimHealthNode): void {
    const { world } = this
    // A document only ever gets newer; one that comes in between may be missed.
    const policy = this.#policy
    world.after(world.integer(this.#membershipMs), () => {
      if (policy !== null && (this.#policy === policy || world.chance(0.5))) node.follow(this.#policy!)
    })
  }

  /** With the document that it had when it ended. */
  #start(node: SimHealthNode): void {
    node.start(this.members)
    this.#tellPolicy(node)
  }

  #changeRoles(): void {
    const { world } = this
    const i = world.integer(this.members.length)
    const member = this.members[i]!
    const isHost = this.#hosts.some(({ name }) => name === member.name)
    const changed =
      isHost && world.chance(0.5) ? { ...member, host: !member.host } : { ...member, unit: !member.unit }
    this.members = this.members.with(i, changed)
    const { members } = this
    // A membership only ever gets newer.
    for (const node of this.nodes.values())
      world.after(world.integer(this.#membershipMs), () => {
        if (this.members === members || world.chance(0.5)) node.tell({ on: 'members', members: this.members })
      })
  }
}
