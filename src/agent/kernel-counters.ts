/** What the kernel did by itself: by the rules of nftables, and by XDP in front of them. Pure. */
import type { EdgeStatus } from './dataplane/xdp/edge.ts'

export type KernelCounters = Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>

/** Both, under the names of the rules' counters (KERNEL_COUNTERS). What XDP passed on, the rules have counted. */
export const kernelCounters = (rules: KernelCounters, edge: EdgeStatus | null): KernelCounters => {
  if (edge === null) return rules
  const { counters, forwardedBytes, restoredBytes } = edge
  const plus = (name: string, edgeNames: readonly string[], bytes: number): KernelCounters[string] => ({
    packets: (rules[name]?.packets ?? 0) + edgeNames.reduce((sum, one) => sum + (counters[one] ?? 0), 0),
    bytes: (rules[name]?.bytes ?? 0) + bytes,
  })
  return {
    ...rules,
    route_hit: plus(
      'route_hit',
      ['xdp_sent_back', 'xdp_redirected', 'xdp_encapsulated', 'xdp_local'],
      forwardedBytes,
    ),
    decap_hit: plus('decap_hit', ['xdp_restored', 'xdp_decapsulated'], restoredBytes),
    not_a_service: plus('not_a_service', ['xdp_not_a_service'], 0),
  }
}
