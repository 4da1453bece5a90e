import type { KernelFlow } from './kernel-flows.ts'
import type { MappingHeader } from './mapping-header.ts'
import type { PacketRef } from './packet-ref.ts'

/** What the forwarder core may do to the world; the worker does it, tests record it. */
export interface ForwarderPorts {
  /** Rewrite the packet to (own tunnel address -> host, identifier) and send it; TTL already decremented. */
  tunnel(packet: PacketRef, identifier: number, hostIndex: number): void
  /** Put the packet whole into another one to the host and send it (R-A4); TTL already decremented. */
  encapsulate(packet: PacketRef, hostIndex: number): void
  /** Hand the packet, as it came, to this node's own stack. */
  deliverLocal(packet: PacketRef): void
  /** Send a mapping datagram; `packet` follows the header when given. The port adds key number, time and tag. */
  datagram(header: MappingHeader, destinationIpv4: number, packet: PacketRef | null): void
  /** Put the route of a slot into the kernel for one lease. */
  plumb(slot: number): void
  /** Take the route of a slot out of the kernel before its lease ends. */
  unplumb(slot: number): void
  /** The same for many. */
  unplumbAll(slots: readonly number[]): void
  /** The flow was purged: its classifier's inventory forgets it (R-D4). */
  ended(slot: number): void
  /** @param packet of a client, which may be told why */
  drop(reason: number, packet?: PacketRef): void
  /** Shows the flow of a slot, which has a host, to the kernel, so that it goes on there; false: that is not the kernel's to do. */
  embryo?(slot: number): boolean
  /** The kernel forgets it; true: it has given it a route meanwhile, which is gone too. */
  unembryo?(slot: number): boolean
  /** The kernel forgets a flow by its key, if it has this identifier there (0: whatever it has). */
  forget?(key: Uint32Array, identifier: number): void
  /** What the kernel knows of a flow by its key. */
  search?(key: Uint32Array): (KernelFlow & { readonly isRoute: boolean }) | null
}

/** One object for all parts of a forwarder core; its owner may assign new values while packets flow, but for `tunnelWords`, `epoch`. */
export interface ForwarderSettings {
  readonly tunnelWords: Uint32Array
  readonly epoch: number
  readonly mtuBytes: number
  readonly timeouts: {
    readonly embryonic: number
    readonly tcpIdle: number
    readonly udpIdle: number
    readonly linger: number
    readonly routeLease: number
  }
  /** Slow-path packets after which an established flow is worth a kernel route. */
  readonly plumbAfterPackets: number
  readonly hasClassifier: boolean
  /** Somebody keeps the routes of services with `copies`, and can be asked whose a packet from a flow's middle is (MidFlow). */
  readonly resolves?: boolean
  /** Routes stay in the kernel until they are taken out, or said to be gone (Plumber); else for one lease. */
  readonly lasting?: boolean
  /** The kernel's routes can deliver by full encapsulation too (Plumber); else such flows get none. */
  readonly encapsulates?: boolean
}

export interface ForwarderCounters {
  slowPackets: number
  newFlows: number
  adoptedFlows: number
  promotedFlows: number
  endedFlows: number
  /** A SYN on a closing flow: the client uses its ports again. */
  reusedFlows: number
  evictedEmbryonic: number
  evictedRoutes: number
  plumbs: number
  plumbFailures: number
  mappingsSent: number
  mappingsAcknowledged: number
  asksAnswered: number
  asksUnknown: number
  classifySent: number
  heldPackets: number
}

export const forwarderCounters = (): ForwarderCounters => ({
  slowPackets: 0,
  newFlows: 0,
  adoptedFlows: 0,
  promotedFlows: 0,
  endedFlows: 0,
  reusedFlows: 0,
  evictedEmbryonic: 0,
  evictedRoutes: 0,
  plumbs: 0,
  plumbFailures: 0,
  mappingsSent: 0,
  mappingsAcknowledged: 0,
  asksAnswered: 0,
  asksUnknown: 0,
  classifySent: 0,
  heldPackets: 0,
})
