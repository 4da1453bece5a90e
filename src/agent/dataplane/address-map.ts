import { addressEquals } from './flow-key.ts'

interface Place<T> {
  readonly words: Uint32Array
  value: T
}

/** Spread enough for addresses of a configuration; whoever sends packets chooses none of its keys. */
const hashOf = (words: Uint32Array, at: number): number =>
  (words[at + 3] ^ Math.imul(words[at + 2] ^ Math.imul(words[at + 1] ^ Math.imul(words[at], 31), 31), 31)) >>>
  0

/** Values by address of either family: four words each (see flow-key.ts). For keys that the cluster makes, not for clients' addresses. */
export class AddressMap<T> {
  readonly #places = new Map<number, Place<T>[]>()

  /** @param at of the address's first word */
  get(words: Uint32Array, at = 0): T | undefined {
    return this.#find(words, at)?.value
  }

  /** Keeps a copy of the address. */
  set(words: Uint32Array, at: number, value: T): void {
    const found = this.#find(words, at)
    if (found !== undefined) {
      found.value = value
      return
    }
    const hash = hashOf(words, at)
    const place = { words: words.slice(at, at + 4), value }
    const others = this.#places.get(hash)
    if (others === undefined) this.#places.set(hash, [place])
    else others.push(place)
  }

  /** False: it was not there. */
  delete(words: Uint32Array, at = 0): boolean {
    const hash = hashOf(words, at)
    const places = this.#places.get(hash)
    const index = places?.findIndex(place => addressEquals(place.words, 0, words, at)) ?? -1
    if (places === undefined || index < 0) return false
    if (places.length === 1) this.#places.delete(hash)
    else places.splice(index, 1)
    return true
  }

  *entries(): Generator<readonly [words: Uint32Array, value: T]> {
    for (const places of this.#places.values()) for (const { words, value } of places) yield [words, value]
  }

  #find(words: Uint32Array, at: number): Place<T> | undefined {
    const places = this.#places.get(hashOf(words, at))
    if (places === undefined) return undefined
    for (const place of places) if (addressEquals(place.words, 0, words, at)) return place
    return undefined
  }
}
