/** Readings that may take long, in slices: the main thread of the agent has other things to do. */

/** Ms of reading in one turn of the event loop. */
export const SLICE_MS = 10
/** Reading takes at most this part of the time. */
export const SHARE = 1 / 10

export interface SlicesOptions {
  nowMs?(): number
  /** Calls back in `ms`; answers how to call it off. */
  later?(run: () => void, ms: number): () => void
}

/** By the clock of Node. */
export const inTime = (run: () => void, ms: number): (() => void) => {
  const timer = setTimeout(run, ms)
  return () => clearTimeout(timer)
}

/** Rounds of one kind of reading. Each `next` of a round must be short. */
export class Slices<T> {
  readonly #nowMs: () => number
  readonly #later: (run: () => void, ms: number) => () => void
  #round: Generator<void, T> | null = null
  #last: T | null = null
  #callOff = (): void => {}

  constructor({ nowMs = () => performance.now(), later = inTime }: SlicesOptions = {}) {
    this.#nowMs = nowMs
    this.#later = later
  }

  /** Begins a round unless one is under way, and answers what the last whole one said: null before that. */
  turn(begin: () => Generator<void, T>): T | null {
    if (this.#round === null) {
      this.#round = begin()
      this.#slice()
    }
    return this.#last
  }

  stop(): void {
    this.#callOff()
    this.#round?.return(undefined as T)
    this.#round = null
  }

  #slice(): void {
    const round = this.#round!
    const startedMs = this.#nowMs()
    try {
      for (;;) {
        const step = round.next()
        if (step.done === true) {
          this.#last = step.value
          break
        }
        const tookMs = this.#nowMs() - startedMs
        if (tookMs < SLICE_MS) continue
        this.#callOff = this.#later(() => this.#slice(), tookMs / SHARE - tookMs)
        return
      }
    } catch {
      // The system refused: what was known before stays, and the next turn tries again.
    }
    this.#round = null
  }
}
