/** How long nothing has changed, and whether what is so was looked at already. Pure. */
export class Quiet {
  #what = ''
  #sinceMs = 0
  #looked = ''

  /** @param what all that matters, as text */
  since(what: string, nowMs: number): number {
    if (what !== this.#what) {
      this.#what = what
      this.#sinceMs = nowMs
      this.#looked = ''
    }
    return this.#sinceMs
  }

  /** True once for each state of something else, until what matters changes. */
  isNew(state: string): boolean {
    const is = state !== this.#looked
    this.#looked = state
    return is
  }
}
