/** A pass through a table takes a quarter of a lease, within these bounds. */
const SHORTEST_MS = 250
const LONGEST_MS = 15_000
/** After a pause packets do not wait for all of a table. */
const MOST_BUCKETS = 8_192

/** How much of a table is looked at in each step, so that passes take the same time whatever the steps are. */
export class SweepPace {
  #atMs: number | null = null
  #lastBegan: number
  #began: number

  /** @param tick the current one, of the tables' stamps */
  constructor(tick: number) {
    this.#lastBegan = tick
    this.#began = tick
  }

  /** A pass is over, at tick `now`. */
  passed(now: number): void {
    this.#lastBegan = this.#began
    this.#began = now
  }

  /** Since the last pass began: what was used after that, it may not have seen. One more, for the tick that had begun then. */
  ticksSince(now: number): number {
    return ((now - this.#lastBegan) & 0xffff) + 1
  }

  /** Of so many buckets. @param nowMs of a clock that does not go back */
  step(buckets: number, nowMs: number, leaseMs: number): number {
    const passMs = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, leaseMs / 4))
    const sinceMs = this.#atMs === null ? 0 : nowMs - this.#atMs
    this.#atMs = nowMs
    return Math.min(buckets, MOST_BUCKETS, Math.ceil((buckets * sinceMs) / passMs))
  }
}
