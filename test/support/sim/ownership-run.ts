/**
 * Forwarders in virtual time that hold VIPs for one another: machines, their kernels with leased addresses, agents, links and probes. What
 * the network sees is who answers for a VIP, which the kernels decide; the agents only tell them.
 */

import { decodeOwnership, encodeOwnership } from '../../../src/ownership/codec.ts'
import type { Machine } from '../../../src/ownership/members.ts'
import { Ownership } from '../../../src/ownership/ownership.ts'
import {
  leaseMs as longLeaseMs,
  OWNERSHIP_TIMES,
  type OwnershipTimes,
} from '../../../src/ownership/settings.ts'
import type { Claim, OwnershipMessage } from '../../../src/ownership/types.ts'
import { Links } from './links.ts'
import { Network } from './network.ts'
import { World } from './world.ts'

/** Silence after which an agent's links are given up (src/gossip/liveness.ts). */
const LINK_SILENT_MS = 900
const STEP_MS = 20
const LATE_MS = 1_000

/** What goes wrong in a run on purpose: each must be found. */
export const BUGS = [
  /** The kernel of a forwarder that gives a VIP up goes on answering. */
  'holds-on',
  /** Whole tables of claims, which make up for lost messages, do not arrive. */
  'never-repairs',
  /** The kernel's leases have no end. */
  'kernel-keeps',
  /** They are as long for VIPs that the kernel does not go on with alone. */
  'kernel-keeps-brief',
  /** An agent's silence is taken for its machine's death. */
  'takes-at-silence',
  /** Forwarders read different generations out of one claim. */
  'reads-otherwise',
  /** Nobody is told of dead machines. */
  'forgets-dead',
  /** Who comes back takes at once. */
  'moves-at-once',
  /** That a VIP was moved by order is not passed on. */
  'forgets-order',
  /** An agent that stood still does not know it. */
  'sleeping-clock',
  /** Who was passed over for dead gives in, whoever says so. */
  'no-contest',
] as const
export type Bug = (typeof BUGS)[number]

export interface SimForwarder {
  readonly name: string
  readonly weight: number
  /** Its clock against the world's. */
  readonly rate: number
  offsetMs: number
  frozenAtMs: number
  up: boolean
  core: Ownership | null
  frozen: boolean
  /** What waits for a frozen agent. */
  readonly waiting: (() => void)[]
  /** VIPs that its kernel answers for, and until when (world time). */
  readonly kernel: Map<string, number>
  /** How much later than it should it will let go of what was leased last. */
  lateMs: number
  /** VIPs that its kernel takes new connections for without an agent. */
  alone: ReadonlySet<string>
  disk: Claim[]
  readonly machines: Map<string, Machine>
}

export interface OwnershipOptions {
  readonly weights: readonly number[]
  readonly vips: readonly string[]
  readonly times?: Partial<OwnershipTimes>
  /** How likely a kernel goes on with a VIP by itself; half of them do. */
  readonly alone?: number
  /** Of messages: a full queue. */
  loss?: number
  readonly bug?: Bug
}

export const SIM_TIMES: OwnershipTimes = { ...OWNERSHIP_TIMES, graceMs: 12_000, holdMs: 10_000 }

export class OwnershipRun {
  readonly world: World
  readonly network: Network<never>
  readonly links: Links<Uint8Array>
  readonly nodes = new Map<string, SimForwarder>()
  readonly times: OwnershipTimes
  readonly options: OwnershipOptions
  /** Times that a kernel began or ceased to answer for a VIP, by order of an agent. */
  moves = 0
  /** Links between agents, and pairs of machines, that are cut. */
  readonly cuts = new Set<string>()
  /** By VIP, since when two answer; and, of two whose agents can hear each other, since when they do. */
  readonly #both = new Map<string, number>()
  readonly #two = new Map<string, number>()
  /** The longest of those times. */
  longestBothMs = 0
  longestTwoMs = 0

  constructor(seed: number, options: OwnershipOptions) {
    this.world = new World(seed)
    this.options = options
    this.times = { ...SIM_TIMES, ...options.times }
    this.network = new Network<never>(this.world)
    const { network, world, cuts } = this
    this.links = new Links<Uint8Array>({
      world,
      reachable: (a, b) => network.reachable(a, b) && !cuts.has(pair(a, b)),
      delayMs: () => network.delayMs(),
      onChange: listener => network.onChange(listener),
    })
    network.onChange(() => this.#probe())
    options.weights.forEach((weight, i) => {
      const name = `f${i + 1}`
      const node: SimForwarder = {
        ...{ name, weight, up: false, core: null, frozen: false, disk: [] },
        rate: 0.99 + world.random() * 0.02,
        ...{ offsetMs: world.integer(1e6), frozenAtMs: 0, lateMs: 0 },
        ...{ waiting: [], kernel: new Map(), machines: new Map() },
        alone: new Set(options.vips.filter(() => world.chance(options.alone ?? 0.5))),
      }
      this.nodes.set(name, node)
    })
    this.#everyStep()
  }

  node(name: string): SimForwarder {
    return this.nodes.get(name)!
  }

  clock(node: SimForwarder): number {
    return (this.world.nowMs - 1_700_000_000_000) * node.rate + node.offsetMs
  }

  /** The machine with its agent. */
  boot(name: string): void {
    const node = this.node(name)
    node.up = true
    this.network.attach(name, () => {})
    this.startAgent(name)
  }

  startAgent(name: string): void {
    const node = this.node(name)
    node.waiting.length = 0
    node.frozen = false
    const { bug } = this.options
    const times = {
      ...this.times,
      ...(bug === 'takes-at-silence' && { graceMs: 100 }),
      ...(bug === 'moves-at-once' && { holdMs: 0 }),
    }
    const core = new Ownership(name, times, this.#port(node), this.clock(node))
    node.core = core
    const names = [...this.nodes.keys()]
    core.configure(
      { forwarders: names, vips: this.options.vips, weight: node.weight, times },
      this.clock(node),
    )
    core.adopt(
      node.disk,
      new Map([...node.kernel.keys()].map((vip): [string, number] => [vip, this.#lastsMs(node, vip)])),
      this.clock(node),
    )
    for (const vip of [...node.kernel.keys()]) if (!core.held.has(vip)) node.kernel.delete(vip)
    core.seen(names.length, this.clock(node))
    for (const [peer, state] of node.machines) core.machine(peer, state, this.clock(node))
    this.#support(node)
    const hear = (what: (core: Ownership) => void): void => {
      const run = (): void => {
        if (node.core === core) what(core)
      }
      if (node.frozen) node.waiting.push(run)
      else run()
    }
    // The packet path says so a little later.
    this.world.after(this.world.integer(200), () => hear(c => c.goesOnAlone(node.alone, this.clock(node))))
    this.links.attach(name, {
      wants: () => node.core === core && !node.frozen,
      up: peer => hear(c => c.link(peer, true, this.clock(node))),
      down: peer => hear(c => c.link(peer, false, this.clock(node))),
      receive: (peer, bytes) =>
        hear(c => c.receive(peer, this.#tamper(decodeOwnership(bytes)), this.clock(node))),
    })
  }

  /** Another data plane, other roles, other services. */
  changeAlone(name: string, vips: ReadonlySet<string>): void {
    const node = this.node(name)
    node.alone = vips
    if (node.core !== null && !node.frozen) node.core.goesOnAlone(vips, this.clock(node))
  }

  /** kill -9: its kernel goes on. */
  killAgent(name: string): void {
    this.node(name).core = null
    this.links.detach(name)
  }

  /** The whole machine, without a word. */
  crash(name: string): void {
    const node = this.node(name)
    node.up = false
    node.kernel.clear()
    node.machines.clear()
    this.killAgent(name)
    this.network.detach(name)
  }

  freeze(name: string): void {
    const node = this.node(name)
    node.frozen = true
    node.frozenAtMs = this.clock(node)
    // Its links stay until they have been silent for long enough.
    this.world.after(LINK_SILENT_MS, () => node.frozen && this.links.check())
  }

  thaw(name: string): void {
    const node = this.node(name)
    node.frozen = false
    // Timers before what waits in sockets, as in an event loop.
    if (this.options.bug === 'sleeping-clock') {
      node.offsetMs -= this.clock(node) - node.frozenAtMs
      this.#lease(node, [...(node.core?.held ?? [])], longLeaseMs(this.times))
    }
    node.core?.tick(this.clock(node))
    for (const run of node.waiting.splice(0)) run()
    this.network.changed()
  }

  /** A clean end: others take first. */
  leave(name: string): void {
    const node = this.node(name)
    const { core } = node
    if (core === null) return
    core.leave(this.clock(node))
    for (let i = 0; i < 100 && !core.hasLeft(this.clock(node)); i++) this.world.run(50)
    core.giveUp()
    node.core = null
    this.world.run(20)
    this.links.detach(name)
    node.kernel.clear()
    node.up = false
    node.machines.clear()
    this.network.detach(name)
  }

  cut(a: string, b: string): void {
    this.cuts.add(pair(a, b))
    this.network.changed()
  }

  mend(): void {
    this.cuts.clear()
    this.network.heal()
  }

  /** Probes of one machine that are lost, at one other. */
  misjudge(at: string, whom: string, forMs: number): void {
    this.#judge(this.node(at), whom, 'dead')
    this.world.after(forMs, () => {
      if (this.#machinesReach(at, whom)) this.#judge(this.node(at), whom, 'alive')
    })
  }

  /** Whose kernels answer for the VIP. */
  holders(vip: string): string[] {
    const names: string[] = []
    for (const { name, up, kernel } of this.nodes.values())
      if (up && (kernel.get(vip) ?? 0) > this.world.nowMs) names.push(name)
    return names
  }

  up(): SimForwarder[] {
    return [...this.nodes.values()].filter(({ up }) => up)
  }

  #port(node: SimForwarder) {
    const { world, options, links } = this
    const isLive = (): boolean => node.core === null || node.up
    return {
      send: (to: string, message: OwnershipMessage): void => {
        if (!isLive() || world.chance(options.loss ?? 0)) return
        if (options.bug === 'never-repairs' && message.type === 'claims' && message.claims.length > 1) return
        links.send(node.name, to, encodeOwnership(message))
      },
      hold: ({ vip }: Claim, leaseMs: number): void => {
        if (!node.kernel.has(vip)) this.moves++
        this.#lease(node, [vip], leaseMs)
      },
      release: (vip: string): void => {
        if (options.bug === 'holds-on') return
        if (node.kernel.delete(vip)) this.moves++
      },
      renew: (vips: readonly string[], leaseMs: number): void => this.#lease(node, vips, leaseMs),
      changed: (): void => {
        node.disk = node.core?.claims() ?? node.disk
      },
    }
  }

  /** As the kernel tells it. */
  #lastsMs({ kernel, rate, lateMs }: SimForwarder, vip: string): number {
    return ((kernel.get(vip) ?? 0) - this.world.nowMs) * rate - lateMs
  }

  #lease(node: SimForwarder, vips: readonly string[], leaseMs: number): void {
    const { world, options } = this
    // Whole seconds, and the kernel looks when it likes.
    const told = options.bug === 'kernel-keeps-brief' ? longLeaseMs(this.times) : leaseMs
    node.lateMs = world.integer(LATE_MS)
    const ms = (Math.ceil(told / 1000) * 1000 + node.lateMs) / node.rate
    for (const vip of vips)
      node.kernel.set(vip, options.bug === 'kernel-keeps' ? Number.POSITIVE_INFINITY : world.nowMs + ms)
  }

  #tamper(message: OwnershipMessage): OwnershipMessage {
    const { bug } = this.options
    if (message.type === 'standing') return message
    if (message.type === 'take') return bug === 'forgets-order' ? { ...message, ordered: false } : message
    const { claims } = message
    if (bug === 'reads-otherwise')
      return {
        ...message,
        claims: claims.map(claim => ({ ...claim, generation: claim.generation + this.world.integer(3) })),
      }
    return bug === 'no-contest'
      ? { ...message, claims: claims.map(claim => ({ ...claim, death: false })) }
      : message
  }

  /** Timers of all agents, and the kernels'. */
  #everyStep(): void {
    this.world.after(STEP_MS, () => {
      for (const node of this.nodes.values()) {
        for (const [vip, untilMs] of node.kernel) if (untilMs <= this.world.nowMs) node.kernel.delete(vip)
        if (node.core === null || node.frozen) continue
        if (node.core.wakeAtMs <= this.clock(node)) node.core.tick(this.clock(node))
      }
      this.#watch()
      this.#everyStep()
    })
  }

  #machinesReach(a: string, b: string): boolean {
    return this.network.reachable(a, b) && !this.cuts.has(pair(a, b))
  }

  #probe(): void {
    for (const { name: at } of this.up())
      for (const whom of this.nodes.keys()) {
        if (whom === at) continue
        const reaches = this.#machinesReach(at, whom)
        const delayMs = reaches ? 80 + this.world.integer(160) : 240 + this.world.integer(100)
        this.world.after(delayMs, () => {
          if (!this.node(at).up || this.#machinesReach(at, whom) !== reaches) return
          // One that was never seen stays unknown.
          if (reaches || this.node(at).machines.has(whom))
            this.#judge(this.node(at), whom, reaches ? 'alive' : 'dead')
        })
      }
  }

  #judge(node: SimForwarder, whom: string, state: Machine): void {
    if (node.machines.get(whom) === state) return
    const told = this.options.bug === 'forgets-dead' && state === 'dead' ? 'alive' : state
    node.machines.set(whom, state)
    const { core } = node
    if (core === null) return
    const run = (): void => {
      if (node.core !== core) return
      core.machine(whom, told, this.clock(node))
      this.#support(node)
    }
    if (node.frozen) node.waiting.push(run)
    else run()
  }

  #support(node: SimForwarder): void {
    const count = 1 + [...node.machines.values()].filter(state => state === 'alive').length
    node.core?.seen(count, this.clock(node))
  }

  #watch(): void {
    const { nowMs } = this.world
    const lasting = (since: Map<string, number>, vip: string, is: boolean): number => {
      if (!is) since.delete(vip)
      else if (!since.has(vip)) since.set(vip, nowMs)
      return nowMs - (since.get(vip) ?? nowMs)
    }
    for (const vip of this.options.vips) {
      const holders = this.holders(vip)
      if (holders.length < 2 && !this.#both.has(vip)) continue
      const hear = holders.some((a, i) =>
        holders.slice(i + 1).some(b => this.links.isUp(a, b) && !this.node(a).frozen && !this.node(b).frozen),
      )
      this.longestBothMs = Math.max(this.longestBothMs, lasting(this.#both, vip, holders.length > 1))
      this.longestTwoMs = Math.max(this.longestTwoMs, lasting(this.#two, vip, hear))
    }
  }
}

const pair = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`)
