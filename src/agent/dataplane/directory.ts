/**
 * Who is who, as the packet path needs it: hosts by a small index (the top byte of flow identifiers),
 * forwarders by tunnel address, classifiers in order of preference, services by (VIP, port, protocol).
 * Built once from the node's configuration; only `live` and `draining` change (R-D6).
 */
export interface HostEntry {
  /** 1..255, local to this node. */
  readonly index: number
  readonly name: string
  /** Cluster address, four words (IPv4 as v4-mapped). */
  readonly words: Uint32Array
  /** Cluster address as a host-order 32-bit number. */
  readonly ipv4: number
  /** This very node: packets go to the own stack untouched. */
  readonly self: boolean
  /** Stable over the whole cluster: feeds the deterministic choice. */
  readonly hash: number
  live: boolean
  draining: boolean
}

export interface ForwarderEntry {
  readonly name: string
  readonly tunnelWords: Uint32Array
  readonly tunnelIpv4: number
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
  readonly vipIpv4: number
  readonly port: number
  readonly protocol: number
  /** Host indexes with their configured capacity, 0..99 (R-B1). */
  readonly hosts: readonly { readonly index: number; readonly capacity: number }[]
}

export interface Directory {
  readonly hosts: readonly HostEntry[]
  readonly forwarders: readonly ForwarderEntry[]
  readonly classifiers: readonly ClassifierEntry[]
  readonly services: readonly ServiceEntry[]
}

/** Look-ups over a directory that the packet path uses for each new flow. */
export class DirectoryIndex {
  readonly directory: Directory
  readonly #hostByIndex: (HostEntry | undefined)[] = []
  readonly #hostByAddress = new Map<number, HostEntry>()
  readonly #forwarderByTunnel = new Map<number, ForwarderEntry>()
  readonly #services = new Map<number, Map<number, ServiceEntry>>()

  constructor(directory: Directory) {
    this.directory = directory
    for (const host of directory.hosts) {
      this.#hostByIndex[host.index] = host
      this.#hostByAddress.set(host.ipv4, host)
    }
    for (const forwarder of directory.forwarders) this.#forwarderByTunnel.set(forwarder.tunnelIpv4, forwarder)
    for (const service of directory.services) {
      const ports = this.#services.get(service.vipIpv4) ?? new Map<number, ServiceEntry>()
      ports.set(service.protocol * 65536 + service.port, service)
      this.#services.set(service.vipIpv4, ports)
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

  service(vipIpv4: number, port: number, protocol: number): ServiceEntry | undefined {
    return this.#services.get(vipIpv4)?.get(protocol * 65536 + port)
  }

  /** The first classifier that is alive: a forwarder's default route (R-A3). */
  classifier(): ClassifierEntry | undefined {
    for (const classifier of this.directory.classifiers) if (classifier.live) return classifier
    return undefined
  }
}
