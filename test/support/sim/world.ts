/**
 * A world in virtual time: a clock, a seeded generator and a queue of things to come. Everything that a run does follows
 * from its seed. Hooks look at the whole world after each event and throw when an invariant is broken.
 */
import { seeded } from '../random.ts'
import { Agenda } from './agenda.ts'

const nothing = (): void => {}

export class World {
  readonly seed: number
  /** 0 <= n < 1. */
  readonly random: () => number
  readonly #agenda = new Agenda()
  readonly #hooks: (() => void)[] = []
  #nowMs: number

  constructor(seed: number, startMs = 1_700_000_000_000) {
    this.seed = seed
    this.random = seeded(seed)
    this.#nowMs = startMs
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** 0 to below - 1. */
  integer(below: number): number {
    return Math.floor(this.random() * below)
  }

  chance(probability: number): boolean {
    return this.random() < probability
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error('nothing to pick from')
    return items[this.integer(items.length)]!
  }

  shuffled<T>(items: readonly T[]): T[] {
    const all = [...items]
    for (let i = all.length - 1; i > 0; i--) {
      const j = this.integer(i + 1)
      ;[all[i], all[j]] = [all[j]!, all[i]!]
    }
    return all
  }

  /** Random bytes of this run. */
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.integer(256))
  }

  /** Runs something in so many milliseconds (whole ones, like all clocks here); the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void {
    const planned = this.#agenda.plan(this.#nowMs + Math.max(0, Math.ceil(delayMs)), run)
    return () => {
      planned.run = nothing
    }
  }

  /** Looks at the world after each event. */
  watch(hook: () => void): void {
    this.#hooks.push(hook)
  }

  /** Lets so many milliseconds pass. What is thrown says when. */
  run(durationMs: number): void {
    const endMs = this.#nowMs + durationMs
    const startMs = this.#nowMs
    for (let next = this.#agenda.take(endMs); next !== undefined; next = this.#agenda.take(endMs)) {
      this.#nowMs = next.atMs
      try {
        next.run()
        for (const hook of this.#hooks) hook()
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error)
        throw new Error(`${this.#nowMs - startMs} ms into the run: ${text}`, { cause: error })
      }
    }
    this.#nowMs = endMs
  }
}
