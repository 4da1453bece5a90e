import type { MappingHeader } from './mapping-header.ts'
import type { PacketRef } from './packet-ref.ts'

/** What the host core may do to the world. */
export interface HostPorts {
  /** Restore the packet's 4-tuple from mapping `slot` and put it into the own stack. */
  restore(packet: PacketRef, slot: number): void
  /** Put a packet that carries its true 4-tuple into the own stack. */
  inject(packet: PacketRef): void
  datagram(header: MappingHeader, destinationIpv4: number): void
  /** Put the mapping of `slot` into the kernel for one lease. */
  commit(slot: number): void
  /** Take mappings out of the kernel now; returns only when none of them is in force any more. */
  withdraw(slots: readonly number[]): void
  /** All of a tunnel address at once; false, or left out: it takes `withdraw`. */
  withdrawTunnel?(tunnel: number): boolean
  /** Mappings of the tunnel are of this epoch alone from now on, also those that the kernel learns by itself. */
  epoch?(tunnel: number, epoch: number): void
  /** See PlumbLearning.supersedes; the core's `learnt` is called meanwhile. */
  supersedes?(tunnel: number, epoch: number, identifier: number, sequence: number): boolean
  /** What the kernel has learnt by itself, and is not to be in force. */
  forget?(tunnel: number, identifier: number): void
  /** When a packet last followed the mapping of `slot` in the kernel (ms); 0: none did, as far as is known. */
  usedMs?(slot: number, nowMs: number): number
  drop(reason: number): void
}

/** Its owner may assign new values while packets flow. */
export interface HostSettings {
  /** Milliseconds; `mapping` is how long an unused mapping is kept. */
  readonly timeouts: {
    readonly embryonic: number
    readonly mapping: number
    readonly linger: number
    readonly routeLease: number
  }
  /** Slow-path packets after which a mapping is worth a place in the kernel. */
  readonly commitAfterPackets: number
  /** Largest difference between a message's time and ours, in seconds; must be below the quarantine. */
  readonly timeWindowS: number
  /** Requests for unknown identifiers a second, in all. */
  readonly asksPerSecond: number
  /** Mappings stay in the kernel until they are taken out, or said to be gone (Plumber); else for one lease. */
  readonly lasting?: boolean
}
