/**
 * The kernel's leases on the VIPs that this node holds: the grace where its kernel goes on alone and all others know it, else as short as can be.
 * Others wait by what they know, so a lease is made long after they have heard of it, and short before. Pure.
 */
import type { Members } from './members.ts'
import { type Grace, leaseMs, NO_GRACE, renewMs, silentMs } from './settings.ts'

interface Lease {
  readonly times: Grace
  readonly sinceMs: number
}

export class Leases {
  readonly #leases = new Map<string, Lease>()

  end(vip: string): void {
    this.#leases.delete(vip)
  }

  isLong(vip: string): boolean {
    return (this.#leases.get(vip)?.times.graceMs ?? 0) > 0
  }

  /** Answers how long they last. */
  renew(vips: readonly string[], { graceMs }: Grace, nowMs: number): number {
    for (const vip of vips) this.#leases.set(vip, { times: { graceMs }, sinceMs: nowMs })
    return leaseMs({ graceMs })
  }

  /** The kernel may have let go of these. */
  lapsed(nowMs: number): string[] {
    return this.#where(({ times, sinceMs }) => nowMs - sinceMs >= leaseMs(times))
  }

  /** Those to renew now, short or long; with the first one that is due all that are like it. */
  due(isLong: boolean, nowMs: number): string[] {
    const alike = this.#where(({ times }) => times.graceMs > 0 === isLong)
    const isDue = alike.some(vip => nowMs >= this.#dueMs(vip))
    return isDue ? alike : []
  }

  nextMs(): number {
    let atMs = Number.POSITIVE_INFINITY
    for (const vip of this.#leases.keys()) atMs = Math.min(atMs, this.#dueMs(vip))
    return atMs
  }

  #dueMs(vip: string): number {
    const { times, sinceMs } = this.#leases.get(vip)!
    return sinceMs + renewMs(times)
  }

  #where(is: (lease: Lease) => boolean): string[] {
    return [...this.#leases].filter(([, lease]) => is(lease)).map(([vip]) => vip)
  }
}

/**
 * When no other forwarder can go by older claims than this node's: those that it hears say what they know, and one that has been away for longer
 * has taken what it took for brief. Infinite: one is still to say.
 * @param digest of all claims that this node knows
 */
export const knownAtMs = (members: Members, digest: string): number => {
  let atMs = Number.NEGATIVE_INFINITY
  for (const { linked, standing, silentSinceMs } of members.all()) {
    const knows = standing !== null && (standing.digest === digest || standing.readsBrief !== true)
    if (linked && !knows) return Number.POSITIVE_INFINITY
    // Half as long again: by other clocks.
    if (!linked) atMs = Math.max(atMs, silentSinceMs + 1.5 * silentMs(NO_GRACE))
  }
  return atMs
}
