/** What the rules are made from (ruleset.ts). */
export interface RulesetPlan {
  /** Node name: tables are named after it, so that several agents can share a kernel. */
  readonly node: string
  readonly uplink: readonly string[]
  readonly cluster: readonly string[]
  readonly clusterAddress: string
  /** Where tunnelled IPv6 packets come to this node; left out: nowhere. */
  readonly clusterAddress6?: string | undefined
  /** Source address of frames that XDP has done with (bpf/own-stack.h), which the own stack gets as they are; null: none are. */
  readonly doneBy?: string | null
  readonly forwarder: {
    readonly tunnelAddress: string
    /** Left out: IPv6 services are not carried here. */
    readonly tunnelAddress6?: string | undefined
    readonly services: readonly { readonly vip: string; readonly protocol: string; readonly port: number }[]
    /** Hosts other than this node. */
    readonly hosts: readonly HostHop[]
    /** The same by IPv6. */
    readonly hosts6?: readonly HostHop[] | undefined
    readonly routeCapacity: number
  } | null
  readonly host: {
    readonly tunnels: readonly string[]
    readonly tunnels6?: readonly string[] | undefined
    readonly mappingCapacity: number
  } | null
}

/** A host, with the next hop and interface that lead to its address. */
export interface HostHop {
  readonly index: number
  readonly address: string
  readonly hop: string
  readonly link: string
  /** Bytes, where the way takes less than an uplink may bring. */
  readonly mtu?: number | undefined
}
