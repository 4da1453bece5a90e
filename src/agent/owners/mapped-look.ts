/** Asks the data plane which flows it has mappings of, for all who want to know at once: each look goes through the whole table. */
const KEY_WORDS = 10
/** Between two looks. */
const PAUSE_MS = 50
/** More wait for no look. */
const MOST_KEYS = 4_096

interface Wanted {
  readonly keys: readonly Uint32Array[]
  readonly resolve: (mapped: boolean[]) => void
  readonly reject: (error: unknown) => void
}

export class MappedLook {
  readonly #ask: (words: Uint32Array) => Promise<Uint8Array>
  readonly #later: (run: () => void, ms: number) => () => void
  #wanted: Wanted[] = []
  #keys = 0
  #isLooking = false
  #callOff: (() => void) | null = null

  constructor(
    ask: (words: Uint32Array) => Promise<Uint8Array>,
    later: (run: () => void, ms: number) => () => void,
  ) {
    this.#ask = ask
    this.#later = later
  }

  /** Whether there is a mapping of each. Rejects when too many wait, or the data plane does not answer. */
  mapped(keys: readonly Uint32Array[]): Promise<boolean[]> {
    if (this.#keys + keys.length > MOST_KEYS) return Promise.reject(new RangeError('too many flows wait'))
    this.#keys += keys.length
    return new Promise((resolve, reject) => {
      this.#wanted.push({ keys, resolve, reject })
      if (!this.#isLooking) void this.#look()
    })
  }

  stop(): void {
    this.#callOff?.()
  }

  async #look(): Promise<void> {
    this.#isLooking = true
    const wanted = this.#wanted.splice(0)
    this.#keys = 0
    const words = new Uint32Array(wanted.reduce((sum, { keys }) => sum + keys.length, 0) * KEY_WORDS)
    let at = 0
    for (const { keys } of wanted) for (const key of keys) words.set(key, KEY_WORDS * at++)
    try {
      const mapped = await this.#ask(words)
      let from = 0
      for (const { keys, resolve } of wanted) {
        resolve(keys.map((_, i) => mapped[from + i] === 1))
        from += keys.length
      }
    } catch (error) {
      for (const { reject } of wanted) reject(error)
    }
    this.#callOff = this.#later(() => {
      this.#callOff = null
      this.#isLooking = false
      if (this.#wanted.length > 0) void this.#look()
    }, PAUSE_MS)
  }
}
