/** When a forwarder's standing is told. Pure. */
export class Teller {
  readonly #tellMs: number
  #toldMs = Number.NEGATIVE_INFINITY
  #told = ''

  constructor(tellMs: number) {
    this.#tellMs = tellMs
  }

  get nextMs(): number {
    return this.#toldMs + this.#tellMs
  }

  /**
   * At a change at once.
   * @param told all but the digest, which differs after each claim, and that was told itself
   */
  isDue(told: string, nowMs: number): boolean {
    const isTime = nowMs >= this.nextMs
    if (!isTime && told === this.#told) return false
    if (isTime) this.#toldMs = nowMs
    this.#told = told
    return true
  }
}
