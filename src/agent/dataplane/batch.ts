import { BATCH_WORDS } from './messages.ts'

/** Gathers routes as flat words, to cross to the main thread in one transfer. Grows to `capacity` routes, then refuses. */
export class RouteBatch {
  readonly #capacity: number
  #words = new Uint32Array(64 * BATCH_WORDS)
  #length = 0
  refused = 0

  constructor(capacity = 65_536) {
    this.#capacity = capacity
  }

  get size(): number {
    return this.#length
  }

  add(keys: Uint32Array, at: number, host: Uint32Array | null): void {
    if (this.#length >= this.#capacity) {
      this.refused++
      return
    }
    const to = this.#length * BATCH_WORDS
    if (to >= this.#words.length) {
      const larger = new Uint32Array(this.#words.length * 2)
      larger.set(this.#words)
      this.#words = larger
    }
    for (let i = 0; i < 10; i++) this.#words[to + i] = keys[at + i]
    for (let i = 0; i < 4; i++) this.#words[to + 10 + i] = host === null ? 0 : host[i]
    this.#length++
  }

  /** The words so far, in a buffer of their own; empties the batch. */
  take(): Uint32Array<ArrayBuffer> {
    const words = this.#words.slice(0, this.#length * BATCH_WORDS)
    this.#length = 0
    return words
  }
}

/** The routes of a batch one after the other, each one's flow key in `key`. @param use gets the host's IPv4 address, 0 where none belongs */
export const eachRoute = (words: Uint32Array, key: Uint32Array, use: (hostIpv4: number) => void): void => {
  for (let at = 0; at + BATCH_WORDS <= words.length; at += BATCH_WORDS) {
    key.set(words.subarray(at, at + 10))
    use(words[at + 13])
  }
}
