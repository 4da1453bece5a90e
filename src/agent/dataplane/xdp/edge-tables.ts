/** What the programs of edge.bpf.c know of a node's plan: services, hosts, tunnels, interfaces, and their configuration. */
import type { BpfMap } from '../../../os/bpf/map.ts'
import type { MappedArray } from '../../../os/bpf/mapped.ts'
import type { ServiceEntry } from '../directory.ts'
import type { DataplanePlan } from '../messages.ts'
import { DEVICE, DEVICE_BYTES, EDGE_CONFIG, EDGE_GLOBALS, HOST, STACK_MARK } from './layout/edge.ts'
import { numberOf, ServiceNumbers } from './service-numbers.ts'
import { ServiceTable } from './service-table.ts'
import { TargetTable } from './target-table.ts'
import { TunnelBook } from './tunnel-book.ts'
import { TunnelTable } from './tunnel-table.ts'
import type { XdpPlan } from './xdp-plan.ts'

/** Of bpf/config.h, hosts.h and services.h. */
const ROLE = { forwarder: 1, host: 2 } as const
const HOST_IPV4 = 1
const VIP_OPEN = 1
/** Next hops are looked up as for what this node sends itself: by the loopback, whose `forwarding` is on (KernelSetup). */
const LOOPBACK = 1
/** A next hop that was looked up is used again for so long. */
const HOP_LIFE_NS = 100_000_000

export class EdgeTables {
  readonly numbers = new ServiceNumbers()
  readonly book = new TunnelBook()
  readonly #services: ServiceTable
  readonly #hosts: MappedArray
  readonly #tunnels: TunnelTable
  readonly #targets: TargetTable
  readonly #bss: MappedArray
  readonly #vips: BpfMap
  readonly #devices: BpfMap
  /** Host index -> IPv4 address. */
  readonly #addresses = new Map<number, number>()
  readonly #knownVips = new Set<number>()
  readonly #exits = new Set<number>()
  /** Numbers of services that have a target. */
  readonly #served = new Set<number>()
  #ownIpv4 = 0
  #tunnelIpv4 = 0

  constructor(maps: {
    readonly services: MappedArray
    readonly hosts: MappedArray
    readonly tunnels: MappedArray
    readonly targets: MappedArray
    readonly bss: MappedArray
    readonly vips: BpfMap
    readonly devices: BpfMap
  }) {
    this.#services = new ServiceTable(maps.services.bytes)
    this.#hosts = maps.hosts
    this.#tunnels = new TunnelTable(maps.tunnels.bytes)
    this.#targets = new TargetTable(maps.targets.bytes)
    this.#bss = maps.bss
    this.#vips = maps.vips
    this.#devices = maps.devices
  }

  /** Indexes of hosts that packets go to. */
  get hosts(): number[] {
    const local = this.#configured(EDGE_CONFIG.localHost)
    return [...this.#addresses.keys(), ...(local === 0 ? [] : [local])]
  }

  /** The index and generation of a tunnel in the table of an agent before, whose mappings go on. */
  adoptTunnels(before: TunnelTable, plan: DataplanePlan): void {
    const wanted = new Set(tunnelsOf(plan))
    for (const { tunnel, own, index, generation } of before.entries())
      if (own[3] === plan.clusterIpv4 && wanted.has(tunnel[3])) this.book.adopt(tunnel[3], index, generation)
  }

  /** Source address of frames that are done with here. */
  mark(source: Uint8Array): void {
    const at = EDGE_GLOBALS.stackMark.offset
    this.#bss.bytes.set(source, at + STACK_MARK.source)
    this.#bss.view.setUint16(at + STACK_MARK.on, 1, true)
  }

  withdraw(plan: DataplanePlan): void {
    this.#configure(EDGE_CONFIG.roles, this.#configured(EDGE_CONFIG.roles) & rolesOf(plan))
    if ((plan.forwarder?.tunnelIpv4 ?? 0) !== this.#tunnelIpv4) this.#setTunnel(0)
    const hosts = forwardedHosts(plan)
    for (const [index, ipv4] of this.#addresses)
      if (hosts.get(index) !== ipv4) {
        this.#hosts.view.setUint32(index * this.#hosts.stride + HOST.families, 0, true)
        this.#addresses.delete(index)
      }
    const services = new Map(plan.directory.services.map(service => [numberOf(service), service]))
    const vips = new Set(plan.forwarder === null ? [] : plan.directory.services.map(({ vipIpv4 }) => vipIpv4))
    for (const service of this.numbers.all) {
      const same = sameService(services.get(numberOf(service)), service)
      if ((!same || plan.host === null) && this.#served.delete(numberOf(service)))
        this.#targets.delete(numberOf(service))
      if (same && plan.forwarder !== null) continue
      // Until `apply` has the whole of it.
      if (vips.has(service.vipIpv4)) this.#setVip(service.vipIpv4, VIP_OPEN)
      this.#services.delete(vipWords(service.vipIpv4), 0, service.port, service.protocol)
    }
    for (const vip of this.#knownVips)
      if (!vips.has(vip)) {
        this.#vips.delete(vipKey(vip))
        this.#knownVips.delete(vip)
      }
    const tunnels = new Set(tunnelsOf(plan))
    for (const tunnel of [...this.book.tunnels])
      if (!tunnels.has(tunnel)) {
        this.#tunnels.delete({ tunnel: vipWords(tunnel), own: vipWords(this.#ownIpv4) })
        this.book.remove(tunnel)
      }
  }

  apply(plan: DataplanePlan, { exits }: XdpPlan): void {
    this.#ownIpv4 = plan.clusterIpv4
    this.numbers.replace(plan.directory.services)
    this.#setDevices(exits.map(({ index }) => index))
    this.#setHosts(plan)
    this.#setServices(plan)
    for (const tunnel of tunnelsOf(plan)) this.#setTunnelIndex(tunnel, this.book.add(tunnel))
    if (plan.host !== null) this.#setTargets(plan.directory.services)
    this.#setTunnel(plan.forwarder?.tunnelIpv4 ?? 0)
    this.#configure(EDGE_CONFIG.fibInterface, LOOPBACK)
    this.#configure(EDGE_CONFIG.hopLifeNs, HOP_LIFE_NS)
    this.#configure(EDGE_CONFIG.hopGeneration, this.#configured(EDGE_CONFIG.hopGeneration) + 1)
    this.#configure(EDGE_CONFIG.roles, rolesOf(plan))
  }

  renewTunnel(tunnel: number): void {
    this.#setTunnelIndex(tunnel, this.book.renew(tunnel))
  }

  #setTunnelIndex(tunnel: number, index: number): void {
    const ends = { tunnel: vipWords(tunnel), own: vipWords(this.#ownIpv4) }
    if (index !== 0) this.#tunnels.set(ends, index, this.book.generations[index])
  }

  #setServices({ forwarder, directory }: DataplanePlan): void {
    if (forwarder === null) return
    const open = new Map<number, number>()
    for (const service of directory.services) {
      const { vipIpv4, port, protocol } = service
      const fits = this.#services.set(vipWords(vipIpv4), 0, port, protocol, numberOf(service))
      open.set(vipIpv4, (open.get(vipIpv4) ?? 0) | (fits ? 0 : VIP_OPEN))
    }
    for (const [vip, flags] of open) this.#setVip(vip, flags)
  }

  #setTargets(services: readonly ServiceEntry[]): void {
    for (const service of services) {
      const number = numberOf(service)
      if (this.#served.has(number)) continue
      this.#served.add(number)
      this.#targets.set(number, [vipWords(service.vipIpv4)], service.port, service.protocol)
    }
  }

  #setVip(vip: number, flags: number): void {
    if (this.#vips.update(vipKey(vip), u32(flags))) this.#knownVips.add(vip)
  }

  #setHosts(plan: DataplanePlan): void {
    const { view, stride } = this.#hosts
    for (const [index, ipv4] of forwardedHosts(plan)) {
      view.setUint32(index * stride + HOST.ipv4, ipv4)
      // Last: from here on packets go there.
      view.setUint32(index * stride + HOST.families, HOST_IPV4, true)
      this.#addresses.set(index, ipv4)
    }
    this.#configure(EDGE_CONFIG.localHost, localHostOf(plan))
  }

  #setDevices(indexes: readonly number[]): void {
    for (const index of indexes) {
      const value = new Uint8Array(DEVICE_BYTES)
      new DataView(value.buffer).setUint32(DEVICE.link, index, true)
      this.#devices.update(u32(index), value)
      this.#exits.add(index)
    }
    for (const index of this.#exits)
      if (!indexes.includes(index)) {
        this.#devices.delete(u32(index))
        this.#exits.delete(index)
      }
  }

  /** 0: none. */
  #setTunnel(ipv4: number): void {
    if (ipv4 === this.#tunnelIpv4) return
    const at = EDGE_GLOBALS.config.offset + EDGE_CONFIG.tunnel4W
    const { view } = this.#bss
    view.setUint32(at, 0)
    view.setUint32(at + 4, 0)
    view.setUint32(at + 8, ipv4 === 0 ? 0 : 0xffff)
    view.setUint32(at + 12, ipv4)
    this.#tunnelIpv4 = ipv4
  }

  #configure(place: number, value: number): void {
    this.#bss.view.setUint32(EDGE_GLOBALS.config.offset + place, value, true)
  }

  #configured(place: number): number {
    return this.#bss.view.getUint32(EDGE_GLOBALS.config.offset + place, true)
  }
}

/** This node's index as a host, or 0. */
export const localHostOf = ({ directory }: DataplanePlan): number =>
  directory.hosts.find(({ self }) => self)?.index ?? 0

const rolesOf = ({ forwarder, host }: DataplanePlan): number =>
  (forwarder === null ? 0 : ROLE.forwarder) | (host === null ? 0 : ROLE.host)

/** Index -> address of the hosts that this node sends to. */
const forwardedHosts = ({ forwarder, directory }: DataplanePlan): Map<number, number> =>
  new Map(
    forwarder === null
      ? []
      : directory.hosts.filter(({ self }) => !self).map(({ index, ipv4 }) => [index, ipv4]),
  )

/** Where tunnelled packets may come from: not from this node itself. */
const tunnelsOf = ({ host, directory, clusterIpv4 }: DataplanePlan): number[] =>
  host === null
    ? []
    : directory.forwarders.filter(({ ipv4 }) => ipv4 !== clusterIpv4).map(({ tunnelIpv4 }) => tunnelIpv4)

const sameService = (a: ServiceEntry | undefined, b: ServiceEntry): boolean =>
  a !== undefined && a.vipIpv4 === b.vipIpv4 && a.port === b.port && a.protocol === b.protocol

const vipWords = (ipv4: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, ipv4)

const vipKey = (ipv4: number): Uint8Array => {
  const key = new Uint8Array(16)
  const view = new DataView(key.buffer)
  view.setUint16(10, 0xffff)
  view.setUint32(12, ipv4)
  return key
}

const u32 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}
