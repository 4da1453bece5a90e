/** One timer for many deadlines: re-armed only when an earlier one turns up, since most move away before they come. */
export class Alarm {
  readonly #ring: (lateMs: number) => void
  #timer: NodeJS.Timeout | undefined
  #atMs = Number.POSITIVE_INFINITY

  /** `ring` is told how late it was called (ms): this process did not run meanwhile. */
  constructor(ring: (lateMs: number) => void) {
    this.#ring = ring
  }

  /** Rings at `atMs` of performance.now(), or earlier; Infinity asks for nothing. */
  notAfter(atMs: number): void {
    if (atMs >= this.#atMs) return
    this.stop()
    this.#atMs = atMs
    const nowMs = performance.now()
    const dueMs = Math.max(atMs, nowMs)
    this.#timer = setTimeout(
      () => {
        this.#atMs = Number.POSITIVE_INFINITY
        this.#ring(Math.max(0, performance.now() - dueMs))
      },
      Math.max(1, Math.ceil(dueMs - nowMs)),
    )
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#atMs = Number.POSITIVE_INFINITY
  }
}
