/**
 * What this host knows of its own applications (R-B2): which endpoints of services are listened on, by whom, how healthy and how
 * busy they are. The table (src/health/host) is told; nothing is asked of the applications.
 */
import { addressPort } from '../../address-port.ts'
import { whenFailingOf } from '../../config/health-fields.ts'
import { isIpv6Vip } from '../../config/ipv6-needs.ts'
import type { NodeConfig, ServiceConfig } from '../../config/schema.ts'
import { endpointOf } from '../../config/service-endpoint.ts'
import type { AppsData, ServiceConnections } from '../../control/types.ts'
import { appKey, canonicalApp } from '../../health/app-id.ts'
import type { Endpoint } from '../../health/host/events.ts'
import { checkTarget } from '../../health/probe/target.ts'
import { servedEndpoints } from '../../health/system/listeners.ts'
import type { AppId, Health, ServerState } from '../../health/types.ts'
import { processLives } from '../../os/proc.ts'
import { ownConnections } from './own-connections.ts'
import { HealthProbes } from './probes.ts'
import { SharedWork } from './shared-work.ts'
import { type Listener, type SystemSample, SystemWatch } from './system-watch.ts'

const SAMPLE_MS = 2_000
/** Part of its accept queue's limit at which new connections are lost. */
const FULL_QUEUE = 1
/** So many samples in a row with a full accept queue, and nobody accepts any more. */
const STUCK_SAMPLES = 2

export interface OwnEndpoint extends Endpoint {
  readonly key: string
  readonly service: ServiceConfig
  readonly sockets: readonly Listener[]
}

export interface OwnAppsPorts {
  endpoints(endpoints: readonly OwnEndpoint[]): void
  /** `why`: a short sentence. */
  health(key: string, health: Health, why: string): void
  load(key: string, percent: number): void
  server(state: ServerState): void
  trouble(text: string): void
  /** Said once, at the beginning. */
  warning(text: string): void
}

/** What an application of this host says of itself over its socket (R-B2). */
export interface AppReport {
  readonly health?: Health | undefined
  readonly load?: number | undefined
}

const appOf = (service: ServiceConfig, physical: string, physicalPort: number): AppId =>
  canonicalApp({
    vip: service.vip,
    port: service.port,
    physical,
    physicalPort,
    protocol: service.protocol,
    specific: '',
  })

/** Whether the process that reported still has a socket of the endpoint, as far as is known. */
const stillSpeaks = (
  { pid, inodes }: { pid: number; inodes: ReadonlySet<number> },
  sockets: readonly Listener[],
): boolean =>
  sockets.some(({ owner }) => owner?.pid === pid) ||
  // Children share their parent's sockets: those must all be there that were.
  (processLives(pid) && [...inodes].some(inode => sockets.some(socket => socket.inode === inode)))

export class OwnApps {
  readonly #ports: OwnAppsPorts
  readonly #watch: SystemWatch
  readonly #probes: HealthProbes
  readonly #counting = new SharedWork<ServiceConnections[]>()
  #config: NodeConfig
  #timer: NodeJS.Timeout | null = null
  #endpoints: readonly OwnEndpoint[] = []
  #sample: SystemSample | null = null
  readonly #full = new Map<string, number>()
  /** With the process that said it. */
  readonly #reports = new Map<string, AppReport & { pid: number; inodes: ReadonlySet<number> }>()
  readonly #verdicts = new Map<string, { health: Health; why: string }>()

  constructor(config: NodeConfig, ports: OwnAppsPorts) {
    this.#config = config
    this.#ports = ports
    this.#probes = new HealthProbes({
      onVerdict: (key, health, why) => {
        this.#verdicts.set(key, { health, why })
        this.#judge(key)
      },
    })
    this.#watch = new SystemWatch({
      onListeners: sockets => this.#look(sockets),
      onTrouble: text => ports.trouble(text),
      ports: () => new Set(this.#services().flatMap(({ port, endpoint }) => [port, endpoint?.port ?? port])),
      cgroup: config.node.cgroup ?? null,
      onNoCgroup: () =>
        ports.warning(
          `node.cgroup (${config.node.cgroup}) cannot be read, so the load of this host is that of the whole machine; mount /sys/fs/cgroup where the agent runs, or correct or remove node.cgroup`,
        ),
    })
  }

  start(): void {
    if (this.#timer !== null) return
    this.#watch.start()
    this.#timer = setInterval(() => this.#measure(), SAMPLE_MS)
    this.#measure()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    this.#probes.stop()
    this.#watch.stop()
  }

  /** Other services, or other rules for them. */
  reconfigure(config: NodeConfig): void {
    this.#config = config
    if (this.#timer !== null) this.#look(this.#watch.listeners())
  }

  get endpoints(): readonly OwnEndpoint[] {
    return this.#endpoints
  }
  /** Paths of containers' network namespaces in which somebody waits for clients of that service. */
  namespacesOf(isService: (service: ServiceConfig) => boolean): string[] {
    const inside = this.#endpoints
      .filter(({ service }) => isService(service))
      .flatMap(({ sockets }) => sockets.flatMap(({ namespace }) => (namespace === null ? [] : [namespace])))
    return [...new Set(inside)].flatMap(namespace => {
      const pid = this.#watch.processIn(namespace)
      return typeof pid === 'number' ? [`/proc/${pid}/ns/net`] : []
    })
  }
  get sample(): SystemSample | null {
    return this.#sample
  }

  /** From the application itself; it holds until the next one, or until the application ends. */
  report(key: string, report: AppReport, pid: number): void {
    const endpoint = this.#endpoints.find(each => each.key === key)
    if (endpoint === undefined) return
    const before = this.#reports.get(key)
    const inodes = new Set(endpoint.sockets.map(({ inode }) => inode))
    this.#reports.set(key, { ...(before?.pid === pid ? before : {}), ...report, pid, inodes })
    this.#judge(key)
    if (report.load !== undefined) this.#ports.load(key, report.load)
  }

  /** What an endpoint's health rests on. */
  why(key: string): string {
    return this.#verdict(key).why
  }

  async apps(): Promise<AppsData> {
    const sockets = this.#watch.listeners()
    const served = new Map<Listener, string[]>()
    for (const [service, listeners] of servedEndpoints(this.#asked(), sockets))
      for (const listener of listeners)
        served.set(listener, [...(served.get(listener) ?? []), service.service.name])
    return {
      server: this.#sample?.server ?? null,
      services: await this.#counting.ask(() => ownConnections(this.#asked(), this.#watch.listeners())),
      listeners: sockets.map(socket => ({
        protocol: socket.protocol,
        address: addressPort(socket.address, socket.port),
        services: served.get(socket) ?? [],
        namespace: socket.namespace ?? '',
        queue: socket.queue,
        backlog: socket.backlog,
        pid: socket.owner?.pid ?? null,
        process: socket.owner?.name ?? '',
      })),
      processes: (this.#sample?.apps ?? []).map(app => ({
        pid: app.pid,
        name: app.name,
        unit: app.unit ?? '',
        memoryBytes: app.memoryBytes,
        cpuPercent: app.cpuPercent,
        connections: app.connections,
      })),
    }
  }

  #services(): ServiceConfig[] {
    const { node, addresses, services } = this.#config
    return services.filter(
      service =>
        service.hosts.some(({ name }) => name === node.name) &&
        // Nobody could send its packets here.
        (!isIpv6Vip(service.vip) || addresses.cluster6 !== undefined),
    )
  }

  #asked() {
    const { node, addresses } = this.#config
    const at = ({ vip }: ServiceConfig): string => (isIpv6Vip(vip) ? addresses.cluster6! : addresses.cluster)
    return this.#services().map(service => {
      const own = endpointOf(service, node.name, addresses)
      const { address: physical, port: physicalPort } = own ?? { address: at(service), port: service.port }
      return {
        service,
        app: appOf(service, physical, physicalPort),
        capacity: service.hosts.find(({ name }) => name === node.name)!.capacity,
        vip: service.vip,
        port: service.port,
        protocol: service.protocol,
        ...{ physical, physicalPort, translated: own !== null },
      }
    })
  }

  #look(sockets: readonly Listener[]): void {
    const served = servedEndpoints(this.#asked(), sockets)
    this.#endpoints = [...served].map(([{ service, app, capacity }, listeners]) => ({
      ...{ key: appKey(app), app, capacity, service, sockets: listeners },
      whenFailing: whenFailingOf(service),
    }))
    const keys = new Set(this.#endpoints.map(({ key }) => key))
    for (const known of [this.#full, this.#reports, this.#verdicts])
      for (const key of known.keys()) if (!keys.has(key)) known.delete(key)
    this.#forgetReports()
    this.#ports.endpoints(this.#endpoints)
    this.#probes.targets(
      this.#endpoints.flatMap(
        ({ key, app, service }) =>
          checkTarget(key, service, service.endpoint && { address: app.physical, port: app.physicalPort }) ??
          [],
      ),
    )
    for (const key of keys) this.#judge(key)
  }

  /** Of processes that have ended. Ends of those that share the sockets of another are seen only by looking. */
  #forgetReports(): void {
    for (const { key, sockets } of this.#endpoints) {
      const said = this.#reports.get(key)
      if (said !== undefined && !stillSpeaks(said, sockets)) this.#reports.delete(key)
    }
  }

  #measure(): void {
    this.#forgetReports()
    const sample = this.#watch.sample(performance.now())
    this.#sample = sample
    this.#ports.server(sample.server)
    const now = new Map(this.#watch.listeners().map(socket => [socket.inode, socket]))
    for (const { key, sockets } of this.#endpoints) {
      const queues = sockets.map(({ inode }) => now.get(inode)).filter(socket => socket !== undefined)
      const fullest = Math.max(0, ...queues.map(({ queue, backlog }) => (backlog > 0 ? queue / backlog : 0)))
      this.#full.set(key, fullest >= FULL_QUEUE ? (this.#full.get(key) ?? 0) + 1 : 0)
      this.#judge(key)
      const own = this.#reports.get(key)?.load
      this.#ports.load(key, own ?? Math.max(sample.server.cpuPercent, Math.round(100 * fullest)))
    }
  }

  #verdict(key: string): { health: Health; why: string } {
    const said = this.#reports.get(key)?.health
    if (said === 'failing') return { health: 'failing', why: 'the application says that it fails' }
    if ((this.#full.get(key) ?? 0) >= STUCK_SAMPLES)
      return { health: 'failing', why: 'nobody accepts connections: the accept queue stays full' }
    const probed = this.#verdicts.get(key)
    const check = this.#endpoints.find(endpoint => endpoint.key === key)?.service.health
    if (check !== undefined && check.type !== 'none')
      return probed ?? { health: said ?? 'unknown', why: 'not probed yet' }
    return { health: 'healthy', why: said === undefined ? 'it listens' : 'the application says so' }
  }

  #judge(key: string): void {
    const { health, why } = this.#verdict(key)
    this.#ports.health(key, health, why)
  }
}
