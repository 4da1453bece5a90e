/**
 * Work that costs much and that many may ask for at once: one at a time. Who asks while one is under way gets the outcome of the next,
 * which begins after they asked, together with all others that ask meanwhile.
 */
export class SharedWork<T> {
  #current: Promise<T> | null = null
  #next: Promise<T> | null = null

  ask(work: () => Promise<T>): Promise<T> {
    // The next may be about to begin, with none under way.
    if (this.#next !== null) return this.#next
    if (this.#current === null) return this.#begin(work)
    const go = (): Promise<T> => {
      this.#next = null
      return this.#begin(work)
    }
    this.#next = this.#current.then(go, go)
    return this.#next
  }

  #begin(work: () => Promise<T>): Promise<T> {
    const current = work().finally(() => {
      if (this.#current === current) this.#current = null
    })
    this.#current = current
    return current
  }
}
