/** The packet side of an agent: kernel setup, data plane worker, and what passes between it and the links. Follows the course. */
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { NodeConfig } from '../config/schema.ts'
import { errorText } from '../errors.ts'
import type { PeerLinks } from '../gossip/links-api.ts'
import type { Allotment } from '../health/allotment/handler.ts'
import type { NodeState } from '../health/node-probe.ts'
import { addresses } from '../os/netlink/addresses.ts'
import { allotmentUpdate, leasesOf } from './classify/update.ts'
import type { Course } from './cluster/course.ts'
import { Dataplane } from './dataplane/dataplane.ts'
import type { Directory } from './dataplane/directory.ts'
import type { Adopted } from './dataplane/lasting-plan.ts'
import type { DataplanePlan, XdpState } from './dataplane/messages.ts'
import { absentEndpoints, Endpoints } from './endpoints.ts'
import { nextEpoch, saveEpoch } from './epoch.ts'
import { vipsInUse } from './held-vips.ts'
import { KernelSetup } from './kernel-setup.ts'
import { LastingState } from './lasting-state.ts'
import { buildDirectory, buildPlan, ipv4Of, TUN_NAME } from './plan.ts'
import { RoutesExchange } from './routes-exchange.ts'
import { chooseXdp, markText, type XdpChoice, xdpPlan } from './xdp-choice.ts'

const REFRESH_MS = 5000

export interface PacketSideEvents {
  nodes(states: readonly NodeState[]): void
  /** The classifier has used up what it had of this service. */
  wanted(service: string): void
  /** `Dataplane.alone` has changed. */
  aloneChanged(): void
  failed(message: string): void
  /** Of routes, and of flows that no route is known of (messages.ts): words for the atom manager. */
  atoms(words: Uint32Array): void
  atomsLost(): void
  resolve(words: Uint32Array): void
  verify(words: Uint32Array): void
}

export class PacketSide {
  readonly #log: Logger
  readonly #events: PacketSideEvents
  readonly #tableKey: readonly [number, number]
  readonly #kernel: KernelSetup
  readonly #endpoints = new Endpoints()
  #absent: readonly string[] = []
  readonly #xdp: XdpChoice | null
  /** Why the rules of nftables do it all. */
  #notXdp: string
  readonly #state: LastingState
  #course: Course
  #revision: number
  #directory: Directory
  #epoch = 0
  #dataplane: Dataplane | null = null
  #exchange: RoutesExchange | null = null
  #refresh: NodeJS.Timeout | null = null
  /** VIPs of services that no longer choose this host, which its running connections still need. */
  #kept: ReadonlySet<string> = new Set()
  /** Some service is delivered by full encapsulation, or was: its connections have no mappings. */
  #encapsulated = false
  /** End of the change that was asked for last: changes come one after another. */
  #turn: Promise<unknown> = Promise.resolve()

  /** Checks the machine; changes nothing yet. */
  constructor(course: Course, log: Logger, events: PacketSideEvents) {
    this.#log = log
    this.#events = events
    const seed = randomBytes(8)
    this.#tableKey = [seed.readUInt32LE(0), seed.readUInt32LE(4)]
    this.#course = course
    this.#revision = course.revision
    const state = new LastingState(course.config)
    this.#state = state
    this.#directory = buildDirectory(course.config, state.directory, course.leaving)
    const { choice, reason } = chooseXdp(course.config, state.mark)
    this.#xdp = choice
    this.#notXdp = reason
    this.#kernel = new KernelSetup(course.config, this.#directory, choice?.mark)
    for (const warning of this.#kernel.check()) log.warn(warning)
    if (course.config.roles.includes('forwarder')) this.#takeEpoch(course.config)
  }

  get epoch(): number {
    return this.#epoch
  }
  /** An agent before left something at work here: a start that fails leaves that as it is. */
  get inherits(): boolean {
    return this.#state.inherits
  }
  /** What was taken over of it; null: nothing. */
  get adopted(): Adopted | null {
    return this.#dataplane?.adopted ?? null
  }
  get directory(): Directory {
    return this.#directory
  }
  get config(): NodeConfig {
    return this.#course.config
  }
  /** Of the document in force. */
  get revision(): number {
    return this.#revision
  }
  get dataplane(): Dataplane {
    return this.#dataplane!
  }

  /** Everything up to the first packet; the links are not started yet. */
  async start(links: PeerLinks): Promise<void> {
    this.#state.begin(this.#xdp !== null)
    this.#save(this.config, this.#directory)
    await this.#kernel.apply()
    await this.#state.renamed()
    const exchange = new RoutesExchange({
      links,
      directory: this.#directory,
      config: this.config,
      log: this.#log,
    })
    this.#exchange = exchange
    const dataplane = await Dataplane.start(this.#plan(this.#course, this.#directory), {
      plumb: (forwarder, words) => exchange.plumb(forwarder, words),
      ended: words => exchange.ended(words),
      epoch: now => {
        this.#log.warn({ epoch: now }, 'a host knew a later epoch of this tunnel address; went past it')
        saveEpoch(this.config.node.stateDir, now)
      },
      atoms: words => this.#events.atoms(words),
      atomsLost: () => this.#events.atomsLost(),
      resolve: words => this.#events.resolve(words),
      verify: words => this.#events.verify(words),
      nodes: states => this.#events.nodes(states),
      aloneChanged: () => this.#events.aloneChanged(),
      allotmentsWanted: services => {
        for (const service of this.#directory.services)
          if (services.includes(service.index)) this.#events.wanted(service.name)
      },
      failed: message => {
        this.#log.fatal({ message }, 'data plane worker failed')
        this.#events.failed(message)
      },
    })
    this.#dataplane = dataplane
    if (dataplane.epoch !== null && dataplane.epoch !== this.#epoch) this.#keepEpoch(dataplane.epoch)
    this.#sayDataplane(dataplane)
    if (this.config.roles.includes('host')) this.#kernel.tunReady(TUN_NAME)
    this.#endpoints.follow(this.config, TUN_NAME)
    this.#sayAbsent()
    exchange.attach(dataplane)
    this.#probe()
    this.#refresh = setInterval(() => void this.#inTurn(() => this.#keepUp()), REFRESH_MS)
  }

  #sayDataplane({ xdp }: Dataplane): void {
    if (xdp.text === null) this.#notXdp ||= xdp.reasons.join('; ')
    const reason = xdp.text === null ? this.#notXdp : xdp.reasons.join('; ')
    const log = { dataplane: xdp.text ?? 'nftables', ...(reason === '' ? {} : { reason }) }
    this.#log.info(log, 'data plane')
  }

  /** For people, of what the worker says now: `xdp native on eth0`, `nftables: REASON`. */
  dataplaneText({ text }: XdpState): string {
    if (text !== null) return text
    const encapsulates = this.config.services.some(({ delivery }) => delivery === 'encapsulate')
    const by = encapsulates ? 'nftables, full encapsulation by user space' : 'nftables'
    return this.#notXdp === '' ? by : `${by}: ${this.#notXdp}`
  }

  machinesDead(names: ReadonlySet<string>): void {
    this.#exchange?.machinesDead(names)
  }

  /** Allotments by service, in force when it resolves: no packet follows an earlier one then. */
  allot(allotments: ReadonlyMap<string, Allotment>, complete: boolean): Promise<void> {
    // Between two courses, so that indexes mean the same at both ends.
    return this.#inTurn(() => this.dataplane.allot(allotmentUpdate(this.#directory, allotments, complete)))
  }

  /** Until when new connections may go to each host (monotonic ms). */
  leases(untilMs: ReadonlyMap<string, number>): void {
    this.#dataplane?.lease(leasesOf(this.#directory, untilMs))
  }

  /**
   * Goes over to another course while traffic flows. Rejects with what the kernel or the data plane refuses; then the one
   * before is in force as far as the packets go, and this one can be tried again.
   */
  follow(course: Course): Promise<void> {
    return this.#inTurn(() => this.#follow(course))
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work)
    this.#turn = done.catch(() => {})
    return done
  }

  async #follow(course: Course): Promise<void> {
    const before = this.config.roles
    const held = this.#heldVips()
    const directory = buildDirectory(course.config, this.#directory, course.leaving)
    if (course.config.roles.includes('forwarder') && !before.includes('forwarder'))
      this.#takeEpoch(course.config)
    const kept = await this.#stillNeeded(held, course.config)
    this.#save(course.config, directory)
    await this.#kernel.reconfigure(course.config, directory, kept)
    await this.dataplane.reconfigure(this.#plan(course, directory))
    // Only what is in force is told to anybody, and is what the next change starts from.
    this.#course = course
    this.#directory = directory
    this.#kept = kept
    if (course.config.roles.includes('host') && !before.includes('host')) this.#kernel.tunReady(TUN_NAME)
    this.#exchange?.update(this.#directory, course.config.peers)
    this.#probe()
    this.#revision = course.revision
    this.#followEndpoints()
  }

  /** Tried again by #keepUp: connections to these services are refused meanwhile, all others go on. */
  #followEndpoints(): void {
    try {
      this.#endpoints.follow(this.config, TUN_NAME)
      this.#sayAbsent()
    } catch (error) {
      this.#log.error({ error: errorText(error) }, "connections cannot be given to services' endpoints")
    }
  }

  /** Each once, as long as it stays so. */
  #sayAbsent(): void {
    if (this.config.services.every(({ endpoint }) => endpoint === undefined)) return
    const absent = absentEndpoints(
      this.config,
      addresses().map(({ address }) => address),
    )
    for (const text of absent) if (!this.#absent.includes(text)) this.#log.warn(text)
    this.#absent = absent
  }

  /** Before anything goes by it. */
  #save(config: NodeConfig, directory: Directory): void {
    this.#state.save(config, directory, this.#xdp === null ? null : markText(this.#xdp.mark))
  }

  /** The one before goes on, since its flows do. */
  #keepEpoch(epoch: number): void {
    this.#epoch = epoch
    saveEpoch(this.config.node.stateDir, epoch)
  }

  #takeEpoch({ node }: NodeConfig): void {
    this.#epoch = nextEpoch(node.stateDir, Math.floor(Date.now() / 1000))
  }

  #plan({ config, secrets, choiceKey }: Course, directory: Directory): DataplanePlan {
    return buildPlan({
      config,
      directory,
      secrets,
      ...this.#kernel.links(),
      epoch: this.#epoch,
      tableKey: this.#tableKey,
      choiceKey,
      xdp: xdpPlan(this.#xdp, config),
      lasting: this.#state.plan,
      resolves: true,
    })
  }

  #probe(): void {
    const targets = this.config.peers.map(({ name, address }) => ({ name, ipv4: ipv4Of(address) }))
    this.#dataplane?.probe(targets)
  }

  #heldVips(): Set<string> {
    const { node, services } = this.config
    const own = services.filter(service => service.hosts.some(({ name }) => name === node.name))
    return new Set([...this.#kept, ...own.map(({ vip }) => vip)])
  }

  /** Of those, the ones with connections here, as long as some service has the address. */
  async #stillNeeded(held: ReadonlySet<string>, { services }: NodeConfig): Promise<Set<string>> {
    const served = new Set(services.map(({ vip }) => vip))
    const known = [...this.config.services, ...services]
    this.#encapsulated ||= known.some(({ delivery }) => delivery === 'encapsulate')
    const asked = new Set([...held].filter(vip => served.has(vip)))
    if (asked.size === 0) return asked
    const { hostVips } = await this.dataplane.status()
    return vipsInUse(asked, hostVips, this.#encapsulated, new Set(known.map(({ port }) => port)))
  }

  async #keepUp(): Promise<void> {
    this.#followEndpoints()
    try {
      if (await this.#kernel.refreshHops()) this.#log.info('next hops to hosts changed')
      if (this.#kept.size === 0) return
      const kept = await this.#stillNeeded(this.#kept, this.config)
      if (kept.size === this.#kept.size) return
      await this.#kernel.reconfigure(this.config, this.#directory, kept)
      this.#kept = kept
    } catch (error) {
      this.#log.error({ error: errorText(error) }, 'the kernel could not be brought up to date; trying again')
    }
  }

  pause(): void {
    if (this.#refresh !== null) clearInterval(this.#refresh)
    this.#refresh = null
  }

  /** Stops; `undo` comes after it, unless what the kernel does is to go on without this agent (`keep`). Each step is tried. */
  async stop(keep: boolean): Promise<void> {
    this.pause()
    this.#endpoints.close()
    try {
      await this.#dataplane?.stop(keep)
    } catch (error) {
      this.#log.error({ error: errorText(error) }, 'data plane did not stop cleanly')
    }
  }

  async undo(): Promise<void> {
    for (const error of await this.#kernel.undo())
      this.#log.error({ error: errorText(error) }, 'kernel state not restored')
    this.#state.remove()
  }
}
