/** A simulated cluster under seeded loss, duplication, delay and restarts; checks its invariants at each delivery. */
import { createHash } from 'node:crypto'
import type { Directory } from '../../src/agent/dataplane/directory.ts'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import { buildMappingKeys } from '../../src/agent/plan.ts'
import { choiceKey } from '../../src/gossip/keys.ts'
import { buildTcp4, checksumFaults, dissect, FLAG } from './packets.ts'
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
}

interface Flow {
  readonly id: number
  readonly client: number
  readonly port: number
  readonly forwarder: number
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
  drain: 0,
}
const LIMITS = { flows: 256, embryonicFlows: 64, mappings: 256, heldPackets: 64 }
const VIP = 0x0a630001
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
  readonly #queue: { atMs: number; order: number; run: () => void }[] = []
  readonly #epochs = new Map<number, number>()
  readonly #isolated = new Set<number>()
  #order = 0

  constructor(options: SimOptions) {
    this.#options = options
    this.random = random(options.seed)
    for (let i = 1; i <= options.forwarders; i++) this.forwarders.push(ip(10, 10, 0, i))
    for (let i = 1; i <= options.hosts; i++) this.hosts.push(ip(10, 10, 0, 100 + i))
    if (options.remoteClassifier) this.#start(ip(10, 10, 0, 50))
    for (const address of [...this.forwarders, ...this.hosts]) this.#start(address)
  }

  #directory(own: number): Directory {
    return {
      hosts: this.hosts.map((ipv4, i) => ({
        index: i + 1,
        name: `h${i + 1}`,
        words: words(ipv4),
        ipv4,
        self: ipv4 === own,
        hash: createHash('sha256')
          .update(`h${i + 1}`)
          .digest()
          .readUInt32BE(0),
        live: true,
        draining: false,
      })),
      forwarders: this.forwarders.map((ipv4, i) => ({
        name: `f${i + 1}`,
        tunnelWords: words(ipv4 + 256),
        tunnelIpv4: ipv4 + 256,
        ipv4,
      })),
      classifiers: this.#options.remoteClassifier
        ? [{ name: 'c1', ipv4: ip(10, 10, 0, 50), live: true }]
        : [],
      services: [
        {
          index: 0,
          name: 'web',
          vipIpv4: VIP,
          port: 80,
          protocol: 6,
          hosts: this.hosts.map((_, i) => ({ index: i + 1, capacity: 50 })),
        },
      ],
    }
  }

  #start(address: number): void {
    const directory = this.#directory(address)
    const forwarder = this.forwarders.includes(address)
    const epoch = (this.#epochs.get(address) ?? 1000) + 1
    this.#epochs.set(address, epoch)
    const plan: DataplanePlan = {
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
          }
        : null,
      classifier: address === ip(10, 10, 0, 50),
      host: this.hosts.includes(address) ? { tun: 'sim' } : null,
      keys: buildMappingKeys(directory, [{ number: 1, bytes: SECRET }], address),
      choiceKey: choiceKey(SECRET),
      tableKey: [this.#options.seed, 99],
      limits: { ...LIMITS, ...this.#options.limits },
      timeouts: TIMEOUTS,
    }
    this.nodes.set(
      address,
      new SimNode(dotted(address), plan, {
        packet: (from, to, bytes) => this.#wire(from, to, node => node.arrive(bytes, this.nowMs)),
        datagram: (from, to, bytes) =>
          this.#wire(from, to, node => {
            node.clock(this.nowMs)
            const copy = bytes.slice()
            const reason = node.datagrams.accept(copy, 0, copy.length, from)
            if (reason !== 0) node.drops.add(reason)
          }),
        delivered: (name, bytes) => this.#delivered(name, bytes),
      }),
    )
  }

  /** The node's agent dies and comes back with nothing but its identity; the kernel's tables are remade. */
  restart(address: number): void {
    this.#start(address)
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
    this.#queue.push({ atMs: this.nowMs + delayMs, order: this.#order++, run })
  }

  /** Runs events and a tick each 10 ms until `untilMs`. */
  run(untilMs: number): void {
    while (this.nowMs < untilMs) {
      const tickAt = Math.floor(this.nowMs / 10) * 10 + 10
      this.#queue.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      while (this.#queue.length > 0 && this.#queue[0].atMs <= tickAt) {
        const event = this.#queue.shift()!
        this.nowMs = Math.max(this.nowMs, event.atMs)
        const before = this.#queue.length
        event.run()
        if (this.#queue.length !== before) this.#queue.sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      }
      this.nowMs = tickAt
      for (const node of this.nodes.values()) node.tick(tickAt)
    }
  }

  open(): Flow {
    const id = this.flows.length
    // Few ports over many clients: identifiers of the same checksum class are in demand.
    const flow: Flow = {
      id,
      client: ip(10, 20, 1 + (id >> 6), 1 + (id & 63)),
      port: 40_000 + (id % 3),
      forwarder: this.forwarders[id % this.forwarders.length],
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
      destination: dotted(VIP),
      sourcePort: flow.port,
      destinationPort: 80,
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
      text(destination) !== dotted(VIP)
    ) {
      this.problems.push(
        `${this.nowMs} ms: bytes of flow ${flow?.id} reached ${host} as ${text(source)}:${port} -> ${text(destination)}`,
      )
      return
    }
    flow.received.push(marks.getUint32(4))
    flow.hosts.add(host)
  }
}
