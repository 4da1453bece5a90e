/** What `shunt trace` asks of a node and gets: what would become of a packet now. Part of types.ts. */
export interface TraceQuery {
  protocol: 'tcp' | 'udp'
  /** `address:port`, IPv6 in brackets; both of one family. */
  client: string
  vip: string
}

/** A route of the kernel. */
export interface TraceKernelRoute {
  by: 'xdp' | 'nftables'
  host: string
  /** 8 hexadecimal digits; `-`: the host is this node. */
  identifier: string
  state: 'embryonic' | 'young' | 'established' | 'fin' | 'reset' | 'reopened' | 'held'
  /** The host has acknowledged the identifier, or is this node. */
  mapped: boolean
  /** Since its last packet; `null`: the kernel does not tell (nftables). */
  idleMs: number | null
}

/**
 * How a flow came to its host: chosen for it as new; taken over from the agent before; known from this node's atom, or another load balancing
 * unit's; said by the host itself; nobody has it; guessed for an ICMP error.
 */
export type FlowOrigin = 'chosen' | 'kept' | 'own-atom' | 'member-atom' | 'host' | 'nobody' | 'guess'

/** The flow as the agent knows it. */
export interface TraceFlow {
  /** `null`: not chosen yet. */
  host: string | null
  identifier: string
  state: 'embryonic' | 'established' | 'closing'
  mapped: boolean
  plumbed: boolean
  origin: FlowOrigin
  slowPackets: number
  idleMs: number
  /** No packet of the service may go to the host now. */
  inactive: boolean
}

export interface TraceCandidate {
  host: string
  /** Of the new connections of the service. */
  percent: number
  tokens: number | null
  /** `null`: there are no leases yet, or one without an end. */
  leaseMs: number | null
  leftOut: string[]
}

/** What a first packet of the flow would get at this node. */
export interface TraceChoice {
  by: 'affinity' | 'capacity' | 'nothing' | 'stale' | 'hash' | 'percentages' | 'tokens'
  host: string | null
  candidates: TraceCandidate[]
}

export interface TraceMapping {
  /** Tunnel address of the forwarder. */
  tunnel: string
  identifier: string
  state: 'embryonic' | 'established' | 'closing' | 'committed'
  idleMs: number
  /** The kernel restores its packets by itself. */
  kernel: 'xdp' | 'nftables' | null
}

export interface TraceHostSide {
  mappings: TraceMapping[]
  /** State of the socket that a packet would meet, such as `established` or `listen`; `null`: none. */
  socket: string | null
}

export type TraceVerdict = 'forwarded' | 'own stack' | 'classifier' | 'dropped' | 'not ours'

export interface TraceData {
  protocol: 'tcp' | 'udp'
  client: string
  vip: string
  dataplane: string
  /** Some service here has the VIP. */
  inForce: boolean
  /** `null`: none on this port and protocol. */
  service: string | null
  /** This node is a forwarder. */
  forwarder: boolean
  kernel: TraceKernelRoute | null
  flow: TraceFlow | null
  /** `null` where the node chooses no hosts. */
  choice: TraceChoice | null
  /** Which one this forwarder asks about new flows; `null`: itself, or none is alive. */
  classifier: string | null
  nextHop: { address: string; interface: string } | null
  /** `null` where the node is no host. */
  hostSide: TraceHostSide | null
  verdict: TraceVerdict
  /** Where the packet would go, if that is a host. */
  host: string | null
  why: string
}
