/** When a unit asks a host for a snapshot of its table (R-B8): at once for something new, else ever more rarely, up to each 8 s. */
import type { TableVersion } from '../types.ts'

const MAX_AGAIN_MS = 8000
/** Even for something new; hosts answer four times a second. */
const MIN_GAP_MS = 250

export interface Question {
  readonly request: number
  readonly sentMs: number
  /** What was held when its digests were told; null: all was asked for. */
  readonly held: TableVersion | null
}

export class Asking {
  readonly #askAgainMs: number
  /** The next distance (ms). */
  #againMs: number
  #sentMs = Number.NEGATIVE_INFINITY
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #isWanted = false
  #question: Question | null = null

  constructor(askAgainMs: number) {
    this.#askAgainMs = askAgainMs
    this.#againMs = askAgainMs
  }

  /** Infinite when nothing is wanted. */
  get dueMs(): number {
    return this.#isWanted ? this.#notBeforeMs : Number.POSITIVE_INFINITY
  }

  get isWanted(): boolean {
    return this.#isWanted
  }

  /** `isNew`: for a reason that was not there when it was last asked. */
  want(isNew: boolean, nowMs: number): void {
    this.#isWanted = true
    if (isNew) {
      this.#againMs = this.#askAgainMs
      this.#notBeforeMs = Math.min(this.#notBeforeMs, this.#sentMs + Math.min(MIN_GAP_MS, this.#askAgainMs))
    } else if (nowMs - this.#sentMs > 2 * MAX_AGAIN_MS) this.#againMs = this.#askAgainMs
  }

  /** May be sent whether or not it is due, for the clock's sake. */
  sent(question: Question): void {
    this.#question = question
    this.#sentMs = question.sentMs
    this.#notBeforeMs = question.sentMs + this.#againMs
    if (this.#isWanted) this.#againMs = Math.min(MAX_AGAIN_MS, this.#againMs * 2)
  }

  /** The question that this answers, once; undefined: it was not asked, or has been answered, or asked anew since. */
  answered(request: number): Question | undefined {
    const question = this.#question
    if (question?.request !== request) return
    this.#question = null
    this.#isWanted = false
    // Whoever answers may be asked again: a leader that passes nothing on must not cost its group the leases.
    this.#againMs = this.#askAgainMs
    return question
  }

  /** The link came up or went: what was asked over the one before will not be answered. */
  linked(up: boolean): void {
    this.#question = null
    if (!up) return
    this.#sentMs = this.#notBeforeMs = Number.NEGATIVE_INFINITY
    this.#againMs = this.#askAgainMs
  }

  /** Nothing is needed any more; what was asked may still be answered, by a table that began meanwhile. */
  stop(): void {
    this.#isWanted = false
  }
}
