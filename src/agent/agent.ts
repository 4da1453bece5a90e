import type { Logger } from 'pino'
import { isManaged } from '../config/compose.ts'
import type { NodeConfig, NodeFile } from '../config/schema.ts'
import { startControlServer } from '../control/server.ts'
import { errorText, ShuntError } from '../errors.ts'
import { createPeerLinks } from '../gossip/links.ts'
import type { PeerLinks } from '../gossip/links-api.ts'
import { createLogger } from '../log.ts'
import { releaseStartupPages } from '../os/memory.ts'
import { adoptedText } from './adopted-text.ts'
import { type AppServer, startAppServer } from './app-socket.ts'
import { ClusterApi } from './cluster/api.ts'
import { type Course, managedCourse, staticCourse } from './cluster/course.ts'
import { Follower } from './cluster/follower.ts'
import { joinCluster, type ManagedSide } from './cluster/managed-side.ts'
import { DamSide } from './dam/dam-side.ts'
import { EventLog } from './events.ts'
import { HealthSide } from './health/health-side.ts'
import { Machines } from './machines.ts'
import { OwnersSide } from './owners/owners-side.ts'
import { OwnershipSide } from './ownership/ownership-side.ts'
import { PacketSide } from './packet-side.ts'
import { peerEvents } from './peer-events.ts'
import { serveRemote } from './remote.ts'
import { lockState } from './state-lock.ts'
import { TrafficMeter } from './traffic-meter.ts'
import { type AgentState, View } from './view.ts'

/** After the start, when the code that only starting needs will not be needed again soon. */
const SETTLED_MS = 3000
const DRAIN_POLL_MS = 100
/** Two heartbeats: what peers sent before they heard of the drain has arrived by then. */
const DRAIN_SETTLE_MS = 500
/** For what is left to hand over to other members when the drain has taken all of its time, and before a node signs itself out. */
const HAND_OVER_MS = 1_000

/**
 * Runs an agent until SIGTERM or SIGINT, which end it after what is in flight has ended, at most `timeouts.drain`
 * later; a second signal ends it at once. SIGUSR2 ends it at once too and leaves what the kernel does to the next agent (R-G4). Throws before it takes any traffic when something is missing.
 */
export const runAgent = async (file: NodeFile): Promise<void> => {
  const log = createLogger(file.node.name, file.log.level)
  const agent = new Agent(file, log)
  const ended = new Promise<void>((resolve, reject) => {
    let signals = 0
    const onSignal = (signal: string): void => {
      signals++
      log.info({ signal }, signals === 1 ? 'stopping' : 'stopping at once')
      agent.stop(signals > 1).then(resolve, reject)
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
    process.on('SIGUSR2', () => {
      log.info('ending; the kernel goes on, for the next agent')
      agent.handOver().then(resolve, reject)
    })
    agent.onFailure = reject
    agent.onLeft = () => agent.stop(false).then(resolve, reject)
  })
  // A failure while starting is start()'s to report.
  ended.catch(() => {})
  try {
    await agent.start()
  } catch (error) {
    await agent.stop(true)
    throw error
  }
  await ended
}

/** One node's parts in the order in which they start; `stop` undoes them in reverse. */
class Agent {
  onFailure: (error: Error) => void = () => {}
  /** This node has signed itself out. */
  onLeft: () => void = () => {}
  readonly #file: NodeFile
  readonly #log: Logger
  readonly #events = new EventLog(undefined, Date.now)
  #state: AgentState = 'starting'
  #side: ManagedSide | null = null
  #packets: PacketSide | null = null
  #links: PeerLinks | null = null
  #machines: Machines | null = null
  #health: HealthSide | null = null
  #vips: OwnershipSide | null = null
  #owners: OwnersSide | null = null
  #dam: DamSide | null = null
  #control: { close(): Promise<void> } | null = null
  #app: AppServer | null = null
  #traffic: TrafficMeter | null = null
  #follower: Follower | null = null
  #settled: NodeJS.Timeout | null = null
  #stopping: Promise<void> | null = null
  #hurry = false
  /** What the kernel does goes on without this agent. */
  #keep = false
  #leaving = false
  #unlock: (() => void) | null = null

  constructor(file: NodeFile, log: Logger) {
    this.#file = file
    this.#log = log
  }

  async start(): Promise<void> {
    const file = this.#file
    if (process.geteuid?.() !== 0) {
      throw new ShuntError(
        'SHUNT_ERR_CAPABILITY',
        'an agent needs root (CAP_NET_ADMIN, CAP_NET_RAW); run it as root or by the systemd unit',
      )
    }
    // Before anything is read that a running agent may be changing, or changed that it goes by.
    this.#unlock = await lockState(file.node.stateDir)
    const side = isManaged(file) ? joinCluster(file, this.#log, this.#events) : null
    this.#side = side
    const course = side === null ? staticCourse(file as NodeConfig) : managedCourse(side.managed.situation)
    const packets = new PacketSide(course, this.#log, {
      nodes: states => {
        this.#machines?.update(states)
        this.#vips?.machinesChanged()
      },
      aloneChanged: () => this.#vips?.aloneChanged(),
      wanted: service => this.#health?.wanted(service),
      atoms: words => this.#dam?.atoms(words),
      atomsLost: () => this.#dam?.atomsLost(),
      resolve: words => this.#dam?.resolve(words),
      verify: words => this.#dam?.verify(words),
      failed: message =>
        this.onFailure(new ShuntError('SHUNT_ERR_DATAPLANE', `the data plane worker failed: ${message}`)),
    })
    this.#packets = packets
    // Until it runs, a failure must not take away what an agent before left at work.
    this.#keep = packets.inherits
    const links = this.#makeLinks(course, packets.epoch)
    this.#links = links
    this.#machines = new Machines(
      this.#events,
      dead => {
        packets.machinesDead(dead)
        this.#health?.peersChanged()
        this.#dam?.peersChanged()
      },
      name => links.reachable(name),
    )
    await packets.start(links)
    const health = new HealthSide(course, {
      links,
      events: this.#events,
      log: this.#log.child({ role: 'health' }),
      isDead: name => this.#machines?.of(name).state === 'dead',
      allot: (allotments, complete) => packets.allot(allotments, complete),
      leases: leases => packets.leases(leases),
      orders: name => side?.managed.view.members.find(member => member.name === name)?.directives ?? [],
    })
    this.#health = health
    const vips = new OwnershipSide(course.config, {
      links,
      machine: name => this.#machines!.of(name),
      events: this.#events,
      log: this.#log.child({ role: 'vips' }),
      alone: () => packets.dataplane.alone,
    })
    this.#vips = vips
    const owners = new OwnersSide({
      ...{ links, packets, health },
      machine: name => this.#machines?.of(name).state ?? 'unknown',
    })
    this.#owners = owners
    const dam = new DamSide(course, {
      links,
      worker: packets.dataplane,
      log: this.#log.child({ role: 'atoms' }),
      owners: owners.questions,
      isDead: name => this.#machines?.of(name).state === 'dead',
      directory: () => packets.directory,
    })
    this.#dam = dam
    side?.managed.attach(links)
    if (side !== null) {
      const follower = new Follower({
        course: () => managedCourse(side.managed.situation),
        first: course,
        links,
        packets,
        machines: this.#machines,
        ledger: side.managed.ledger,
        health,
        vips,
        owners,
        dam,
        events: this.#events,
        log: this.#log,
      })
      side.managed.onSituation(() => {
        if (this.#stopping !== null) return
        const why = side.managed.expelled()
        if (why === undefined) void follower.follow()
        else if (!this.#leaving) this.#expelled(why)
      })
      this.#follower = follower
    }
    health.start()
    vips.start()
    dam.start()
    await links.start()
    await this.#serve(links, packets, health, vips, dam, owners)
    this.#settled = setTimeout(
      () => this.#log.debug({ bytes: releaseStartupPages() }, 'start-up pages released'),
      SETTLED_MS,
    )
    this.#settled.unref()
    this.#state = 'running'
    this.#keep = false
    const { roles, services, peers } = course.config
    this.#events.add(
      'agent.started',
      'info',
      file.node.name,
      `the agent started, roles ${roles.join(', ') || 'none'}`,
    )
    if (packets.adopted !== null) {
      this.#events.add('agent.adopted', 'info', file.node.name, adoptedText(packets.adopted))
      this.#log.info(packets.adopted, 'went on with what an agent before left')
    }
    this.#log.info(
      {
        roles,
        epoch: packets.epoch,
        services: services.length,
        peers: peers.length,
        revision: course.revision,
      },
      'agent running',
    )
  }

  #makeLinks({ config, networkKeys }: Course, epoch: number): PeerLinks {
    const side = this.#side
    const links = createPeerLinks({
      name: config.node.name,
      identityFile: config.node.identityFile,
      networkKeys,
      listen: { address: config.addresses.cluster, port: config.cluster.controlPort },
      roles: config.roles,
      epoch,
      peers: config.peers,
      log: this.#log,
      checkRoles: side === null,
      ...(side === null ? {} : { joins: side.joins, topic: side.topic }),
    })
    links.onChange(peerEvents(this.#events))
    return links
  }

  async #serve(
    links: PeerLinks,
    packets: PacketSide,
    health: HealthSide,
    vips: OwnershipSide,
    dam: DamSide,
    owners: OwnersSide,
  ): Promise<void> {
    const { node } = this.#file
    const cluster = new ClusterApi({
      config: () => packets.config,
      revision: () => packets.revision,
      draining: () => this.#state === 'draining',
      machine: name => this.#machines!.of(name),
      vipsOf: name => vips.heldBy(name),
      links,
      managed: this.#side?.managed ?? null,
      registerToken: registration => this.#side?.registerToken(registration),
      leave: () => this.#leave(),
    })
    const traffic = new TrafficMeter(packets, this.#log)
    this.#traffic = traffic
    traffic.start()
    const view = new View({
      packets,
      links,
      cluster,
      events: this.#events,
      health,
      vips,
      dam,
      traffic,
      owners,
      state: () => this.#state,
    })
    serveRemote(links, view, node.name, this.#log)
    this.#control = await startControlServer({
      socketPath: node.controlSocket,
      view,
      node: node.name,
      log: this.#log,
    })
    this.#app = await startAppServer({
      socketPath: node.appSocket,
      node: node.name,
      services: () => packets.config.services,
      report: (service, said, pid) => health.report(service, said, pid),
      log: this.#log,
    })
  }

  #expelled(why: string): void {
    this.#log.fatal(why)
    this.onFailure(new ShuntError('SHUNT_ERR_STATE', why))
    void this.stop(true)
  }

  async #leave(): Promise<void> {
    this.#leaving = true
    try {
      // Once the others have heard of it they close their links.
      await this.#dam?.leave(HAND_OVER_MS, () => this.#hurry)
      this.#side?.leave()
    } finally {
      // Also when it could not be saved: the others take this node for gone. The answer gets out first, and word of it to the peers.
      this.#leaving = this.#side?.managed.expelled() !== undefined
      if (this.#leaving) setTimeout(() => this.onLeft(), DRAIN_SETTLE_MS)
    }
  }

  /** Ends without a drain, and without a word to peers that would make them give its connections up. */
  handOver(): Promise<void> {
    if (this.#stopping === null) this.#keep = true
    return this.stop(true)
  }

  /** @param hurry waits for nothing */
  stop(hurry: boolean): Promise<void> {
    if (hurry) this.#hurry = true
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const wasRunning = this.#state === 'running'
    this.#state = 'draining'
    this.#packets?.pause()
    this.#traffic?.stop()
    this.#follower?.stop()
    if (this.#settled !== null) clearTimeout(this.#settled)
    if (wasRunning && !this.#keep) {
      this.#events.add('agent.stopping', 'info', this.#file.node.name, 'the agent drains and stops')
      this.#links?.setDraining(true)
      this.#health?.stopping()
      await this.#vips?.leave()
      await this.#drainAndHandOver()
      this.#health?.stop('stopping')
      await this.#links?.goodbye('stopping')
    }
    for (const [part, close] of [
      ['control', () => this.#control?.close()],
      ['applications', () => this.#app?.close()],
      ['atoms', () => this.#dam?.stop()],
      ['health', () => this.#health?.stop(this.#keep ? null : 'stopping')],
      ['virtual IPs', () => this.#vips?.stop(this.#keep)],
      ['owners', () => this.#owners?.stop()],
      ['packets', () => this.#packets?.stop(this.#keep)],
      ['cluster', () => this.#side?.stop()],
      ['links', () => this.#links?.stop()],
      ['kernel', () => (this.#keep ? undefined : this.#packets?.undo())],
      ['lock', () => this.#unlock?.()],
    ] as const) {
      try {
        await close()
      } catch (error) {
        this.#log.error({ part, error: errorText(error) }, 'part did not stop cleanly')
      }
    }
    this.#log.info('agent stopped')
  }

  async #drainAndHandOver(): Promise<void> {
    const boundMs = this.#packets?.config.timeouts.drain ?? 0
    const untilMs = performance.now() + boundMs
    await this.#drain()
    const leftMs = Math.max(untilMs - performance.now(), Math.min(boundMs, HAND_OVER_MS))
    await this.#dam?.leave(leftMs, () => this.#hurry)
  }

  /** Waits until no established flow passes through this node (peers stop choosing it meanwhile), within the bound. */
  async #drain(): Promise<void> {
    const boundMs = this.#packets?.config.timeouts.drain ?? 0
    const startMs = performance.now()
    const settledMs = startMs + Math.min(DRAIN_SETTLE_MS, boundMs)
    while (!this.#hurry && performance.now() < startMs + boundMs) {
      const active = (await this.#packets?.dataplane.status().catch(() => null))?.counters.active_flows ?? 0
      const settled = this.#health?.isSettled ?? true
      if (active === 0 && settled && performance.now() >= settledMs) return
      await new Promise(resolve => setTimeout(resolve, DRAIN_POLL_MS))
    }
  }
}
