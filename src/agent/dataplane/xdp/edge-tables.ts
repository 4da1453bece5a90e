/** What the programs of edge.bpf.c know of a node's plan: services, hosts, tunnels, interfaces, and their configuration. */
import type { BpfMap } from '../../../os/bpf/map.ts'
import type { MappedArray } from '../../../os/bpf/mapped.ts'
import { AddressMap } from '../address-map.ts'
import type { HostEntry, ServiceEntry } from '../directory.ts'
import { addressEquals, isIpv4 } from '../flow-key.ts'
import type { DataplanePlan } from '../messages.ts'
import { DEVICE, DEVICE_BYTES, EDGE_CONFIG, EDGE_GLOBALS, HOST, STACK_MARK } from './layout/edge.ts'
import { numberOf, ServiceNumbers } from './service-numbers.ts'
import { SERVICE_FLAG, ServiceTable } from './service-table.ts'
import { TargetTable } from './target-table.ts'
import { TunnelBook } from './tunnel-book.ts'
import { type TunnelEnds, TunnelTable } from './tunnel-table.ts'
import type { XdpPlan } from './xdp-plan.ts'

/** Of bpf/config.h, hosts.h and services.h. */
const ROLE = { forwarder: 1, host: 2 } as const
const HOST_IPV4 = 1
const HOST_IPV6 = 2
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
  readonly #forwardedHosts = new Map<number, HostEntry>()
  readonly #knownVips = new AddressMap<true>()
  readonly #exits = new Set<number>()
  /** To hosts. */
  #leading: readonly number[] = []
  /** Numbers of services that have a target. */
  readonly #served = new Set<number>()
  /** Tunnel by tunnel, one of each family that both ends have. */
  #ends = new Map<number, readonly TunnelEnds[]>()

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
    return [...this.#forwardedHosts.keys(), ...(local === 0 ? [] : [local])]
  }

  /** Tunnels keep the index and generation that an agent before gave them, so that their mappings go on. Comes before `apply`. */
  adoptTunnels(before: TunnelTable, plan: DataplanePlan): void {
    for (const [tunnel, ends] of tunnelsOf(plan)) {
      const [first, ...others] = ends.map(end => before.get(end))
      if (first == null || others.some(other => other?.index !== first.index)) continue
      this.book.adopt(tunnel, first.index, first.generation)
    }
  }

  /** Source address of frames that are done with here. */
  mark(source: Uint8Array): void {
    const at = EDGE_GLOBALS.stackMark.offset
    this.#bss.bytes.set(source, at + STACK_MARK.source)
    this.#bss.view.setUint16(at + STACK_MARK.on, 1, true)
  }

  withdraw(plan: DataplanePlan): void {
    this.#configure(EDGE_CONFIG.roles, this.#configured(EDGE_CONFIG.roles) & rolesOf(plan))
    for (const [at, words] of ownTunnels(plan))
      if (!this.#isTunnel(at, words)) this.#setTunnel(at, NO_ADDRESS)
    const hosts = forwardedHosts(plan)
    for (const [index, host] of this.#forwardedHosts)
      if (!sameAddresses(hosts.get(index), host)) {
        this.#hosts.view.setUint32(index * this.#hosts.stride + HOST.families, 0, true)
        this.#forwardedHosts.delete(index)
      }
    const services = new Map(plan.directory.services.map(service => [numberOf(service), service]))
    const known = new Set(knownServices(plan))
    const vips = new AddressMap<true>()
    for (const { vip } of forwardedServices(plan)) vips.set(vip, 0, true)
    for (const service of this.numbers.all) {
      const now = services.get(numberOf(service))
      const same = now !== undefined && sameService(now, service)
      if ((!same || plan.host === null) && this.#served.delete(numberOf(service)))
        this.#targets.delete(numberOf(service))
      if (same && known.has(now) && now.delivery === service.delivery) continue
      // Until `apply` has the whole of it.
      if (vips.get(service.vip)) this.#setVip(service.vip, VIP_OPEN)
      this.#services.delete(service.vip, 0, service.port, service.protocol)
    }
    for (const [vip] of [...this.#knownVips.entries()])
      if (!vips.get(vip)) {
        this.#vips.delete(addressKey(vip))
        this.#knownVips.delete(vip)
      }
    const tunnels = tunnelsOf(plan)
    for (const [tunnel, ends] of this.#ends) {
      if (String(tunnels.get(tunnel)?.flatMap(wordsOf)) === String(ends.flatMap(wordsOf))) continue
      for (const pair of ends) this.#tunnels.delete(pair)
      this.#ends.delete(tunnel)
      this.book.remove(tunnel)
    }
  }

  apply(plan: DataplanePlan, { exits }: XdpPlan): void {
    this.numbers.replace(plan.directory.services)
    this.#leading = exits.map(({ index }) => index)
    this.#setDevices(this.#leading)
    this.#setHosts(plan)
    this.#setServices(plan)
    for (const [tunnel, ends] of tunnelsOf(plan)) {
      this.#ends.set(tunnel, ends)
      this.#setTunnelIndex(tunnel, this.book.add(tunnel))
    }
    if (plan.host !== null) this.#setTargets(plan.directory.services)
    for (const [at, words] of ownTunnels(plan)) this.#setTunnel(at, words)
    this.#configure(EDGE_CONFIG.fibInterface, LOOPBACK)
    this.#configure(EDGE_CONFIG.hopLifeNs, HOP_LIFE_NS)
    this.#configure(EDGE_CONFIG.hopGeneration, this.#configured(EDGE_CONFIG.hopGeneration) + 1)
    this.#configure(EDGE_CONFIG.roles, rolesOf(plan))
  }

  renewTunnel(tunnel: number): void {
    this.#setTunnelIndex(tunnel, this.book.renew(tunnel))
  }

  #setTunnelIndex(tunnel: number, index: number): void {
    if (index === 0) return
    for (const ends of this.#ends.get(tunnel) ?? [])
      this.#tunnels.set(ends, index, this.book.generations[index])
  }

  /** A host finds by them what it may take out of full encapsulation; VIPs are the forwarder's. */
  #setServices(plan: DataplanePlan): void {
    const open = new AddressMap<number>()
    const forwarded = new Set(forwardedServices(plan))
    for (const service of knownServices(plan)) {
      const { vip, port, protocol, delivery } = service
      const flags = delivery === 'encapsulate' ? SERVICE_FLAG.encapsulate : 0
      const fits = this.#services.set(vip, 0, port, protocol, numberOf(service), flags)
      if (forwarded.has(service)) open.set(vip, 0, (open.get(vip) ?? 0) | (fits ? 0 : VIP_OPEN))
    }
    for (const [vip, flags] of open.entries()) this.#setVip(vip, flags)
  }

  #setTargets(services: readonly ServiceEntry[]): void {
    for (const service of services) {
      const number = numberOf(service)
      if (this.#served.has(number)) continue
      this.#served.add(number)
      this.#targets.set(number, [service.vip], service.port, service.protocol)
    }
  }

  #setVip(vip: Uint32Array, flags: number): void {
    if (this.#vips.update(addressKey(vip), u32(flags))) this.#knownVips.set(vip, 0, true)
  }

  #setHosts(plan: DataplanePlan): void {
    const { view, stride } = this.#hosts
    for (const [index, host] of forwardedHosts(plan)) {
      const at = index * stride
      view.setUint32(at + HOST.ipv4, host.ipv4)
      host.words6?.forEach((word, i) => {
        view.setUint32(at + HOST.ipv6 + 4 * i, word)
      })
      // Last: from here on packets go there.
      view.setUint32(at + HOST.families, HOST_IPV4 | (host.words6 === undefined ? 0 : HOST_IPV6), true)
      this.#forwardedHosts.set(index, host)
    }
    this.#configure(EDGE_CONFIG.localHost, localHostOf(plan))
  }

  /** Further interfaces that frames may be sent back by, until the next `apply`. */
  answer(indexes: readonly number[]): void {
    this.#setDevices([...new Set([...this.#leading, ...indexes])])
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

  /** @param place of the address in the configuration; all 0: there is none */
  #setTunnel(place: number, words: Uint32Array): void {
    if (this.#isTunnel(place, words)) return
    const at = EDGE_GLOBALS.config.offset + place
    words.forEach((word, i) => {
      this.#bss.view.setUint32(at + 4 * i, word)
    })
  }

  #isTunnel(place: number, words: Uint32Array): boolean {
    const at = EDGE_GLOBALS.config.offset + place
    return words.every((word, i) => this.#bss.view.getUint32(at + 4 * i) === word)
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

/** By index: the hosts that this node sends to. */
const forwardedHosts = ({ forwarder, directory }: DataplanePlan): Map<number, HostEntry> =>
  new Map(
    forwarder === null ? [] : directory.hosts.filter(({ self }) => !self).map(host => [host.index, host]),
  )

/** Those whose packets this node can send on: IPv6 needs a tunnel address of its own. */
const forwardedServices = ({ forwarder, directory }: DataplanePlan): readonly ServiceEntry[] =>
  forwarder === null
    ? []
    : directory.services.filter(({ vip }) => isIpv4(vip, 0) || forwarder.tunnelWords6 !== undefined)

/** And, at a host, what mappings may be learnt for and what it may take out. */
const knownServices = (plan: DataplanePlan): readonly ServiceEntry[] =>
  plan.host === null ? forwardedServices(plan) : plan.directory.services

const NO_ADDRESS = new Uint32Array(4)

/** Place in the configuration, and address: of each family. */
const ownTunnels = ({ forwarder }: DataplanePlan): readonly (readonly [number, Uint32Array])[] => [
  [EDGE_CONFIG.tunnel4W, forwarder?.tunnelWords ?? NO_ADDRESS],
  [EDGE_CONFIG.tunnel6W, forwarder?.tunnelWords6 ?? NO_ADDRESS],
]

/** Where tunnelled packets may come from: not from this node itself. */
const tunnelsOf = (plan: DataplanePlan): Map<number, readonly TunnelEnds[]> => {
  const { host, directory, clusterIpv4, clusterWords6: own6 } = plan
  const others = host === null ? [] : directory.forwarders.filter(forwarder => forwarder.ipv4 !== clusterIpv4)
  const own = Uint32Array.of(0, 0, 0xffff, clusterIpv4)
  return new Map(
    others.map(({ tunnelIpv4, tunnelWords, tunnelWords6: tunnel }) => [
      tunnelIpv4,
      [
        { tunnel: tunnelWords, own },
        ...(tunnel === undefined || own6 === undefined ? [] : [{ tunnel, own: own6 }]),
      ],
    ]),
  )
}

const wordsOf = ({ tunnel, own }: TunnelEnds): number[] => [...tunnel, ...own]

const sameAddresses = (a: HostEntry | undefined, b: HostEntry): boolean =>
  a !== undefined && a.ipv4 === b.ipv4 && String(a.words6) === String(b.words6)

const sameService = (a: ServiceEntry, b: ServiceEntry): boolean =>
  addressEquals(a.vip, 0, b.vip, 0) && a.port === b.port && a.protocol === b.protocol

/** As it stands in packets. */
const addressKey = (words: Uint32Array): Uint8Array => {
  const key = new Uint8Array(16)
  const view = new DataView(key.buffer)
  words.forEach((word, i) => {
    view.setUint32(4 * i, word)
  })
  return key
}

const u32 = (value: number): Uint8Array => {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}
