import type { Delivery } from '../../config/fields.ts'
import type { ClientPrefix } from '../classify/client-key.ts'
import { AddressMap } from './address-map.ts'
import { KEY_PORTS, KEY_PROTOCOL, KEY_VIP } from './flow-key.ts'
import type { IndexBook } from './index-book.ts'

/**
 * Who is who, as the packet path needs it: hosts by a small index (the top byte of flow identifiers),
 * forwarders by tunnel address, classifiers in order of preference, services by (VIP, port, protocol).
 * Built from the node's configuration, again whenever that changes: indexes keep their meaning (index-book.ts).
 */
export interface HostEntry {
  /** 1..255, local to this node. */
  readonly index: number
  readonly name: string
  /** Cluster address, four words (IPv4 as v4-mapped). */
  readonly words: Uint32Array
  /** Cluster address as a host-order 32-bit number: datagrams and control links go there, whatever family its packets are of. */
  readonly ipv4: number
  /** Where tunnelled IPv6 packets go; without it the host takes none. */
  readonly words6?: Uint32Array | undefined
  /** This very node: packets go to the own stack untouched. */
  readonly self: boolean
  /** Stable over the whole cluster: feeds the deterministic choice. */
  readonly hash: number
  /** Kept for the flows that it has, chosen for nothing new: whatever its agent says of itself. */
  readonly leaving: boolean
  live: boolean
  draining: boolean
}

export interface ForwarderEntry {
  readonly name: string
  readonly tunnelWords: Uint32Array
  /** Who the forwarder is, in mappings and their keys, of IPv6 flows too. */
  readonly tunnelIpv4: number
  /** Source of its tunnelled IPv6 packets; without it there are none. */
  readonly tunnelWords6?: Uint32Array | undefined
  readonly ipv4: number
}

export interface ClassifierEntry {
  readonly name: string
  readonly ipv4: number
  live: boolean
}

export interface ServiceEntry {
  readonly index: number
  readonly name: string
  /** Four words (IPv4 as v4-mapped). */
  readonly vip: Uint32Array
  readonly port: number
  readonly protocol: number
  /** Host indexes with their configured capacity, 0..99 (R-B1). */
  readonly hosts: readonly { readonly index: number; readonly capacity: number }[]
  /** How its packets go to hosts (R-A4); left out: `tunnel`. */
  readonly delivery?: Delivery
  /** By which part of its address a client keeps its host, and for how long (R-C2); left out: connections go each by itself. */
  readonly affinity?: ClientPrefix & { readonly timeoutMs: number }
  /** Copies of each route that other load balancing units keep (R-C5): 0..14, 15 for all of them; null, or left out: routes are no atoms. */
  readonly copies?: number | null
}

export interface Directory {
  readonly hosts: readonly HostEntry[]
  readonly forwarders: readonly ForwarderEntry[]
  readonly classifiers: readonly ClassifierEntry[]
  /** In order of the configuration. Not by index: see ServiceEntry.index. */
  readonly services: readonly ServiceEntry[]
  readonly hostIndexes: IndexBook
  readonly serviceIndexes: IndexBook
}

/** What is known of the health of services' hosts. */
export interface Readiness {
  /** The host has a share of the service, and a lease that holds. `host`: index of one that is alive and not draining. */
  takesNew(service: ServiceEntry, host: number): boolean
  /** No packet of the service may go to the host (R-B1). By their indexes. */
  isInactive(service: number, host: number): boolean
}

/** Look-ups over a directory that the packet path uses for each new flow. */
export class DirectoryIndex {
  #directory: Directory
  #hostByIndex: (HostEntry | undefined)[] = []
  #hostByAddress = new Map<number, HostEntry>()
  #forwarderByTunnel = new Map<number, ForwarderEntry>()
  #forwarderByTunnel6 = new AddressMap<ForwarderEntry>()
  #serviceByIndex: (ServiceEntry | undefined)[] = []
  /** By VIP, then by protocol and port. */
  #services = new AddressMap<Map<number, ServiceEntry>>()
  /** Null until there was an allotment. */
  readiness: Readiness | null = null

  constructor(directory: Directory) {
    this.#directory = directory
    this.#fill()
  }

  get directory(): Directory {
    return this.#directory
  }

  /** Another directory in the place of this one; what is known of who lives is carried over. */
  replace(directory: Directory): void {
    for (const host of directory.hosts) {
      const before = this.#hostByIndex[host.index]
      if (before === undefined) continue
      host.live = before.live
      host.draining = host.leaving || (before.draining && !before.leaving)
    }
    const alive = new Set(this.#directory.classifiers.filter(entry => entry.live).map(entry => entry.name))
    for (const classifier of directory.classifiers) classifier.live = alive.has(classifier.name)
    this.#directory = directory
    this.#fill()
  }

  /** What is heard of hosts' agents, by index; those that the directory does not have are passed over. */
  hostsAre(
    states: readonly { readonly index: number; readonly live: boolean; readonly draining: boolean }[],
  ): void {
    for (const { index, live, draining } of states) {
      const host = this.#hostByIndex[index]
      if (host === undefined) continue
      host.live = live
      host.draining = draining || host.leaving
    }
  }

  /** All others are not alive. */
  classifiersAlive(names: readonly string[]): void {
    for (const classifier of this.#directory.classifiers) classifier.live = names.includes(classifier.name)
  }

  #fill(): void {
    const { hosts, forwarders, services } = this.#directory
    this.#hostByIndex = []
    this.#serviceByIndex = []
    this.#hostByAddress = new Map()
    this.#forwarderByTunnel = new Map()
    this.#forwarderByTunnel6 = new AddressMap()
    this.#services = new AddressMap()
    for (const host of hosts) {
      this.#hostByIndex[host.index] = host
      // An address may have been taken over by a node of another name.
      if (!host.leaving || !this.#hostByAddress.has(host.ipv4)) this.#hostByAddress.set(host.ipv4, host)
    }
    for (const forwarder of forwarders) {
      this.#forwarderByTunnel.set(forwarder.tunnelIpv4, forwarder)
      if (forwarder.tunnelWords6 !== undefined)
        this.#forwarderByTunnel6.set(forwarder.tunnelWords6, 0, forwarder)
    }
    for (const service of services) {
      this.#serviceByIndex[service.index] = service
      const ports = this.#services.get(service.vip) ?? new Map<number, ServiceEntry>()
      ports.set(service.protocol * 65536 + service.port, service)
      this.#services.set(service.vip, 0, ports)
    }
  }

  host(index: number): HostEntry | undefined {
    return this.#hostByIndex[index]
  }

  hostAt(ipv4: number): HostEntry | undefined {
    return this.#hostByAddress.get(ipv4)
  }

  forwarderAt(tunnelIpv4: number): ForwarderEntry | undefined {
    return this.#forwarderByTunnel.get(tunnelIpv4)
  }

  /** By a tunnel address of IPv6: four words from `at`. */
  forwarderAt6(words: Uint32Array, at: number): ForwarderEntry | undefined {
    return this.#forwarderByTunnel6.get(words, at)
  }

  /** @param vip four words from `at` */
  service(vip: Uint32Array, at: number, port: number, protocol: number): ServiceEntry | undefined {
    return this.#services.get(vip, at)?.get(protocol * 65536 + port)
  }

  /** Of a flow key, from `at`. */
  serviceOf(key: Uint32Array, at: number): ServiceEntry | undefined {
    return this.service(key, at + KEY_VIP, key[at + KEY_PORTS] & 0xffff, key[at + KEY_PROTOCOL])
  }

  /** Whether some service has the address: four words from `at`. */
  isVip(words: Uint32Array, at: number): boolean {
    return this.#services.get(words, at) !== undefined
  }

  serviceAt(index: number): ServiceEntry | undefined {
    return this.#serviceByIndex[index]
  }

  /** Whether a host is one of those that new connections of a service go to. */
  takesNew(service: ServiceEntry | undefined, host: HostEntry): boolean {
    if (service === undefined || !host.live || host.draining) return false
    if (this.readiness !== null) return this.readiness.takesNew(service, host.index)
    return service.hosts.some(member => member.index === host.index && member.capacity > 0)
  }

  /** Whether a host must get no packet of a service, by their indexes: neither new flows' nor those of flows that it has (R-B1). */
  isInactive(service: number, host: number): boolean {
    return this.readiness?.isInactive(service, host) ?? false
  }

  /** The first classifier that is alive: a forwarder's default route (R-A3). */
  classifier(): ClassifierEntry | undefined {
    for (const classifier of this.#directory.classifiers) if (classifier.live) return classifier
    return undefined
  }
}
