import type { MappingHeader } from './mapping-header.ts'

/**
 * How routes and mappings get into the kernel, and out again: by nftables (nft/plumber.ts) or by XDP (xdp/xdp-plumber.ts). Changes gather and
 * are in force after `flush`; what is taken out is out when the call returns.
 */
export type RouteKind = 'route' | 'fixed' | 'local'

/** Told of a slot whose change the kernel refused for good. */
export interface PlumbFailures {
  readonly route: (slot: number) => void
  readonly mapping: (slot: number) => void
}

/** Told by a sweep, of a plumber that is `lasting`. Keys are good until the call returns. */
export interface PlumbUse {
  /** Packets follow the route (flow key, ten words); the last one about at `usedMs`. */
  readonly routeUsed: (key: Uint32Array, usedMs: number, identifier: number) => void
  /** The route has left the kernel by itself: its lease is over, or it gave way to another. */
  readonly routeGone: (key: Uint32Array) => void
  readonly mappingUsed: (tunnel: number, identifier: number, usedMs: number) => void
  readonly mappingGone: (tunnel: number, identifier: number) => void
  /** The kernel has learnt a mapping and taken in the packet that came with it (its TCP flags). `tunnelled`: packets have followed it. */
  readonly mappingLearnt?: (header: MappingHeader, tcpFlags: number, tunnelled: boolean) => void
  /** A FIN or RST has followed the mapping. */
  readonly mappingCloses?: (tunnel: number, identifier: number) => void
}

export interface RoutePlace {
  /** Ten words from `at`: the flow key. */
  readonly key: Uint32Array
  readonly at: number
  readonly kind: RouteKind
}

export interface MappingPlace {
  /** The forwarder's tunnel address of IPv4, host order, for mappings of both families. */
  readonly tunnel: number
  readonly identifier: number
  readonly protocol: number
  /** Of its packets. */
  readonly family: 4 | 6
  readonly neutral: boolean
}

export interface PlumbCounters {
  batches: number
  changes: number
  batchFailures: number
  changeFailures: number
}

/** What a plumber that learns mappings by itself offers to the host's core. */
export interface PlumbLearning {
  /** Readable while there is something to receive. */
  readonly fd: number
  /** Tells of what happened, at most so many times. Answers how many. */
  receive(max: number): number
  /** Tells of all that happened, and of all that was learnt and is not the agent's yet. */
  drain(): void
  /** The only epoch of the tunnel's identifiers from now on. */
  epoch(tunnel: number, epoch: number): void
  /**
   * Whether a message is older than what the kernel has acknowledged: of its identifier, or of another that stands in the same place. What the kernel has
   * learnt of the identifier is told of before this returns.
   */
  supersedes(tunnel: number, epoch: number, identifier: number, sequence: number): boolean
  /** Takes out what was learnt, and is not to be in force. */
  forget(tunnel: number, identifier: number): void
  /** When a packet last followed a mapping (ms; before it was plumbed if none did), or 0: it is not in the kernel. */
  usedMs(tunnel: number, identifier: number, nowMs: number): number
  /** Bounded work, several times a second. */
  sweep(nowMs: number): void
}

export interface Plumber {
  /** Left out: all mappings are learnt by the agent. */
  readonly learning?: PlumbLearning
  /** What is put in stays until it is taken out, or until `PlumbUse` tells that it has gone; else it goes by itself when its lease ends. */
  readonly lasting: boolean
  /** Its routes deliver as the service says; false: only tunnelled (R-A4). */
  readonly encapsulates: boolean
  readonly counters: Readonly<PlumbCounters>
  /** Forwarder: flow key (ten words at `at`) -> identifier. */
  route(
    slot: number,
    key: Uint32Array,
    at: number,
    identifier: number,
    neutral: boolean,
    leaseMs: number,
  ): void
  /** Forwarder that is also the host: the packet is left to the own stack. */
  local(slot: number, key: Uint32Array, at: number, leaseMs: number): void
  unroute(key: Uint32Array, at: number, kind: RouteKind): void
  unrouteAll(places: readonly RoutePlace[]): void
  /** Host: (tunnel address, identifier) -> tuple (ten words at `at`). */
  mapping(
    slot: number,
    tunnel: number,
    identifier: number,
    tuple: Uint32Array,
    at: number,
    neutral: boolean,
    leaseMs: number,
  ): void
  unmap(places: readonly MappingPlace[]): void
  /** All mappings of a tunnel address at once; false: it cannot, so take them out one by one. */
  unmapTunnel(tunnel: number): boolean
  flush(): void
  /**
   * Bounded work, several times a second: leases that have ended, and what is told of use.
   * @param leaseMs in force now
   * @param keepMs how long an idle route stays that no FIN or RST has followed; left out: as any
   */
  sweep(nowMs: number, leaseMs: number, keepMs?: number): void
  /** The forwarder role went: nothing of it stays. */
  clearRoutes(): void
  /** The host role went. */
  clearMappings(): void
}

/** Until when (ms) the kernel may hold what is plumbed now. */
export const leaseEnd = (
  settings: { readonly lasting?: boolean; readonly timeouts: { readonly routeLease: number } },
  nowMs: number,
): number => (settings.lasting ? Number.POSITIVE_INFINITY : nowMs + settings.timeouts.routeLease)
