/** Postulates that may still be answered, bounded in number and in rows. */

export interface Question {
  readonly unit: string
  /** Of the table; the unit must hold that or a later one. */
  readonly generation: number
  readonly ids: readonly number[]
  readonly atMs: number
}

const MAX_IDS = 262_144

export class Questions {
  readonly #keepMs: number
  readonly #open = new Map<number, Question>()
  #ids = 0
  #last = 0

  /** An answer is taken for `keepMs`. */
  constructor(keepMs: number) {
    this.#keepMs = keepMs
  }

  /** Its number (u32). */
  ask(question: Question): number {
    this.#last = (this.#last + 1) >>> 0
    this.#open.set(this.#last, question)
    this.#ids += question.ids.length
    for (const [number, { atMs }] of this.#open) {
      if (number === this.#last || (this.#ids <= MAX_IDS && atMs + this.#keepMs > question.atMs)) break
      this.#delete(number)
    }
    return this.#last
  }

  /** The question that this unit answers, once; null: there is none such. */
  take(unit: string, number: number): Question | null {
    const question = this.#open.get(number)
    if (question?.unit !== unit) return null
    this.#delete(number)
    return question
  }

  #delete(number: number): void {
    this.#ids -= this.#open.get(number)!.ids.length
    this.#open.delete(number)
  }
}
