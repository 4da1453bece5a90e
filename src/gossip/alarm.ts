/** One timer for many deadlines: re-armed only when an earlier one turns up, since most move away before they come. */
export class Alarm {
  readonly #ring: () => void
  #timer: NodeJS.Timeout | undefined
  #atMs = Number.POSITIVE_INFINITY

  constructor(ring: () => void) {
    this.#ring = ring
  }

  /** Rings at `atMs` of performance.now(), or earlier; Infinity asks for nothing. */
  notAfter(atMs: number): void {
    if (atMs >= this.#atMs) return
    this.stop()
    this.#atMs = atMs
    this.#timer = setTimeout(
      () => {
        this.#atMs = Number.POSITIVE_INFINITY
        this.#ring()
      },
      Math.max(1, Math.ceil(atMs - performance.now())),
    )
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#atMs = Number.POSITIVE_INFINITY
  }
}
