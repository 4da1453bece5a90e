/** First packets by edge.bpf.c in a namespace, with the agent's real parts around it: allotment, forwarder, tables, pools, events. */
import { Affinity } from '../../src/agent/classify/affinity.ts'
import { HealthAllotment } from '../../src/agent/classify/health-allotment.ts'
import type { Directory, HostEntry } from '../../src/agent/dataplane/directory.ts'
import { DirectoryIndex } from '../../src/agent/dataplane/directory.ts'
import { DropCounters } from '../../src/agent/dataplane/drops.ts'
import type { EngineParts } from '../../src/agent/dataplane/engine-parts.ts'
import type { ForwarderCore } from '../../src/agent/dataplane/forwarder-core.ts'
import { HeldPackets } from '../../src/agent/dataplane/held.ts'
import type { IdentifierAllocator } from '../../src/agent/dataplane/identifiers.ts'
import { emptyBook } from '../../src/agent/dataplane/index-book.ts'
import { makeForwarder } from '../../src/agent/dataplane/make-forwarder.ts'
import {
  createMappingHeader,
  decodeMappingHeader,
  encodeMappingHeader,
  KIND,
  type MappingHeader,
} from '../../src/agent/dataplane/mapping-header.ts'
import type { DataplanePlan } from '../../src/agent/dataplane/messages.ts'
import { parsePacket } from '../../src/agent/dataplane/packet.ts'
import { createPacketRef, type PacketRef } from '../../src/agent/dataplane/packet-ref.ts'
import { ClassPools } from '../../src/agent/dataplane/xdp/class-pools.ts'
import type { FlowTables } from '../../src/agent/dataplane/xdp/embryos.ts'
import { type ClassMaps, FirstPackets } from '../../src/agent/dataplane/xdp/first-packets.ts'
import { EDGE_GLOBALS } from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { routeMapSize } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { formatRouteMemory } from '../../src/agent/dataplane/xdp/route-memory.ts'
import { RouteTable } from '../../src/agent/dataplane/xdp/route-table.ts'
import { ServiceNumbers } from '../../src/agent/dataplane/xdp/service-numbers.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { FAMILIES, type Family, HOSTS, TUNNEL, VIP } from './dataplane-world.ts'
import { buildFrame } from './ethernet.ts'
import {
  addressWords,
  buildTcp4,
  buildTcp6,
  buildUdp4,
  buildUdp6,
  type PacketOptions,
  type TcpOptions,
} from './packets.ts'
import { testSecret } from './routes.ts'
import { edgeProgram, XdpLab } from './xdp-lab.ts'

const EMBRYOS = 4_000
const ROUTES = 20_000
export const OWN = '10.51.0.1'
export const PORT = 7_946
export const EPOCH = 1_234
export const CHOICE_KEY = [11, 12] as const
/** What of the world's hosts serves, and how much. */
export const MEMBERS = { redirected: 20, sentBack: 30, vlan: 35, local: 15 } as const
export type Member = keyof typeof MEMBERS
const TIMEOUTS = { embryonic: 10_000, tcpIdle: 900_000, udpIdle: 60_000, linger: 30_000 }
/** Of the mapping header. */
export const HEADER = { 4: 48, 6: 84 } as const
/** IPv4, UDP, mapping header. */
export const OVERHEAD = { 4: 20 + 8 + HEADER[4], 6: 20 + 8 + HEADER[6] } as const

export const hostKey = (index: number): Uint32Array => Uint32Array.of(index, 2, 3, 0x80000000 + index)
export const ownKey = Uint32Array.of(9, 8, 7, 6)

const ipv4 = (text: string): number => addressWords(text)[3]

/** Their indexes, and with one more their numbers, are their places. */
const SERVED = FAMILIES.flatMap(family => [
  { name: `web${family}`, port: 80, protocol: 6, family },
  { name: `dns${family}`, port: 53, protocol: 17, family },
])
export const serviceIndex = (family: Family, protocol: number): number =>
  SERVED.findIndex(service => service.family === family && service.protocol === protocol)

const makeDirectory = (): Directory => ({
  hosts: Object.keys(MEMBERS).map((name): HostEntry => {
    const { index, address } = HOSTS[name as Member]
    return {
      ...{ index, name, words: addressWords(address[4]), ipv4: ipv4(address[4]), self: name === 'local' },
      ...{
        words6: addressWords(address[6]),
        hash: 5_000 + index,
        leaving: false,
        live: true,
        draining: false,
      },
    }
  }),
  forwarders: [
    {
      name: 'f',
      tunnelWords: addressWords(TUNNEL[4]),
      tunnelIpv4: ipv4(TUNNEL[4]),
      ipv4: ipv4(OWN),
    },
  ],
  classifiers: [],
  services: SERVED.map((service, index) => ({
    ...{ ...service, index, vip: addressWords(VIP[service.family]) },
    hosts: Object.entries(MEMBERS).map(([name, capacity]) => ({
      index: HOSTS[name as Member].index,
      capacity,
    })),
  })),
  hostIndexes: emptyBook(1),
  serviceIndexes: emptyBook(0),
})

const makePlan = (directory: Directory): DataplanePlan => ({
  ...{ table: 'test', directory, clusterAddress: OWN, clusterIpv4: ipv4(OWN), mappingPort: PORT, links: [] },
  mtuBytes: 1500,
  forwarder: {
    ...{ tunnelIpv4: ipv4(TUNNEL[4]), tunnelWords: addressWords(TUNNEL[4]), epoch: EPOCH },
    tunnelWords6: addressWords(TUNNEL[6]),
    hasClassifier: true,
  },
  ...{ classifier: true, host: null, choiceKey: CHOICE_KEY, tableKey: [1, 2] },
  keys: [
    ...directory.hosts
      .filter(({ self }) => !self)
      .map(({ index, ipv4: recipientIpv4 }) => ({
        ...{ number: index, tunnelIpv4: ipv4(TUNNEL[4]), recipientIpv4, words: hostKey(index) },
      })),
    { number: 7, tunnelIpv4: ipv4(TUNNEL[4]), recipientIpv4: ipv4(OWN), words: ownKey },
  ],
  limits: {
    flows: ROUTES,
    embryonicFlows: EMBRYOS,
    mappings: 100,
    heldPackets: 16,
    affinity: 1_024,
    atoms: 16,
  },
  timeouts: {
    ...TIMEOUTS,
    quarantine: 60_000,
    routeLease: 60_000,
    unattended: 30_000,
    vipHold: 60_000,
    drain: 0,
  },
})

export interface Sent {
  readonly header: MappingHeader
  /** From the outer IP header on. */
  readonly packet: Uint8Array
  readonly host: number
}

export class ClassLab {
  readonly xdp: XdpLab
  readonly plan: DataplanePlan
  readonly directory: DirectoryIndex
  readonly allotment: HealthAllotment
  readonly affinity: Affinity
  readonly first: FirstPackets
  readonly core: ForwarderCore
  readonly identifiers: IdentifierAllocator
  readonly pools: ClassPools
  readonly maps: ClassMaps
  /** Of what `send` sends. */
  readonly family: Family
  readonly embryos: RouteTable
  readonly routes: RouteTable
  /** Mapping messages that the agent sent, and the lengths of the packets that it tunnelled. */
  readonly asked: MappingHeader[] = []
  readonly tunnelled: number[] = []
  readonly #mapped: MappedArray[] = []

  private constructor(xdp: XdpLab, family: Family, embryoBuckets: Readonly<Record<Family, number>>) {
    this.xdp = xdp
    this.family = family
    SERVED.forEach(({ family, port, protocol }, index) => {
      const vip = addressWords(VIP[family])
      xdp.services.delete(vip, 0, port, protocol)
      xdp.services.set(vip, 0, port, protocol, index + 1)
    })
    const directory = makeDirectory()
    this.plan = makePlan(directory)
    this.directory = new DirectoryIndex(directory)
    this.allotment = new HealthAllotment(this.directory, ...CHOICE_KEY)
    this.affinity = new Affinity({
      ...{ directory: this.directory, choice: this.allotment, capacity: 1_024, k0: 1, k1: 2 },
    })
    const map = (name: string): MappedArray => {
      const array = new MappedArray(xdp.object.map(name))
      this.#mapped.push(array)
      return array
    }
    const flows = (family: Family): FlowTables => {
      const { bytes } = map(`embryos${family}`)
      const memory = formatRouteMemory(bytes, family, embryoBuckets[family], testSecret(5))
      return { embryos: new RouteTable(memory), routes: xdp.tables[family] }
    }
    const numbers = new ServiceNumbers()
    numbers.replace(directory.services)
    this.maps = {
      ...{
        bss: map('bss').bytes,
        services: map('class_services').bytes,
        choices: map('class_choices').bytes,
      },
      pools: map('class_pools').bytes,
      flows: { 4: flows(4), 6: flows(6) },
      events: xdp.object.map('class_events'),
    }
    this.embryos = this.maps.flows[family].embryos
    this.routes = this.maps.flows[family].routes
    this.pools = new ClassPools(this.maps.pools)
    const tick = (): number => Number(process.hrtime.bigint() >> 30n) & 0xffff
    this.first = new FirstPackets(
      this.maps,
      this.plan,
      numbers,
      () => this.#cores(),
      () => 0,
      tick,
    )
    const { core, identifiers } = makeForwarder(this.#parts(), this.plan, this.plan.forwarder!, {
      ...{ directory: this.directory, affinity: this.affinity, held: new HeldPackets(16) },
      clients: { hold: () => {} },
      ...{ identifiers: null, epoch: EPOCH, now: () => 0, ended: { add: () => {} } as never },
    })
    this.core = core
    this.identifiers = identifiers
    this.first.apply(this.plan)
  }

  #cores(): ConstructorParameters<typeof FirstPackets>[3] extends () => infer T ? T : never {
    return {
      forwarder: this.core,
      identifiers: this.identifiers,
      directory: this.directory,
      allotment: this.allotment,
      plan: this.plan,
    }
  }

  #parts(): EngineParts {
    const key = this.routes.newKey()
    const unroute = (words: Uint32Array, at: number): void => {
      const number = serviceIndex(this.family, words[at + 9]) + 1
      this.routes.remove(key.set(words, at, words[at + 8] >>> 16, number))
    }
    const plumber = {
      ...{ lasting: true, unroute, route: () => {}, local: () => {} },
      unrouteAll: (places: { key: Uint32Array; at: number }[]) => {
        for (const place of places) unroute(place.key, place.at)
      },
    }
    return {
      ...{ plan: this.plan, plumber, drops: new DropCounters() },
      output: { tunnel: ({ length }: PacketRef) => this.tunnelled.push(length) },
      datagrams: { send: (header: MappingHeader) => this.asked.push({ ...header }) },
      ...{ kernel: this.first, nowS: () => 0, epochChanged: () => {} },
    } as unknown as EngineParts
  }

  static async open(family: Family): Promise<ClassLab> {
    const four = routeMapSize(4, EMBRYOS)
    const six = routeMapSize(6, EMBRYOS)
    const xdp = await XdpLab.open(ROUTES, () => ({
      ...edgeProgram(),
      set: [
        [EDGE_GLOBALS.embryos4Buckets, four.buckets],
        [EDGE_GLOBALS.embryos6Buckets, six.buckets],
      ],
      maxEntries: { embryos4: four.entries, embryos6: six.entries, class_choices: SERVED.length + 2 },
    }))
    return new ClassLab(xdp, family, { 4: four.buckets, 6: six.buckets })
  }

  /** A packet from a client; what became of it. */
  send(
    client: string,
    sourcePort: number,
    options: TcpOptions & { protocol?: number; frame?: Parameters<typeof buildFrame>[1] } = {},
  ): { verdict: number; data: Uint8Array; frame: Uint8Array; counted: string } {
    const { protocol = 6, frame: around, ...packet } = options
    const all: PacketOptions = { source: client, destination: VIP[this.family], sourcePort, ...packet }
    const [tcp, udp] = this.family === 4 ? [buildTcp4, buildUdp4] : [buildTcp6, buildUdp6]
    const bytes =
      protocol === 6
        ? tcp({ destinationPort: 80, flags: 2, ...all })
        : udp({ destinationPort: 53, payload: Uint8Array.of(1, 2, 3), ...all })
    return this.run(buildFrame(bytes, around))
  }

  run(
    frame: Uint8Array,
    program = 'edge_uplink',
  ): { verdict: number; data: Uint8Array; frame: Uint8Array; counted: string } {
    this.xdp.resetCounters()
    const { verdict, data } = this.xdp.netns.run(() =>
      this.xdp.object.program(program).testRun({
        ...{ data: frame, room: frame.length + 256, ingress: { interfaceIndex: this.xdp.ingress } },
      }),
    )
    const counted = Object.entries(this.xdp.counted())
    if (counted.length !== 1 || counted[0][1] !== 1) throw new Error(JSON.stringify(counted))
    return { verdict, data, frame, counted: counted[0][0] }
  }

  /** The mapping message that a frame is. */
  decode(data: Uint8Array, tags = 0): Sent {
    const at = 14 + 4 * tags
    // What follows is padding.
    const packet = data.subarray(at, at + ((data[at + 2] << 8) | data[at + 3]))
    const header = createMappingHeader()
    const reason = decodeMappingHeader(packet, 28, packet.length - 28, header)
    if (reason !== 0) throw new Error(`no mapping message: ${reason}`)
    return { header, packet, host: header.identifier >>> 24 }
  }

  /** A host's acknowledgement of a message, as a frame. */
  acknowledgement(
    sent: MappingHeader,
    host: Member,
    change: Partial<MappingHeader> = {},
    key: Uint32Array = ownKey,
    source = HOSTS[host].address[4] as string,
  ): Uint8Array {
    const header = { ...sent, kind: KIND.MAP_ACK, keyNumber: 7, innerLength: 0, ...change }
    const bytes = new Uint8Array(HEADER[this.family])
    encodeMappingHeader(header, bytes, 0, key)
    return buildFrame(
      buildUdp4({ source, destination: OWN, sourcePort: PORT, destinationPort: PORT, payload: bytes }),
    )
  }

  /** The agent gets what the kernel passed; `reads`: after the events that the kernel has told. */
  packet(frame: Uint8Array, reads = true): void {
    const packet = createPacketRef()
    Object.assign(packet, { buf: frame.slice(), offset: 14, length: frame.length - 14 })
    if (parsePacket(packet.buf, 14, packet.length, packet.view) !== 0) throw new Error('no packet')
    if (reads) this.first.drain()
    this.core.packet(packet, performance.now())
  }

  /** Everything as the worker does it in a turn. */
  turn(): void {
    const now = performance.now()
    this.first.drain()
    this.allotment.turn(now)
    this.first.turn(now)
    this.first.refill(now)
  }

  /** Identifiers that wait in pools, over all hosts. */
  get waiting(): number {
    return this.directory.directory.hosts.reduce((sum, { index }) => sum + this.pools.waiting(index), 0)
  }

  /** Identifiers of the forwarder's flows. */
  get owned(): number {
    const { flows } = this.core
    return flows.table.select(slot => flows.identifier[slot] !== 0).length
  }

  close(): void {
    this.first.close()
    for (const mapped of this.#mapped) mapped.release()
    this.xdp.close()
  }
}
