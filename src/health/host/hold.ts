/**
 * How long units may go on with rows that were replaced (R-B6). A unit takes the length of its leases from a snapshot, and keeps it as
 * long as it holds that instance of the table. So with another length a new instance begins: no token of it renews a lease of the old
 * one, and a lease of the old length ends that long after the change, whoever could be reached.
 */
import { MARGIN_MS } from '../types.ts'

export class Hold {
  #leaseMs: number
  /** Until then there may be leases of a length of before. */
  #formerUntilMs = Number.NEGATIVE_INFINITY

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs
  }

  /** As units are told now. */
  get leaseMs(): number {
    return this.#leaseMs
  }

  /** Units are told of that length from `nowMs` on. False when that is nothing new. */
  change(leaseMs: number, nowMs: number): boolean {
    if (leaseMs === this.#leaseMs) return false
    this.#formerUntilMs = this.untilMs(nowMs)
    this.#leaseMs = leaseMs
    return true
  }

  /** When no unit uses rows any more that were replaced at `atMs`, whatever it heard since. */
  untilMs(atMs: number): number {
    return Math.max(atMs + this.#leaseMs + MARGIN_MS, this.#formerUntilMs)
  }
}
