/**
 * Application load as it is told to the units (R-B4): smoothed, quantised, with hysteresis, one to four times a minute or at once on a
 * large change. Pure.
 */

export interface LoadSettings {
  /** Least time between two tellings (ms), but for jumps. */
  everyMs: number
  /** Percentage points: told loads are multiples of it. */
  step: number
  /** Percentage points: a smoothed load that far from the told one is told at once. */
  jump: number
}

/** Time constant (ms): a lasting change is seen by two thirds after so long, and a spike of a second by a tenth. */
export const SMOOTHING_MS = 10_000
/** The part of a step that the load must be off before another multiple is told; above a half, or it would flap between two. */
const BAND = 0.75
/** R-B1: a load is 0 to 255 percent. */
export const MAX_LOAD = 255

export class LoadReport {
  readonly #settings: LoadSettings
  #value = 0
  /** Not finite: no sample yet. */
  #sampledMs = Number.NEGATIVE_INFINITY
  #told = 0
  #toldMs = Number.NEGATIVE_INFINITY

  constructor(settings: LoadSettings) {
    this.#settings = settings
  }

  /** Smoothed load, 0 to 255 percent. */
  get value(): number {
    return this.#value
  }

  /** `percent` has held since the sample before; what is out of range is cut to 0 to 255, what is no number is ignored. */
  sample(percent: number, nowMs: number): void {
    if (Number.isNaN(percent)) return
    const load = Math.min(MAX_LOAD, Math.max(0, percent))
    // Without a sample before: weight 1.
    const weight = 1 - Math.exp((this.#sampledMs - nowMs) / SMOOTHING_MS)
    this.#value += (load - this.#value) * weight
    this.#sampledMs = nowMs
  }

  /** It is so far from the told one that it is to be told at once. */
  get isJump(): boolean {
    return Math.abs(this.#value - this.#told) >= this.#settings.jump
  }

  /** From when on `tell` tells another load; infinite while the told one is good. */
  get dueMs(): number {
    const { everyMs, step } = this.#settings
    const isOff = Math.abs(this.#value - this.#told) >= step * BAND && this.#quantised() !== this.#told
    if (!isOff) return Number.POSITIVE_INFINITY
    return this.isJump ? Number.NEGATIVE_INFINITY : this.#toldMs + everyMs
  }

  /** The load to tell now, 0 to 255. */
  tell(nowMs: number): number {
    if (this.dueMs <= nowMs) {
      this.#told = this.#quantised()
      this.#toldMs = nowMs
    }
    return this.#told
  }

  #quantised(): number {
    const { step } = this.#settings
    return Math.min(MAX_LOAD, Math.round(Math.round(this.#value / step) * step))
  }
}
