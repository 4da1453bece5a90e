/** The world of the data plane's cases for XDP: a namespace with its interfaces, routes and neighbours, and edge.bpf.c in it. */
import {
  COUNTER,
  COUNTS_BYTES,
  DEVICE,
  DEVICE_BYTES,
  EDGE_CONFIG,
  EDGE_GLOBALS,
  EDGE_LAYOUT,
  HOST,
  TRAFFIC_BYTES,
} from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { type Family, routeMapSize } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { formatRouteMemory, openRouteMemory } from '../../src/agent/dataplane/xdp/route-memory.ts'
import { RouteTable } from '../../src/agent/dataplane/xdp/route-table.ts'
import { ServiceTable } from '../../src/agent/dataplane/xdp/service-table.ts'
import { bpfObject } from '../../src/assets.ts'
import type { GlobalPlace } from '../../src/os/bpf/globals.ts'
import { type LoadedObject, type LoadOptions, loadObject } from '../../src/os/bpf/load.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { type BpfObjectFile, decodeObject } from '../../src/os/bpf/object-file.ts'
import { link } from '../../src/os/netlink/route.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import { index } from './bpf.ts'
import type { CaseRoute } from './dataplane-case.ts'
import {
  type Exit,
  FAMILIES,
  HOSTS,
  JUMBO_MTU,
  NARROW_MTU,
  OPEN_VIP,
  SERVICES,
  TUNNEL,
  VIP,
  VLAN_TAG,
  type WorldHost,
} from './dataplane-world.ts'
import { mac } from './ethernet.ts'
import { makeNetns, type TestNetns } from './netns.ts'
import { addressBytes, addressWords, join } from './packets.ts'
import { testSecret } from './routes.ts'

/** Interface and subnet of each exit; the n-th has 10.5n.0.1/16 and fd00:5n::1/64. */
export const LINKS: Readonly<Record<Exit, { name: string; net: number; mtu: number; mac: number }>> = {
  uplink: { name: 'u0', net: 50, mtu: JUMBO_MTU, mac: 0x50 },
  cluster: { name: 'c0', net: 51, mtu: JUMBO_MTU, mac: 0x51 },
  narrow: { name: 'n0', net: 52, mtu: NARROW_MTU, mac: 0x52 },
  // Stands for a VLAN device on the uplink, which not every kernel has: the programs know it by `devices` alone.
  vlan: { name: 'v0', net: 53, mtu: JUMBO_MTU, mac: 0x53 },
  elsewhere: { name: 'e0', net: 54, mtu: JUMBO_MTU, mac: 0x54 },
}
const EXITS = Object.keys(LINKS) as Exit[]
const macText = (last: number): string =>
  Buffer.from(mac(last))
    .toString('hex')
    .replaceAll(/..(?!$)/g, '$&:')

export const sourceOf = ({ exit }: WorldHost): Uint8Array => {
  if (exit === undefined) throw new Error('nothing leads to that host')
  return mac(LINKS[exit].mac)
}

export const makeWorld = async (): Promise<TestNetns> => {
  const netns = await makeNetns()
  netns.run(() => {
    writeSysctl('net.ipv6.conf.default.accept_dad', 0)
    writeSysctl('net.ipv6.conf.default.router_solicitations', 0)
  })
  await ipBatch(netns.name, [
    'link set lo up',
    ...Object.values(LINKS).flatMap(({ name, mtu, mac: last }) => [
      `link add ${name} mtu ${mtu} address ${macText(last)} type veth peer name ${name}p mtu ${mtu}`,
      `link set ${name}p up`,
      `link set ${name} up`,
    ]),
    ...EXITS.flatMap(exit => [
      `address add 10.${LINKS[exit].net}.0.1/16 dev ${LINKS[exit].name}`,
      `address add fd00:${LINKS[exit].net}::1/64 dev ${LINKS[exit].name} nodad`,
    ]),
    'route add blackhole 10.98.0.0/16',
    'route add blackhole fd00:98::/64',
  ])
  await ipBatch(
    netns.name,
    Object.values<WorldHost>(HOSTS).flatMap(({ address, exit, neighbour }) =>
      exit === undefined || neighbour === undefined
        ? []
        : Object.values(address).map(
            text =>
              `neighbour replace ${text} lladdr ${macText(neighbour)} dev ${LINKS[exit].name} nud permanent`,
          ),
    ),
  )
  return netns
}

/** By counter, without COUNT_; only those that counted. */
export type Counted = Readonly<Record<string, number>>

const NAMES = Object.entries(COUNTER)
  .filter(([name]) => name.startsWith('COUNT_'))
  .map(([name, number]): [string, number] => [name.slice('COUNT_'.length), number])

type Globals = Readonly<
  Record<
    'config' | 'tickShift' | 'routes4Buckets' | 'routes6Buckets' | 'routes4Secret' | 'routes6Secret',
    GlobalPlace
  >
>
export interface Program {
  readonly file: BpfObjectFile
  readonly globals: Globals
  /** Further globals. */
  readonly set?: LoadOptions['set']
  /** Other sizes of maps. */
  readonly maxEntries?: LoadOptions['maxEntries']
}

export const edgeProgram = (): Program => {
  const file = decodeObject(bpfObject('edge'))
  if (file.layout !== EDGE_LAYOUT) throw new Error('edge.bpf.c was not built since it changed: make bpf')
  return { file, globals: EDGE_GLOBALS }
}

/** edge.bpf.c in a namespace. Close it before the namespace is removed. */
export class XdpLab {
  readonly netns: TestNetns
  readonly object: LoadedObject
  readonly tables: Readonly<Record<Family, RouteTable>>
  readonly services: ServiceTable
  readonly config: MappedArray
  readonly hosts: MappedArray
  /** Interface that packets come in by. */
  readonly ingress: number
  readonly #mapped: readonly MappedArray[]

  readonly #globals: Globals

  private constructor(netns: TestNetns, routes: number, { file, globals, set = [], maxEntries }: Program) {
    this.netns = netns
    this.#globals = globals
    const secret = testSecret(5)
    const bytes = new Uint8Array(secret.buffer)
    const [four, six] = FAMILIES.map(family => routeMapSize(family, routes))
    this.object = loadObject(file, {
      layout: file.layout,
      set: [
        [globals.routes4Buckets, four.buckets],
        [globals.routes6Buckets, six.buckets],
        [globals.routes4Secret, bytes],
        [globals.routes6Secret, bytes],
        [globals.tickShift, 30],
        ...set,
      ],
      maxEntries: { routes4: four.entries, routes6: six.entries, ...maxEntries },
    })
    const map = (name: string): MappedArray => new MappedArray(this.object.map(name))
    const [routes4, routes6, services, hosts, config] = [
      'routes4',
      'routes6',
      'services',
      'hosts',
      'bss',
    ].map(map)
    this.#mapped = [routes4, routes6, services, hosts, config]
    formatRouteMemory(routes4.bytes, 4, four.buckets, secret)
    formatRouteMemory(routes6.bytes, 6, six.buckets, secret)
    this.tables = {
      4: new RouteTable(openRouteMemory(routes4.bytes)),
      6: new RouteTable(openRouteMemory(routes6.bytes)),
    }
    this.services = new ServiceTable(services.bytes)
    this.hosts = hosts
    this.config = config
    this.ingress = this.interfaceOf('uplink')
    this.#fill()
  }

  /**
   * @param routes of each family
   * @param program another one with the same maps, for benchmarks
   */
  static async open(routes = 1000, program: () => Program = edgeProgram): Promise<XdpLab> {
    return new XdpLab(await makeWorld(), routes, program())
  }

  interfaceOf(exit: Exit): number {
    return this.netns.run(() => link(LINKS[exit].name).index)
  }

  /** Sets a word of the configuration by its place in EDGE_CONFIG. */
  configure(place: number, value: number): void {
    this.config.view.setUint32(this.#globals.config.offset + place, value, true)
  }

  configured(place: number): number {
    return this.config.view.getUint32(this.#globals.config.offset + place, true)
  }

  #fill(): void {
    for (const family of FAMILIES)
      for (const { vip, port, protocol, number } of SERVICES)
        this.services.set(addressWords(vip[family]), 0, port, protocol, number)
    const vips = this.object.map('vips')
    const key = (text: string): Uint8Array => {
      const bytes = addressBytes(text)
      return bytes.length === 16 ? bytes : join(new Uint8Array(10), Uint8Array.of(0xff, 0xff), bytes)
    }
    for (const family of FAMILIES) {
      vips.update(key(VIP[family]), index(0))
      vips.update(key(OPEN_VIP[family]), index(1))
      const at = family === 4 ? EDGE_CONFIG.tunnel4W : EDGE_CONFIG.tunnel6W
      this.config.bytes.set(key(TUNNEL[family]), this.#globals.config.offset + at)
    }
    for (const { index: number, address } of Object.values<WorldHost>(HOSTS)) {
      const at = number * this.hosts.stride
      if (address[4] !== undefined) this.hosts.bytes.set(addressBytes(address[4]), at + HOST.ipv4)
      if (address[6] !== undefined) this.hosts.bytes.set(addressBytes(address[6]), at + HOST.ipv6)
      const families = (address[4] === undefined ? 0 : 1) | (address[6] === undefined ? 0 : 2)
      this.hosts.view.setUint32(at + HOST.families, families, true)
    }
    const devices = this.object.map('devices')
    for (const exit of ['uplink', 'cluster', 'narrow', 'vlan'] as const) {
      const value = new Uint8Array(DEVICE_BYTES)
      const view = new DataView(value.buffer)
      view.setUint32(DEVICE.link, this.interfaceOf(exit === 'vlan' ? 'uplink' : exit), true)
      if (exit === 'vlan') {
        view.setUint16(DEVICE.vlanType, VLAN_TAG.type)
        view.setUint16(DEVICE.vlanTci, VLAN_TAG.tci)
      }
      devices.update(index(this.interfaceOf(exit)), value)
    }
    this.configure(EDGE_CONFIG.localHost, HOSTS.local.index)
    // Next hops are looked up as for what this node sends itself: no interface has to forward.
    this.configure(EDGE_CONFIG.fibInterface, 1)
    this.netns.run(() => {
      writeSysctl('net.ipv4.conf.lo.forwarding', 1)
      writeSysctl('net.ipv6.conf.lo.forwarding', 1)
    })
    this.configure(EDGE_CONFIG.roles, 1)
  }

  addRoute(family: Family, { client, port, service, ...content }: CaseRoute, stamp = 0): void {
    const table = this.tables[family]
    const key = table.newKey().set(addressWords(client), 0, port, service)
    table.insert(key, { generation: 0, pinned: false, ...content }, stamp)
  }

  removeRoute(family: Family, { client, port, service }: CaseRoute): void {
    const table = this.tables[family]
    table.remove(table.newKey().set(addressWords(client), 0, port, service))
  }

  /** Tick of a route's last packet; -1: it is not there. */
  stampOf(family: Family, { client, port, service }: CaseRoute): number {
    const table = this.tables[family]
    return table.get(table.newKey().set(addressWords(client), 0, port, service))?.stamp ?? -1
  }

  /** One packet, once. Call it inside of `netns.run`. */
  run(frame: Uint8Array, program = 'edge_uplink'): { verdict: number; data: Uint8Array } {
    return this.object
      .program(program)
      .testRun({ data: frame, room: frame.length + 64, ingress: { interfaceIndex: this.ingress } })
  }

  counted(): Counted {
    const value = this.object.map('counters').lookup(index(0))
    if (value === null) throw new Error('no counters')
    const view = new DataView(value.buffer)
    const sum = (number: number): number => {
      let total = 0
      for (let at = number * 8; at < value.length; at += COUNTS_BYTES)
        total += Number(view.getBigUint64(at, true))
      return total
    }
    return Object.fromEntries(
      NAMES.map(([name, number]): [string, number] => [name, sum(number)]).filter(([, n]) => n > 0),
    )
  }

  resetCounters(): void {
    const counters = this.object.map('counters')
    counters.update(index(0), new Uint8Array(counters.valueBytes))
  }

  /** Packets and bytes of a service or host, over all processors. */
  traffic(map: 'service_traffic' | 'host_traffic', number: number): { packets: number; bytes: number } {
    const value = this.object.map(map).lookup(index(number))
    if (value === null) throw new Error(`no traffic of ${number}`)
    const view = new DataView(value.buffer)
    let [packets, bytes] = [0, 0]
    for (let at = 0; at < value.length; at += TRAFFIC_BYTES) {
      packets += Number(view.getBigUint64(at, true))
      bytes += Number(view.getBigUint64(at + 8, true))
    }
    return { packets, bytes }
  }

  close(): void {
    for (const mapped of this.#mapped) mapped.release()
    this.object.close()
  }
}
