/** A simulated cluster under seeded loss, duplication, delay and restarts; checks its invariants at each delivery. */
import { createHash } from 'node:crypto'
import type { Directory } from '../../src/agent/dataplane/directory.ts'
import { assignIndexes, emptyBook } from '../../src/agent/dataplane/index-book.ts'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import { buildMappingKeys } from '../../src/agent/plan.ts'
import { choiceKey } from '../../src/gossip/keys.ts'
import { buildTcp4, checksumFaults, dissect, FLAG } from './packets.ts'
import { Agenda } from './sim/agenda.ts'
import { SimNode } from './sim-node.ts'

export interface SimFaults {
  readonly loss: number
  readonly duplicate: number
  /** Milliseconds of extra delay at most; above 0 packets overtake each other. */
  readonly jitterMs: number
}

export interface SimOptions {
  readonly seed: number
  readonly forwarders: number
  readonly hosts: number
  readonly remoteClassifier: boolean
  readonly faults: SimFaults
  readonly limits?: Partial<DataplanePlan['limits']>
  /** Host indexes there are; few make them be used again soon. */
  readonly hostIndexes?: number
  /** Forwarders ask whose mid-flow packets are (sim-sessions.ts), and routes are atoms with so many copies. */
  readonly copies?: number | null
  readonly resolves?: boolean
}

export interface Service {
  readonly name: string
  readonly vip: number
  readonly port: number
  /** Names of hosts; undefined: all. */
  readonly pool?: readonly string[]
}

export interface Flow {
  readonly id: number
  readonly client: number
  readonly port: number
  /** Where the router throws it. */
  forwarder: number
  readonly service: Service
  sent: number
  readonly received: number[]
  readonly hosts: Set<string>
}

const SECRET = new Uint8Array(32).fill(7)
const TIMEOUTS = {
  embryonic: 3000,
  tcpIdle: 30_000,
  udpIdle: 10_000,
  linger: 2000,
  quarantine: 8000,
  routeLease: 4000,
  unattended: 30_000,
  vipHold: 60_000,
  drain: 0,
}
const LIMITS = { flows: 256, embryonicFlows: 64, mappings: 256, heldPackets: 64, affinity: 64, atoms: 256 }
const VIP = 0x0a630001
export const WEB: Service = { name: 'web', vip: VIP, port: 80 }
const ip = (a: number, b: number, c: number, d: number): number =>
  ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
const words = (ipv4: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, ipv4)
export const dotted = (ipv4: number): string => [24, 16, 8, 0].map(shift => (ipv4 >>> shift) & 255).join('.')

/** xorshift32: the same seed gives the same run. */
export const random = (seed: number): (() => number) => {
  let x = (seed * 2654435761) >>> 0 || 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) / 4294967296
  }
}

export class SimCluster {
  nowMs = 0
  readonly flows: Flow[] = []
  readonly problems: string[] = []
  readonly nodes = new Map<number, SimNode>()
  readonly forwarders: number[] = []
  readonly hosts: number[] = []
  readonly random: () => number
  readonly #options: SimOptions
  services: readonly Service[] = [WEB]
  secrets: readonly { number: number; bytes: Uint8Array }[] = [{ number: 1, bytes: SECRET }]
  timeouts: DataplanePlan['timeouts'] = TIMEOUTS
  /** Called when a node has taken another configuration. */
  onReconfigured: (address: number) => void = () => {}
  /** A node has begun. */
  onStarted: (node: SimNode) => void = () => {}
  /** A packet of a flow has reached a host's stack. */
  onDelivered: (flow: Flow, host: string, tcpFlags: number) => void = () => {}
  onTick: () => void = () => {}
  /** By name of the host; else 50. */
  capacities: ReadonlyMap<string, number> = new Map()
  #gone: ReadonlySet<number> = new Set()
  readonly #directories = new Map<number, Directory>()
  readonly #agenda = new Agenda()
  readonly #epochs = new Map<number, number>()
  readonly #isolated = new Set<number>()

  constructor(options: SimOptions) {
    this.#options = options
    this.random = random(options.seed)
    for (let i = 1; i <= options.forwarders; i++) this.forwarders.push(ip(10, 10, 0, i))
    for (let i = 1; i <= options.hosts; i++) this.hosts.push(ip(10, 10, 0, 100 + i))
    if (options.remoteClassifier) this.#start(ip(10, 10, 0, 50))
    for (const address of [...this.forwarders, ...this.hosts]) this.#start(address)
  }

  #directory(own: number): Directory {
    const all = this.hosts
      .map(ipv4 => ({ name: `h${(ipv4 & 255) - 100}`, ipv4 }))
      .filter(({ ipv4 }) => !this.#gone.has(ipv4))
    const previous = this.#directories.get(own)
    const hostKey = (host: { name: string; ipv4: number }): string => `${host.name} ${host.ipv4}`
    const serviceKey = (vip: Uint32Array, port: number): string => `${vip} ${port}`
    const book = assignIndexes(
      all.map(hostKey),
      new Map((previous?.hosts ?? []).map(host => [hostKey(host), host.index])),
      previous?.hostIndexes ?? emptyBook(1),
      this.#options.hostIndexes ?? 255,
    )
    const hosts = all.filter(host => book.indexes.has(hostKey(host)))
    const services = assignIndexes(
      this.services.map(service => serviceKey(words(service.vip), service.port)),
      new Map(
        (previous?.services ?? []).map(service => [serviceKey(service.vip, service.port), service.index]),
      ),
      previous?.serviceIndexes ?? emptyBook(0),
      1000,
    )
    const indexOf = (host: { name: string; ipv4: number }): number => book.indexes.get(hostKey(host))!
    const directory: Directory = {
      hosts: hosts.map(host => ({
        index: indexOf(host),
        name: host.name,
        words: words(host.ipv4),
        ipv4: host.ipv4,
        self: host.ipv4 === own,
        hash: createHash('sha256').update(host.name).digest().readUInt32BE(0),
        leaving: false,
        live: true,
        draining: false,
      })),
      forwarders: this.forwarders
        .filter(ipv4 => !this.#gone.has(ipv4))
        .map((ipv4, i) => ({
          name: `f${i + 1}`,
          tunnelWords: words(ipv4 + 256),
          tunnelIpv4: ipv4 + 256,
          ipv4,
        })),
      classifiers: this.#options.remoteClassifier
        ? [{ name: 'c1', ipv4: ip(10, 10, 0, 50), live: true }]
        : [],
      services: this.services.map(service => ({
        index: services.indexes.get(serviceKey(words(service.vip), service.port))!,
        name: service.name,
        vip: words(service.vip),
        port: service.port,
        protocol: 6,
        hosts: hosts
          .filter(({ name }) => service.pool === undefined || service.pool.includes(name))
          .map(host => ({ index: indexOf(host), capacity: this.capacities.get(host.name) ?? 50 })),
        copies: this.#options.copies ?? null,
      })),
      hostIndexes: book.book,
      serviceIndexes: services.book,
    }
    this.#directories.set(own, directory)
    return directory
  }

  #plan(address: number, epoch: number): DataplanePlan {
    const directory = this.#directory(address)
    const forwarder = this.forwarders.includes(address) && !this.#gone.has(address)
    return {
      table: 'sim',
      directory,
      clusterAddress: dotted(address),
      clusterIpv4: address,
      mappingPort: 6781,
      links: [],
      mtuBytes: 1500,
      forwarder: forwarder
        ? {
            tunnelIpv4: address + 256,
            tunnelWords: words(address + 256),
            epoch,
            hasClassifier: !this.#options.remoteClassifier,
            resolves: this.#options.resolves ?? false,
          }
        : null,
      classifier: address === ip(10, 10, 0, 50),
      host: this.hosts.includes(address) && !this.#gone.has(address) ? { tun: 'sim' } : null,
      keys: buildMappingKeys(directory, this.secrets, address),
      choiceKey: choiceKey(SECRET),
      tableKey: [this.#options.seed, 99],
      limits: { ...LIMITS, ...this.#options.limits },
      timeouts: this.timeouts,
    }
  }

  #start(address: number): void {
    // A new process begins with new indexes.
    this.#directories.delete(address)
    const epoch = (this.#epochs.get(address) ?? 1000) + 1
    this.#epochs.set(address, epoch)
    const plan = this.#plan(address, epoch)
    const node = new SimNode(dotted(address), plan, {
      packet: (from, to, bytes) => this.#wire(from, to, node => node.arrive(bytes, this.nowMs)),
      datagram: (from, to, bytes) =>
        this.#wire(from, to, node => {
          node.clock(this.nowMs)
          const copy = bytes.slice()
          const reason = node.datagrams.accept(copy, 0, copy.length, from)
          if (reason !== 0) node.drops.add(reason)
        }),
      delivered: (name, bytes) => this.#delivered(name, bytes),
    })
    this.nodes.set(address, node)
    this.onStarted(node)
  }

  /**
   * Another configuration reaches every node, each after a delay of its own, as statements do in a cluster. The nodes
   * in `gone` are in it no more (their roles end); with the same epoch as before, so that the engine must go past it.
   */
  reconfigure(change: {
    services?: readonly Service[]
    secrets?: readonly { number: number; bytes: Uint8Array }[]
    timeouts?: Partial<DataplanePlan['timeouts']>
    gone?: readonly number[]
    spreadMs?: number
  }): void {
    this.services = change.services ?? this.services
    this.secrets = change.secrets ?? this.secrets
    this.timeouts = { ...this.timeouts, ...change.timeouts }
    if (change.gone !== undefined) this.#gone = new Set(change.gone)
    for (const address of this.nodes.keys()) {
      this.at(this.random() * (change.spreadMs ?? 0), () => {
        this.nodes.get(address)!.reconfigure(this.#plan(address, this.#epochs.get(address)!), this.nowMs)
        this.onReconfigured(address)
      })
    }
  }

  /** The node's agent dies and comes back with nothing but its identity; the kernel's tables are remade. */
  restart(address: number): void {
    this.#start(address)
  }

  /** The node is gone, until it is restarted. */
  crash(address: number): void {
    this.nodes.delete(address)
  }

  cut(address: number, cut: boolean): void {
    if (cut) this.#isolated.add(address)
    else this.#isolated.delete(address)
  }

  #wire(from: number, to: number, use: (node: SimNode) => void): void {
    if (this.#isolated.has(from) || this.#isolated.has(to)) return
    const { loss, duplicate, jitterMs } = this.#options.faults
    if (this.random() < loss) return
    const copies = this.random() < duplicate ? 2 : 1
    for (let i = 0; i < copies; i++) {
      this.at(0.1 + this.random() * jitterMs, () => {
        const node = this.nodes.get(to)
        if (node !== undefined && !this.#isolated.has(to)) use(node)
      })
    }
  }

  at(delayMs: number, run: () => void): void {
    this.#agenda.plan(this.nowMs + delayMs, run)
  }

  /** Runs events and a tick each 10 ms until `untilMs`. */
  run(untilMs: number): void {
    while (this.nowMs < untilMs) {
      const tickAt = Math.floor(this.nowMs / 10) * 10 + 10
      for (let next = this.#agenda.take(tickAt); next !== undefined; next = this.#agenda.take(tickAt)) {
        this.nowMs = Math.max(this.nowMs, next.atMs)
        next.run()
      }
      this.nowMs = tickAt
      for (const node of this.nodes.values()) node.tick(tickAt)
      this.onTick()
    }
  }

  /** The client uses the ports of an earlier connection again. */
  reopen(before: Flow): Flow {
    const flow = { ...before, id: this.flows.length, sent: 0, received: [], hosts: new Set<string>() }
    this.flows.push(flow)
    return flow
  }

  open(service: Service = WEB): Flow {
    const id = this.flows.length
    // Few ports over many clients: identifiers of the same checksum class are in demand.
    const flow: Flow = {
      id,
      client: ip(10, 20, 1 + (id >> 6), 1 + (id & 63)),
      port: 40_000 + (id % 3),
      forwarder: this.forwarders[id % this.forwarders.length],
      service,
      sent: 0,
      received: [],
      hosts: new Set(),
    }
    this.flows.push(flow)
    return flow
  }

  send(flow: Flow, flags: number, size = 20): void {
    const payload = new Uint8Array(size)
    new DataView(payload.buffer).setUint32(0, flow.id)
    new DataView(payload.buffer).setUint32(4, flow.sent++)
    const bytes = buildTcp4({
      source: dotted(flow.client),
      destination: dotted(flow.service.vip),
      sourcePort: flow.port,
      destinationPort: flow.service.port,
      flags,
      payload,
    })
    this.#wire(flow.client, flow.forwarder, node => node.arrive(bytes, this.nowMs))
  }

  /** SYN, ACK, `packets` of data spread over `durationMs`, FIN. */
  session(flow: Flow, packets: number, durationMs: number): void {
    this.send(flow, FLAG.SYN, 8)
    this.at(1, () => this.send(flow, FLAG.ACK, 8))
    for (let i = 0; i < packets; i++)
      this.at(1.1 + (durationMs * i) / packets, () =>
        this.send(flow, FLAG.ACK | FLAG.PSH, 8 + Math.floor(this.random() * 1440)),
      )
    this.at(durationMs + 5, () => this.send(flow, FLAG.FIN | FLAG.ACK, 8))
  }

  #delivered(host: string, bytes: Uint8Array): void {
    const faults = checksumFaults(bytes)
    const { source, destination, payload, l4 } = dissect(bytes)
    const marks = new DataView(payload.buffer, payload.byteOffset)
    const flow = this.flows[marks.getUint32(0)]
    const text = (address: Uint8Array): string => address.join('.')
    const port = (l4[0] << 8) | l4[1]
    if (faults.length > 0) this.problems.push(`bad checksum of ${faults.join(', ')} at ${host}`)
    if (
      flow === undefined ||
      text(source) !== dotted(flow.client) ||
      port !== flow.port ||
      text(destination) !== dotted(flow.service.vip) ||
      ((l4[2] << 8) | l4[3]) !== flow.service.port
    ) {
      this.problems.push(
        `${this.nowMs} ms: bytes of flow ${flow?.id} reached ${host} as ${text(source)}:${port} -> ${text(destination)}`,
      )
      return
    }
    flow.received.push(marks.getUint32(4))
    flow.hosts.add(host)
    this.onDelivered(flow, host, l4[13])
  }
}
