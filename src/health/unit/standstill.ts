/**
 * Notices that this machine stood still: leases are on the monotonic clock, which stops while a machine is suspended, so that after
 * waking it would go on with rows that nobody has vouched for meanwhile (R-B6). Pure.
 */

export interface Clocks {
  readonly monotonicMs: number
  /** Since the machine started, with the time for which it was suspended. */
  readonly bootMs: number
  /** A virtual machine that its hypervisor paused may learn of it only when its wall clock is set. */
  readonly wallMs: number
}

/** What a clock may gain on the monotonic one between two looks, and may be a step too small to matter. */
const MAX_GAIN_MS = 1000

export class Standstill {
  #bootMs = Number.POSITIVE_INFINITY
  #wallMs = Number.POSITIVE_INFINITY

  /** Whether it stood still since the last look; false at the first. A wall clock that is set forward looks the same. */
  passed({ monotonicMs, bootMs, wallMs }: Clocks): boolean {
    const [boot, wall] = [bootMs - monotonicMs, wallMs - monotonicMs]
    const passed = boot - this.#bootMs > MAX_GAIN_MS || wall - this.#wallMs > MAX_GAIN_MS
    this.#bootMs = boot
    this.#wallMs = wall
    return passed
  }
}
