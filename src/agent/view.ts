import { nanoid } from 'nanoid'
import type { NodeConfig } from '../config/schema.ts'
import type {
  AgentView,
  AppsData,
  AtomsData,
  ClusterData,
  ConfigData,
  ConfigHistoryData,
  DropsData,
  EventRow,
  EventsData,
  FailoverData,
  FlowsData,
  HealthData,
  HostsData,
  NodeState,
  NodesData,
  ShareRow,
  StatusData,
  SubmitData,
  TraceData,
  VipStatus,
  VipsData,
} from '../control/types.ts'
import { ShuntError } from '../errors.ts'
import type { PeerLinks } from '../gossip/links-api.ts'
import { readCounters } from '../os/netlink/nftables-counters.ts'
import { VERSION } from '../version.ts'
import { adoptedText } from './adopted-text.ts'
import { CaptureSession } from './capture-session.ts'
import type { ClusterApi } from './cluster/api.ts'
import type { DamSide } from './dam/dam-side.ts'
import type { Dataplane } from './dataplane/dataplane.ts'
import type { Directory } from './dataplane/directory.ts'
import { DROP, DROP_TEXT } from './dataplane/drops.ts'
import type { WorkerStatus } from './dataplane/messages.ts'
import { tableName } from './dataplane/nft/ruleset.ts'
import type { EventLog } from './events.ts'
import type { HealthSide } from './health/health-side.ts'
import { type KernelCounters, kernelCounters } from './kernel-counters.ts'
import type { OwnersSide } from './owners/owners-side.ts'
import type { OwnershipSide } from './ownership/ownership-side.ts'
import type { PacketSide } from './packet-side.ts'
import { sumOfRates } from './rates.ts'
import { askRemote } from './remote.ts'
import { traceHere } from './trace-here.ts'
import type { TrafficMeter } from './traffic-meter.ts'
import { scalingAdvice } from './usage.ts'
import { UseMeter } from './use-meter.ts'
import { classifiersThere, holding } from './vip-facts.ts'

/** Drops that nftables counts by itself, by our reason. */
const KERNEL_DROPS: Record<string, number> = {
  not_a_service: DROP.NOT_A_SERVICE,
  fragment_vip: DROP.FRAGMENT,
  fragment_tunnel: DROP.FRAGMENT,
  tunnel_protocol: DROP.UNSUPPORTED_PROTOCOL,
  half_restored: DROP.UNKNOWN_IDENTIFIER,
  icmp_limited: DROP.ICMP_RATE,
}

export type AgentState = StatusData['state']

/** What the control API shows of a running agent. */
export class View implements AgentView {
  readonly #packets: PacketSide
  readonly #captures: CaptureSession
  readonly #links: PeerLinks
  readonly #cluster: ClusterApi
  readonly #events: EventLog
  readonly #health: HealthSide
  readonly #vips: OwnershipSide
  readonly #dam: DamSide
  readonly #traffic: TrafficMeter
  readonly #owners: OwnersSide
  readonly #state: () => AgentState
  readonly #startedMs = performance.now()
  readonly #instance = nanoid()
  readonly #use = new UseMeter()

  constructor(parts: {
    packets: PacketSide
    links: PeerLinks
    cluster: ClusterApi
    events: EventLog
    health: HealthSide
    vips: OwnershipSide
    dam: DamSide
    traffic: TrafficMeter
    owners: OwnersSide
    state: () => AgentState
  }) {
    this.#packets = parts.packets
    this.#captures = new CaptureSession(parts.packets)
    this.#links = parts.links
    this.#cluster = parts.cluster
    this.#events = parts.events
    this.#health = parts.health
    this.#vips = parts.vips
    this.#dam = parts.dam
    this.#traffic = parts.traffic
    this.#owners = parts.owners
    this.#state = parts.state
  }

  // All of these change while the agent runs.
  get #config(): NodeConfig {
    return this.#packets.config
  }
  get #directory(): Directory {
    return this.#packets.directory
  }
  get #dataplane(): Dataplane {
    return this.#packets.dataplane
  }

  #kernelCounters(worker: WorkerStatus): KernelCounters {
    return kernelCounters(readCounters(tableName(this.#config.node.name)), worker.edge)
  }

  async status(): Promise<StatusData> {
    const worker = await this.#dataplane.status()
    const read = this.#kernelCounters(worker)
    const kernel = Object.fromEntries(
      Object.entries(read).map(([name, { packets }]) => [`kernel_${name}`, packets]),
    )
    const rssBytes = process.memoryUsage.rss()
    const { roles, node } = this.#config
    const use = this.#use.look(worker, read, this.#links.counters(), rssBytes, roles)
    const cpu = this.#health.apps?.sample?.server.cpuPercent ?? null
    const links = Object.fromEntries(
      Object.entries(this.#links.counters()).map(([name, value]) => [`link_${name}`, value]),
    )
    const limits = [...worker.limits, ...this.#dam.limits()]
    return {
      node: this.#config.node.name,
      version: VERSION,
      pid: process.pid,
      instance: this.#instance,
      roles: this.#config.roles,
      state: this.#state(),
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      dataplane: this.#packets.dataplaneText(worker.xdp),
      adopted: this.#packets.adopted === null ? null : adoptedText(this.#packets.adopted),
      epoch: worker.epoch,
      peers: this.#links.states().map(({ name, roles, address, state, lastHeardMs, rttMs }) => ({
        name,
        roles,
        address,
        state,
        lastHeardMs,
        rttMs,
      })),
      group: this.#health.group(),
      limits,
      rates: sumOfRates(this.#config.services.map(({ name }) => this.#traffic.ofService(name))),
      counters: {
        ...worker.counters,
        ...kernel,
        ...worker.edge?.counters,
        ...links,
        ...this.#cluster.counters(),
        ...this.#health.counted(),
        ...this.#vips.counters(),
        ...this.#owners.counted(),
        ...this.#dam.counted(),
      },
      memory: { rssBytes },
      functions: use,
      advice: scalingAdvice(node.name, cpu, use, limits),
    }
  }

  #stateOf(name: string): NodeState {
    if (name === this.#config.node.name) return 'alive'
    return this.#links.states().find(peer => peer.name === name)?.state ?? 'dead'
  }

  async hosts(): Promise<HostsData> {
    const worker = await this.#dataplane.status()
    const { services, peers, addresses, roles } = this.#config
    return {
      hosts: this.#directory.hosts.map(host => {
        const capacities = services.flatMap(service =>
          service.hosts
            .filter(member => member.name === host.name)
            .map(({ capacity }) => ({ service: service.name, capacity })),
        )
        return {
          name: host.name,
          address: peers.find(peer => peer.name === host.name)?.address ?? addresses.cluster,
          state: this.#stateOf(host.name),
          services: capacities.map(({ service }) => service),
          capacity: Math.max(0, ...capacities.map(({ capacity }) => capacity)),
          capacities,
          flows: worker.hostFlows[host.index] ?? 0,
          connections: roles.includes('forwarder') ? (worker.hostConnections[host.index] ?? 0) : null,
          rates: this.#traffic.ofHost(host.name),
        }
      }),
    }
  }

  async vips(): Promise<VipsData> {
    const worker = await this.#dataplane.status()
    const forwards = this.#config.roles.includes('forwarder')
    const stateOf = (name: string): NodeState => this.#stateOf(name)
    const classifiers = classifiersThere(this.#config, stateOf)
    const shares = new Map(this.#health.shares()?.map(share => [share.service, share]))
    return {
      vips: this.#config.services.map((service, i) => ({
        service: service.name,
        vip: service.vip,
        port: service.port,
        protocol: service.protocol,
        announce: service.announce ?? 'routed',
        ...holding(service, this.#vips, stateOf),
        classifiers,
        hosts: service.hosts.length,
        live: service.hosts.filter(host => this.#stateOf(host.name) === 'alive').length,
        ...readyOf(shares.get(service.name)),
        affinity: affinityOf(service, worker.serviceSessions[this.#directory.services[i].index] ?? 0),
        flows: worker.serviceFlows[this.#directory.services[i].index] ?? 0,
        connections: forwards ? (worker.serviceConnections[this.#directory.services[i].index] ?? 0) : null,
        rates: this.#traffic.ofService(service.name),
      })),
    }
  }

  async flows(query: Parameters<AgentView['flows']>[0]): Promise<FlowsData> {
    const service =
      query.service === undefined
        ? undefined
        : (this.#directory.services.find(s => s.name === query.service)?.index ?? -1)
    const host =
      query.host === undefined ? undefined : this.#directory.hosts.find(h => h.name === query.host)?.index
    if (service === -1) throw unknown('service', query.service, this.#config.services)
    if (query.host !== undefined && host === undefined)
      throw unknown('host', query.host, this.#directory.hosts)
    const { total, flows } = await this.#dataplane.flows({
      limit: query.limit,
      service,
      host,
      client: query.client,
    })
    const names = new Map(this.#directory.hosts.map(entry => [entry.index, entry.name]))
    return {
      total,
      shown: flows.length,
      flows: flows.map(flow => ({
        ...flow,
        protocol: flow.protocol === 6 ? 'tcp' : 'udp',
        host: names.get(flow.host) ?? '-',
        identifier: flow.identifier === 0 ? '-' : flow.identifier.toString(16).padStart(8, '0'),
      })),
    }
  }

  async drops(): Promise<DropsData> {
    const worker = await this.#dataplane.status()
    const kernel = this.#kernelCounters(worker)
    const rows: DropsData['drops'] = []
    for (const [number, count] of worker.drops.entries()) {
      if (count > 0) rows.push({ number, ...text(number), where: 'agent', count })
    }
    for (const [counter, number] of Object.entries(KERNEL_DROPS)) {
      const count = kernel[counter]?.packets ?? 0
      if (count > 0) rows.push({ number, ...text(number), where: 'kernel', count })
    }
    return { drops: rows.sort((a, b) => a.number - b.number) }
  }

  capture(...given: Parameters<AgentView['capture']>): ReturnType<AgentView['capture']> {
    return this.#captures.begin(...given)
  }

  trace(query: Parameters<AgentView['trace']>[0]): Promise<TraceData> {
    return traceHere(this.#packets, query)
  }

  atoms(query: Parameters<AgentView['atoms']>[0]): Promise<AtomsData> {
    return this.#dam.view(query)
  }
  async nodes(): Promise<NodesData> {
    return this.#cluster.nodes()
  }
  async cluster(): Promise<ClusterData> {
    return this.#cluster.cluster()
  }
  async config(query: Parameters<AgentView['config']>[0]): Promise<ConfigData> {
    return this.#cluster.config(query)
  }
  async history(): Promise<ConfigHistoryData> {
    return this.#cluster.history()
  }
  async health(): Promise<HealthData> {
    return this.#health.view()
  }
  async apps(): Promise<AppsData> {
    return (await this.#health.apps?.apps()) ?? { server: null, services: [], listeners: [], processes: [] }
  }
  async events(query: Parameters<AgentView['events']>[0]): Promise<EventsData> {
    return this.#events.query(query)
  }
  follow(listener: (event: EventRow) => void): () => void {
    return this.#events.follow(listener)
  }
  async submit(body: Parameters<AgentView['submit']>[0]): Promise<SubmitData> {
    return this.#cluster.submit(body)
  }
  async registerToken(registration: Parameters<AgentView['registerToken']>[0]): Promise<void> {
    this.#cluster.registerToken(registration)
  }
  leave(): Promise<void> {
    return this.#cluster.leave()
  }
  failover(body: Parameters<AgentView['failover']>[0]): Promise<FailoverData> {
    return this.#vips.failover(body)
  }
  remote(...given: Parameters<AgentView['remote']>): ReturnType<AgentView['remote']> {
    return askRemote(this.#links, ...given)
  }
}

const text = (number: number): { reason: string; hint: string } => ({
  reason: DROP_TEXT[number].reason,
  hint: DROP_TEXT[number].hint,
})

const readyOf = (share: ShareRow | undefined): Pick<VipStatus, 'ready' | 'fallback'> => ({
  ready: share?.hosts.length ?? null,
  fallback: share?.panic ? 'failing' : share?.overload ? 'overload' : null,
})

const unknown = (what: string, name: string | undefined, known: readonly { name: string }[]): ShuntError =>
  new ShuntError(
    'SHUNT_ERR_USAGE',
    `there is no ${what} ${name}; there are: ${known.map(entry => entry.name).join(', ')}`,
  )

const affinityOf = ({ affinity }: NodeConfig['services'][number], sessions: number): VipStatus['affinity'] =>
  affinity === undefined
    ? null
    : { prefix: affinity.prefix, prefix6: affinity.prefix6, timeoutMs: affinity.timeout, sessions }
