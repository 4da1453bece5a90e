import { halfSipHash13 } from './half-siphash.ts'

const CELLS = 2 ** 20
/** Bits of a cell that tell its key from the others' there; the rest says when. */
const MARK_BITS = 12
const PERIODS = 2 ** (16 - MARK_BITS) - 1

/**
 * Whether a key has come before, in this period or the one before it. Two bytes a cell, whatever comes; each key takes the place of another. So it may
 * have forgotten some (of 100,000 that came since, a tenth), and says so of one in 4,096 that has not come: never of most, however large a flood is. Pure.
 */
export class SeenLately {
  readonly #cells = new Uint16Array(CELLS)
  readonly #k0: number
  readonly #k1: number
  readonly #keyWords: number
  readonly #periodMs: number

  /** @param k0 @param k1 secret, and not those of a table of the same keys */
  constructor(keyWords: number, periodMs: number, k0: number, k1: number) {
    this.#keyWords = keyWords
    this.#periodMs = periodMs
    this.#k0 = k0
    this.#k1 = k1
  }

  /** Answers, and from now on says yes. */
  see(key: Uint32Array, nowMs: number): boolean {
    const hash = halfSipHash13(this.#k0, this.#k1, key, 0, this.#keyWords)
    const cell = hash & (CELLS - 1)
    const mark = hash >>> (32 - MARK_BITS)
    // From 1, for 0 is an empty cell; what has stood there for all of them at once may be taken for new.
    const period = (Math.floor(nowMs / this.#periodMs) % PERIODS) + 1
    const before = period === 1 ? PERIODS : period - 1
    const found = this.#cells[cell]
    this.#cells[cell] = (period << MARK_BITS) | mark
    const at = found >>> MARK_BITS
    return (found & (2 ** MARK_BITS - 1)) === mark && (at === period || at === before)
  }
}
