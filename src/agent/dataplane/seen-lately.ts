import { halfSipHash13 } from './half-siphash.ts'

const CELLS = 2 ** 20

/**
 * Whether a key has come before, in this period or the one before it. May say so of one in some that has not (by how many others came), never the
 * other way round. One byte a cell, whatever comes. Pure.
 */
export class SeenLately {
  readonly #cells = new Uint8Array(CELLS)
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
    const cell = halfSipHash13(this.#k0, this.#k1, key, 0, this.#keyWords) & (CELLS - 1)
    // 1..255; what has stood there for all of them at once is forgotten by being written over.
    const period = (Math.floor(nowMs / this.#periodMs) % 255) + 1
    const before = period === 1 ? 255 : period - 1
    const found = this.#cells[cell]
    this.#cells[cell] = period
    return found === period || found === before
  }
}
