/** How many nodes were seen alive lately: of two sides of a partition, the one that saw more keeps what it holds. Pure. */
export class Support {
  readonly #windowMs: number
  /** Counts within the window, each from its time until the next one's. */
  #seen: { atMs: number; count: number }[] = []

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  see(count: number, nowMs: number): void {
    if (this.#seen.at(-1)?.count === count) return
    this.#seen.push({ atMs: nowMs, count })
    this.#forget(nowMs)
  }

  /** This node stood still: what it saw before says nothing. */
  reset(nowMs: number): void {
    const count = this.#seen.at(-1)?.count ?? 1
    this.#seen = [
      { atMs: nowMs, count: 1 },
      { atMs: nowMs, count },
    ]
  }

  now(): number {
    return this.#seen.at(-1)?.count ?? 1
  }

  /** The smallest number of the window. */
  lately(nowMs: number): number {
    this.#forget(nowMs)
    return Math.min(...this.#seen.map(({ count }) => count), this.now())
  }

  #forget(nowMs: number): void {
    // The one before the window still held at its beginning.
    while (this.#seen.length > 1 && this.#seen[1]!.atMs <= nowMs - this.#windowMs) this.#seen.shift()
  }
}
