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

export type Grace = Pick<OwnershipTimes, 'graceMs'>

/** Where the kernel takes no new connections without the agent: nobody gains by waiting for that one. */
export const NO_GRACE: Grace = { graceMs: 0 }

const clamp = (least: number, value: number, most: number): number => Math.min(most, Math.max(least, value))

/** Between two renewals of the kernel's lease on an address. */
export const renewMs = ({ graceMs }: Grace): number => clamp(1_000, graceMs / 15, 5_000)

/**
 * How long the kernel keeps an address that is not renewed, in whole seconds, as it counts: the grace after any end of the agent, and two
 * renewals that are late at least. An agent that was late by as much has lost its VIPs.
 */
export const leaseMs = (times: Grace): number =>
  Math.ceil((Math.max(times.graceMs, 2 * renewMs(times)) + renewMs(times)) / 1000) * 1000

/**
 * When others take what a silent agent held: its kernel has let go by then. That looks up to a second late (Linux: ADDRCONF_TIMER_FUZZ_MAX), not
 * at once under load, and counts by another clock.
 */
export const silentMs = (times: Grace): number => leaseMs(times) * 1.02 + 1_440

/**
 * Of an address that an agent before left: when there is less, its new agent leaves it to the others, which may take it before they can hear
 * that there is one again (links need up to 2 s).
 */
export const ADOPT_MS = 1_000
