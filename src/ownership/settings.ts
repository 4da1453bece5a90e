/** Times of VIP ownership (ms), and why they are so. */

export interface OwnershipTimes {
  /** How long a VIP stays with a forwarder whose machine answers though its agent does not. */
  readonly graceMs: number
  /** How long the forwarders must all have been there, unchanged, before VIPs are moved to even out their shares. */
  readonly holdMs: number
  /** Between two standings: what a lost message costs at most. */
  readonly tellMs: number
  /** How long a new agent waits to hear of the others before it takes anything: their links need up to 2 s. */
  readonly startMs: number
  /** When the one that should take a VIP does not, the next one does, so much later. */
  readonly nextMs: number
  /** Of the nodes that were seen alive in this time the smallest number counts: what has just come back was not seen. */
  readonly supportMs: number
  /** How long one that leaves waits for each that it asks to take a VIP. */
  readonly leaveMs: number
}

export const OWNERSHIP_TIMES = {
  tellMs: 1_000,
  startMs: 3_000,
  nextMs: 500,
  supportMs: 5_000,
  leaveMs: 1_000,
} as const satisfies Partial<OwnershipTimes>

/** Between two renewals of the kernel's lease on an address. */
export const renewMs = ({ graceMs }: Pick<OwnershipTimes, 'graceMs'>): number =>
  Math.min(5_000, Math.max(1_000, graceMs / 4))

/**
 * How long the kernel keeps an address that is not renewed: the grace after any end of the agent. An agent that was late by as much has lost
 * its VIPs.
 */
export const leaseMs = (times: Pick<OwnershipTimes, 'graceMs'>): number =>
  Math.max(times.graceMs, 3 * renewMs(times)) + renewMs(times)

/** When others take what a silent agent held: the kernel, which counts in seconds, and by another clock, has let go of it by then. */
export const silentMs = (times: Pick<OwnershipTimes, 'graceMs'>): number =>
  leaseMs(times) + Math.max(3_000, leaseMs(times) / 20)
