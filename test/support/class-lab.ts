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
import { ClassPools } from '../../src/agent/dataplane/xdp/class-pools.ts'
import { type ClassMaps, FirstPackets } from '../../src/agent/dataplane/xdp/first-packets.ts'
import { EDGE_GLOBALS } from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { routeMapSize } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { formatRouteMemory } from '../../src/agent/dataplane/xdp/route-memory.ts'
import { RouteTable } from '../../src/agent/dataplane/xdp/route-table.ts'
import { ServiceNumbers } from '../../src/agent/dataplane/xdp/service-numbers.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { HOSTS, TUNNEL, VIP } from './dataplane-world.ts'
import { buildFrame } from './ethernet.ts'
import { addressWords, buildTcp4, buildUdp4, type PacketOptions, type TcpOptions } from './packets.ts'
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
/** OVERHEAD: IPv4, UDP, mapping header. */
export const OVERHEAD = 20 + 8 + 48

export const hostKey = (index: number): Uint32Array => Uint32Array.of(index, 2, 3, 0x80000000 + index)
export const ownKey = Uint32Array.of(9, 8, 7, 6)

const ipv4 = (text: string): number => addressWords(text)[3]

const makeDirectory = (): Directory => ({
  hosts: Object.keys(MEMBERS).map((name): HostEntry => {
    const { index, address } = HOSTS[name as Member]
    return {
      ...{ index, name, words: addressWords(address[4]), ipv4: ipv4(address[4]), self: name === 'local' },
      ...{ hash: 5_000 + index, leaving: false, live: true, draining: false },
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
  services: [
    { name: 'web', port: 80, protocol: 6 },
    { name: 'dns', port: 53, protocol: 17 },
  ].map((service, index) => ({
    ...{ ...service, index, vip: addressWords(VIP[4]) },
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
  timeouts: { ...TIMEOUTS, quarantine: 60_000, routeLease: 60_000, unattended: 30_000, drain: 0 },
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
  readonly #mapped: MappedArray[] = []

  private constructor(xdp: XdpLab, embryoBuckets: number) {
    this.xdp = xdp
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
    const numbers = new ServiceNumbers()
    numbers.replace(directory.services)
    this.maps = {
      ...{
        bss: map('bss').bytes,
        services: map('class_services').bytes,
        choices: map('class_choices').bytes,
      },
      pools: map('class_pools').bytes,
      embryos: new RouteTable(formatRouteMemory(map('embryos4').bytes, 4, embryoBuckets, testSecret(5))),
      routes: xdp.tables[4],
      events: xdp.object.map('class_events'),
    }
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
    const key = this.xdp.tables[4].newKey()
    const unroute = (words: Uint32Array, at: number): void => {
      this.xdp.tables[4].remove(key.set(words, at, words[at + 8] >>> 16, words[at + 9] === 6 ? 1 : 2))
    }
    const plumber = {
      ...{ lasting: true, unroute, route: () => {}, local: () => {} },
      unrouteAll: (places: { key: Uint32Array; at: number }[]) => {
        for (const place of places) unroute(place.key, place.at)
      },
    }
    return {
      ...{ plan: this.plan, output: {}, datagrams: { send: () => {} }, plumber, drops: new DropCounters() },
      ...{ kernel: this.first, nowS: () => 0, epochChanged: () => {} },
    } as unknown as EngineParts
  }

  static async open(): Promise<ClassLab> {
    const size = routeMapSize(4, EMBRYOS)
    const xdp = await XdpLab.open(ROUTES, () => ({
      ...edgeProgram(),
      set: [[EDGE_GLOBALS.embryos4Buckets, size.buckets]],
      maxEntries: { embryos4: size.entries, class_choices: 4 },
    }))
    return new ClassLab(xdp, size.buckets)
  }

  /** A packet from a client; what became of it. */
  send(
    client: string,
    sourcePort: number,
    options: TcpOptions & { protocol?: number; frame?: Parameters<typeof buildFrame>[1] } = {},
  ): { verdict: number; data: Uint8Array; frame: Uint8Array; counted: string } {
    const { protocol = 6, frame: around, ...packet } = options
    const all: PacketOptions = { source: client, destination: VIP[4], sourcePort, ...packet }
    const bytes =
      protocol === 6
        ? buildTcp4({ destinationPort: 80, flags: 2, ...all })
        : buildUdp4({ destinationPort: 53, payload: Uint8Array.of(1, 2, 3), ...all })
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
    const packet = data.subarray(14 + 4 * tags)
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
    const bytes = new Uint8Array(48)
    encodeMappingHeader(header, bytes, 0, key)
    return buildFrame(
      buildUdp4({ source, destination: OWN, sourcePort: PORT, destinationPort: PORT, payload: bytes }),
    )
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
