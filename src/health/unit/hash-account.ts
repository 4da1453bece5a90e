/** What one sender may cost in hashes for tokens that prove nothing; those that are true cost it nothing. */

const BURST = 4096
const PER_MS = 2

export class HashAccount {
  #left = BURST
  #atMs = Number.NEGATIVE_INFINITY

  allows(hashes: number, nowMs: number): boolean {
    if (nowMs > this.#atMs) {
      this.#left = Math.min(BURST, this.#left + (nowMs - this.#atMs) * PER_MS)
      this.#atMs = nowMs
    }
    return this.#left >= Math.min(hashes, BURST)
  }

  waste(hashes: number): void {
    this.#left -= hashes
  }
}
