/** What of a node's plan is XDP's. */
export interface XdpLink {
  readonly name: string
  readonly index: number
  readonly program: 'edge_uplink' | 'edge_cluster' | 'edge_both'
}

/** An interface that leads to other nodes. */
export interface XdpExit {
  readonly name: string
  readonly index: number
  /** `veth`, ...; null: a physical one. */
  readonly kind: string | null
}

export interface XdpPlan {
  /** `auto`: only if all interfaces can have it native; `xdp`: in any way, or the agent does not start. */
  readonly asked: 'auto' | 'xdp'
  /** Source address of frames that are restored: by it the rules behind let them through. */
  readonly mark: Uint8Array
  readonly links: readonly XdpLink[]
  readonly exits: readonly XdpExit[]
  /** Of a host: by which it acknowledges what forwarders tell it. */
  readonly answers: readonly XdpExit[]
}
