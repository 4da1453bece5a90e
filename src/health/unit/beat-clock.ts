/**
 * Ties a host's beats to this node's clock (R-B5). Only two things are sure: when this node asked, the beat that the answer
 * names had not happened yet; and what has arrived, and the beat before that one, has happened. So beat 0 was between two bounds,
 * and a beat counts as no later than by the earlier one: a lease may be too short by the distance between them, never too long.
 *
 * The first answer leaves a distance of up to one beat. A question that is sent at the middle between the bounds halves it,
 * so a few of them bring it below a quarter of a beat.
 */
import { MARGIN_MS } from '../types.ts'

/** What two clocks may gain on each other: twice the 250 ppm beyond which no oscillator or slewing of use is. */
const DRIFT = 0.0005
const MAX_REFINEMENTS = 4
const LOST_MS = 8000

export class BeatClock {
  /** Time between beats (ms). */
  readonly beatMs: number
  readonly leaseMs: number
  /** Bounds of the time of beat 0, at `#sinceMs`. */
  #earlyMs = Number.NEGATIVE_INFINITY
  #lateMs = Number.POSITIVE_INFINITY
  #sinceMs = Number.NEGATIVE_INFINITY
  #refinements = 0
  #askAtMs = Number.POSITIVE_INFINITY

  constructor(beatMs: number, leaseMs: number) {
    this.beatMs = beatMs
    this.leaseMs = leaseMs
  }

  /** When to ask for a snapshot, whose answer makes the tie better or new; infinite before the first answer. */
  get askAtMs(): number {
    return this.#askAtMs
  }

  /** A question went out; if its answer is lost, so much later again. */
  asked(nowMs: number): void {
    this.#askAtMs = nowMs + LOST_MS
  }

  /** The answer to what this node asked at `sentMs`: `beat` is the first that had not happened when the host wrote it. */
  answered(
    sentMs: number,
    beat: number,
    nowMs: number,
    settings: { askAgainMs: number; retieMs: number },
  ): void {
    const early = sentMs - beat * this.beatMs
    const late = nowMs - (beat - 1) * this.beatMs
    const drift = this.#driftMs(nowMs)
    const earlier = this.#earlyMs - drift
    const later = this.#lateMs + drift
    const fits = early <= later + MARGIN_MS && late >= earlier - MARGIN_MS
    // Bounds that exclude each other: one of the two machines was suspended, and what was known before is void.
    const known = fits && this.#sinceMs !== Number.NEGATIVE_INFINITY
    this.#earlyMs = known ? Math.max(early, earlier) : early
    this.#lateMs = known ? Math.min(late, later) : late
    if (!known) this.#refinements = 0
    this.#sinceMs = nowMs
    const isFine = this.#lateMs - this.#earlyMs <= this.beatMs / 4
    this.#refinements = isFine || this.#refinements === MAX_REFINEMENTS ? 0 : this.#refinements + 1
    this.#askAtMs =
      this.#refinements > 0 ? this.#middleAfter(nowMs + settings.askAgainMs) : nowMs + settings.retieMs
  }

  /** A token has proved that this beat has happened. */
  heard(beat: number, nowMs: number): void {
    this.#lateMs = Math.min(this.#lateMs, nowMs - beat * this.beatMs)
  }

  /** A time at which the beat had not happened yet, or just happened; at most `nowMs`. */
  timeOf(beat: number, nowMs: number): number {
    return Math.min(nowMs, this.#earlyMs - this.#driftMs(nowMs) + beat * this.beatMs)
  }

  /** The beat cannot have happened yet: it is no true one, or this machine was suspended. */
  isAhead(beat: number, nowMs: number): boolean {
    return this.#earlyMs - this.#driftMs(nowMs) + beat * this.beatMs > nowMs + MARGIN_MS
  }

  #driftMs(nowMs: number): number {
    return this.#sinceMs === Number.NEGATIVE_INFINITY ? 0 : Math.max(0, nowMs - this.#sinceMs) * DRIFT
  }

  #middleAfter(fromMs: number): number {
    const middle = (this.#earlyMs + this.#lateMs) / 2
    return middle + Math.ceil((fromMs - middle) / this.beatMs) * this.beatMs
  }
}
