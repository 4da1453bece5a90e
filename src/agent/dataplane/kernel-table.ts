import type { SequenceCounter } from './flow-mapping.ts'
import type { KernelFlow } from './kernel-flows.ts'

/** The kernel's tables of flows, as a forwarder uses them (decision 35). Keys are ten words from `at`. */
export interface KernelTable {
  readonly sequence: SequenceCounter
  /** Puts a flow among the embryonic ones; false: its service's flows are not the kernel's, or there is no room. `service`: its index. */
  put(key: Uint32Array, at: number, service: number, flow: KernelFlow): boolean
  /** Takes a flow out, if it has that identifier (0: this node is its host); true: it had a route. */
  take(key: Uint32Array, at: number, identifier: number): boolean
  /** Shares, leases or directives have changed: what follows from it is in force when this returns. */
  changed(nowMs: number): void
  /** What the kernel has told by now is known when this returns. */
  drain(): void
  search(key: Uint32Array): (KernelFlow & { readonly isRoute: boolean }) | null
}
