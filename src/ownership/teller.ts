/** When a forwarder's standing is told. Pure. */
import type { Standing } from './types.ts'

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

  /** At a change at once; but not of the digest, which differs after each claim, and that was told itself. */
  isDue({ weight, ready, leaving, sees }: Standing, nowMs: number): boolean {
    const told = JSON.stringify([weight, ready, leaving, sees])
    const isTime = nowMs >= this.nextMs
    if (!isTime && told === this.#told) return false
    if (isTime) this.#toldMs = nowMs
    this.#told = told
    return true
  }
}
