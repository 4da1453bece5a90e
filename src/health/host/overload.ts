/** Overload with hysteresis (R-B6: an overloaded application may drain by itself). Pure. */

export interface OverloadSettings {
  /** Percent of load from which an application is overloaded once that has lasted for `forMs`. */
  drain: number
  /** Percent of load below which it is no more. */
  resume: number
  forMs: number
}

export class Overload {
  #settings: OverloadSettings
  #sinceMs = Number.POSITIVE_INFINITY
  #isOverloaded = false

  constructor(settings: OverloadSettings) {
    this.#settings = settings
  }

  get isOverloaded(): boolean {
    return this.#isOverloaded
  }

  /** When an overload that lasts will count; infinite when there is none, or it counts already. */
  get dueMs(): number {
    return this.#isOverloaded ? Number.POSITIVE_INFINITY : this.#sinceMs + this.#settings.forMs
  }

  /** Thresholds in force from now on, and the load (smoothed, percent) by which they judge at once. True when that changed anything. */
  follow(settings: OverloadSettings, load: number, nowMs: number): boolean {
    const isRaised = settings.drain > this.#settings.drain
    this.#settings = settings
    // Above `resume` it would go on, as too much; but that it is too much is what was taken back.
    if (!this.#isOverloaded || !isRaised || Math.round(load) >= settings.drain)
      return this.update(load, nowMs)
    this.#isOverloaded = false
    this.#sinceMs = Number.POSITIVE_INFINITY
    return true
  }

  /** `load`: smoothed, percent. To be called for each sample, and at `dueMs`. True when that changed anything. */
  update(load: number, nowMs: number): boolean {
    const before = this.#isOverloaded
    // A smoothed load comes as near as one likes to a steady one, and never there.
    const percent = Math.round(load)
    if (before) this.#isOverloaded = percent >= this.#settings.resume
    else if (percent < this.#settings.drain) this.#sinceMs = Number.POSITIVE_INFINITY
    else {
      this.#sinceMs = Math.min(this.#sinceMs, nowMs)
      this.#isOverloaded = this.dueMs <= nowMs
    }
    if (before && !this.#isOverloaded) this.#sinceMs = Number.POSITIVE_INFINITY
    return before !== this.#isOverloaded
  }
}
