/**
 * The time by which this member's versions are numbered (R-C4): its own wall clock, or that of the member whose is furthest ahead, as far as that has
 * been seen. So a version that is made later is above an earlier one of another member's, whichever of the two clocks is wrong.
 */
import { timeOf } from './order.ts'

export class GenerationClock {
  readonly #mostAheadMs: number
  #wallMs = 0
  #atMs = 0
  #nowMs = 0

  /** @param mostAheadMs further ahead of its own clock than this a member follows nobody */
  constructor(mostAheadMs: number) {
    this.#mostAheadMs = mostAheadMs
  }

  /** Unix time, as members together have it. It goes on as time does when the wall clock is set back. @param nowMs of a clock that is never set */
  at(wallMs: number, nowMs: number): number {
    const goesOnMs = this.#atMs + Math.max(0, nowMs - this.#nowMs)
    this.#wallMs = wallMs
    this.#atMs = Math.max(wallMs, Math.min(goesOnMs, wallMs + this.#mostAheadMs))
    this.#nowMs = nowMs
    return this.#atMs
  }

  /** Another member's version has come, at the time of the last `at`. */
  saw(generation: number): void {
    this.#atMs = Math.max(this.#atMs, Math.min(timeOf(generation), this.#wallMs + this.#mostAheadMs))
  }
}
