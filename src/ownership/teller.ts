/** When a forwarder's standing is told. Pure. */

/** Between two that are told for what was heard of claims: who made them waits for it, but many come together. */
const SOON_MS = 100

export class Teller {
  readonly #tellMs: number
  #toldMs = Number.NEGATIVE_INFINITY
  #nextMs = Number.NEGATIVE_INFINITY
  #told = ''

  constructor(tellMs: number) {
    this.#tellMs = tellMs
  }

  get nextMs(): number {
    return this.#nextMs
  }

  /** The digest is another one by what was heard: whoever said so is to know that it is known. */
  soon(nowMs: number): void {
    this.#nextMs = Math.min(this.#nextMs, Math.max(nowMs, this.#toldMs + SOON_MS))
  }

  /**
   * At a change at once.
   * @param told all but the digest, which differs after each claim
   */
  isDue(told: string, nowMs: number): boolean {
    const isTime = nowMs >= this.#nextMs
    if (!isTime && told === this.#told) return false
    if (isTime) {
      this.#toldMs = nowMs
      this.#nextMs = nowMs + this.#tellMs
    }
    this.#told = told
    return true
  }
}
