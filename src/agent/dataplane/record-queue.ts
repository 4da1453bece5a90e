import { FLOW_KEY_WORDS } from './flow-key.ts'

/** Records of a flow key and some more words, which wait to be taken to the main thread. Grows to `capacity` records, then refuses. Pure. */
export class RecordQueue {
  readonly capacity: number
  readonly #recordWords: number
  #words: Uint32Array
  #size = 0

  /** @param recordWords words of a record, those of its key among them */
  constructor(recordWords: number, capacity: number) {
    this.capacity = capacity
    this.#recordWords = recordWords
    this.#words = new Uint32Array(64 * recordWords)
  }

  get size(): number {
    return this.#size
  }

  /** @param keys a flow key from word `at`. @param more what follows it. @returns whether there was room */
  add(keys: Uint32Array, at: number, ...more: readonly number[]): boolean {
    if (this.#size >= this.capacity) return false
    const to = this.#size++ * this.#recordWords
    if (to >= this.#words.length) {
      const larger = new Uint32Array(this.#words.length * 2)
      larger.set(this.#words)
      this.#words = larger
    }
    for (let i = 0; i < FLOW_KEY_WORDS; i++) this.#words[to + i] = keys[at + i]
    this.#words.set(more, to + FLOW_KEY_WORDS)
    return true
  }

  /** All of them, in a buffer of their own. */
  take(): Uint32Array<ArrayBuffer> {
    const words = this.#words.slice(0, this.#size * this.#recordWords)
    this.#size = 0
    return words
  }
}
