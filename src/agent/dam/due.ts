/** One timer for one piece of work: whoever wants it sooner gets it sooner. */
export class Due {
  readonly #run: () => void
  #timer: NodeJS.Timeout | null = null
  #atMs = Number.POSITIVE_INFINITY

  constructor(run: () => void) {
    this.#run = run
  }

  within(ms: number): void {
    const atMs = performance.now() + ms
    if (atMs >= this.#atMs) return
    this.stop()
    this.#atMs = atMs
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#atMs = Number.POSITIVE_INFINITY
      this.#run()
    }, ms)
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#atMs = Number.POSITIVE_INFINITY
  }
}
