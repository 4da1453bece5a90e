import { type Columns, HEAP } from './columns.ts'
import { halfSipHash13 } from './half-siphash.ts'

export interface SlotTableSettings {
  /** Most entries, 1..2^28. */
  readonly capacity: number
  /** 32-bit words a key, at least 1. */
  readonly keyWords: number
  /** Number of LRU lists, 1..254; each entry is in exactly one. */
  readonly lists: number
  /** Secret 64-bit hash key, as two 32-bit numbers. */
  readonly k0: number
  readonly k1: number
  /** For what `adopt` goes by; left out: it ends with the process. */
  readonly columns?: Columns
}

/**
 * A hash table of fixed capacity from fixed-width keys to slot numbers 0..capacity-1, with exact LRU lists. A slot
 * does not move while its entry lives, so owners keep their values in arrays indexed by slot. Full means full:
 * the owner chooses what to evict, by `oldest`.
 *
 * Open addressing with linear probing at a load of at most one half, and backward-shift deletion (no tombstones, so
 * it never degrades). Everywhere 0 means empty (slots are stored as slot + 1), so construction writes nothing and
 * the kernel gives memory page by page as it is used.
 */
export class SlotTable {
  readonly capacity: number
  readonly keyWords: number
  /** Key of slot s: words s * keyWords and on. Read only. */
  readonly keys: Uint32Array
  /** Time of the last insert, touch or move of each slot, in ms. Read only. */
  readonly lastUse: Float64Array

  readonly #k0: number
  readonly #k1: number
  readonly #mask: number
  readonly #buckets: Int32Array
  readonly #hashes: Uint32Array
  readonly #listOf: Uint8Array
  readonly #newer: Int32Array
  readonly #older: Int32Array
  readonly #newest: Int32Array
  readonly #oldest: Int32Array
  readonly #lengths: Int32Array
  #size = 0
  #highWater = 0
  /** Slot + 1 of the first freed slot; the chain goes on in `#newer`. */
  #freed = 0

  constructor({ capacity, keyWords, lists, k0, k1, columns = HEAP }: SlotTableSettings) {
    inRange('capacity', capacity, 1, 2 ** 28)
    inRange('keyWords', keyWords, 1, 64)
    inRange('lists', lists, 1, 254)
    this.capacity = capacity
    this.keyWords = keyWords
    this.#k0 = k0
    this.#k1 = k1
    const buckets = 2 ** Math.ceil(Math.log2(capacity * 2))
    this.#mask = buckets - 1
    this.#buckets = new Int32Array(buckets)
    this.keys = columns.u32('keys', capacity * keyWords)
    this.lastUse = columns.f64('last-use', capacity)
    this.#hashes = new Uint32Array(capacity)
    this.#listOf = columns.u8('lists', capacity)
    this.#newer = new Int32Array(capacity)
    this.#older = new Int32Array(capacity)
    this.#newest = new Int32Array(lists)
    this.#oldest = new Int32Array(lists)
    this.#lengths = new Int32Array(lists)
  }

  /**
   * Of a table whose columns are an earlier process's: takes in what they say, as far as `keep` wants it, and forgets the rest.
   * @param laterMs what is added to the times of use
   */
  adopt(laterMs: number, keep: (slot: number) => boolean): void {
    const found: number[] = []
    const lists = this.#lengths.length
    for (let slot = 0; slot < this.capacity; slot++) {
      const list = this.#listOf[slot]
      if (list === 0) continue
      this.#listOf[slot] = 0
      this.lastUse[slot] += laterMs
      if (list <= lists && Number.isFinite(this.lastUse[slot])) {
        this.#listOf[slot] = list
        found.push(slot)
      }
    }
    found.sort((a, b) => this.lastUse[a] - this.lastUse[b])
    for (const slot of found) {
      const list = this.#listOf[slot] - 1
      this.#listOf[slot] = 0
      if (keep(slot)) this.#takeIn(slot, list)
    }
    this.#chainFreed()
  }

  #takeIn(slot: number, list: number): void {
    const { keys, keyWords } = this
    const at = slot * keyWords
    const hash = halfSipHash13(this.#k0, this.#k1, keys, at, keyWords)
    let bucket = hash & this.#mask
    for (; this.#buckets[bucket] !== 0; bucket = (bucket + 1) & this.#mask) {
      const other = this.#buckets[bucket] - 1
      if (this.#hashes[other] === hash && this.#equals(other, keys, at)) return
    }
    this.#buckets[bucket] = slot + 1
    this.#hashes[slot] = hash
    this.#link(slot, list, this.lastUse[slot])
    this.#size++
    this.#highWater = Math.max(this.#highWater, slot + 1)
  }

  #chainFreed(): void {
    for (let slot = this.#highWater - 1; slot >= 0; slot--) {
      if (this.#listOf[slot] !== 0) continue
      this.#newer[slot] = this.#freed
      this.#freed = slot + 1
    }
  }

  /** Memory of its arrays. */
  get bytes(): number {
    const arrays = [
      this.keys,
      this.lastUse,
      this.#buckets,
      this.#hashes,
      this.#listOf,
      this.#newer,
      this.#older,
    ]
    return arrays.reduce((sum, array) => sum + array.byteLength, 0)
  }

  get size(): number {
    return this.#size
  }

  /** The slot of the key in words `at`.. of `key`, or -1. Does not count as use. */
  find(key: Uint32Array, at = 0): number {
    const hash = halfSipHash13(this.#k0, this.#k1, key, at, this.keyWords)
    const buckets = this.#buckets
    for (let bucket = hash & this.#mask; ; bucket = (bucket + 1) & this.#mask) {
      const slot = buckets[bucket] - 1
      if (slot < 0) return -1
      if (this.#hashes[slot] === hash && this.#equals(slot, key, at)) return slot
    }
  }

  /**
   * Adds a key as the newest of a list.
   * @returns its slot, or -1 if the table is full
   * @throws RangeError if the key is there already, or the list does not exist
   */
  insert(key: Uint32Array, at: number, list: number, nowMs: number): number {
    this.#checkList(list)
    const hash = halfSipHash13(this.#k0, this.#k1, key, at, this.keyWords)
    const buckets = this.#buckets
    let bucket = hash & this.#mask
    for (; buckets[bucket] !== 0; bucket = (bucket + 1) & this.#mask) {
      const other = buckets[bucket] - 1
      if (this.#hashes[other] === hash && this.#equals(other, key, at))
        throw new RangeError(`the key is in the table already, in slot ${other}`)
    }
    const slot = this.#take()
    if (slot < 0) return -1
    buckets[bucket] = slot + 1
    this.#hashes[slot] = hash
    for (let i = 0, to = slot * this.keyWords; i < this.keyWords; i++) this.keys[to + i] = key[at + i]
    this.#link(slot, list, nowMs)
    this.#size++
    return slot
  }

  /** Frees a slot. @throws RangeError if it is not in use */
  remove(slot: number): void {
    this.#checkSlot(slot)
    this.#unlink(slot)
    this.#listOf[slot] = 0
    this.#forget(slot)
    this.#newer[slot] = this.#freed
    this.#freed = slot + 1
    this.#size--
  }

  /** Makes the slot the newest of its list. @throws RangeError if it is not in use */
  touch(slot: number, nowMs: number): void {
    this.move(slot, this.listOf(slot), nowMs)
  }

  /** Makes the slot the newest of a list. @throws RangeError if it is not in use, or the list does not exist */
  move(slot: number, list: number, nowMs: number): void {
    this.#checkSlot(slot)
    this.#checkList(list)
    this.#unlink(slot)
    this.#link(slot, list, nowMs)
  }

  /** The least recently used slot of a list, or -1. */
  oldest(list: number): number {
    return this.#oldest[list] - 1
  }

  /** The next slot of the same list towards the newest, or -1. */
  newer(slot: number): number {
    this.#checkSlot(slot)
    return this.#newer[slot] - 1
  }

  /** Number of slots in a list. */
  length(list: number): number {
    return this.#lengths[list]
  }

  /** Every slot in use for which `test` holds, by list, oldest first: a look at the whole table. */
  select(test: (slot: number) => boolean): number[] {
    const found: number[] = []
    for (let list = 0; list < this.#lengths.length; list++) {
      for (let slot = this.oldest(list); slot >= 0; slot = this.newer(slot)) if (test(slot)) found.push(slot)
    }
    return found
  }

  /** The list of a slot, or -1 if the slot is not in use. */
  listOf(slot: number): number {
    return this.#listOf[slot] - 1
  }

  keyWord(slot: number, word: number): number {
    return this.keys[slot * this.keyWords + word]
  }

  #equals(slot: number, key: Uint32Array, at: number): boolean {
    for (let i = 0, from = slot * this.keyWords; i < this.keyWords; i++)
      if (this.keys[from + i] !== key[at + i]) return false
    return true
  }

  #take(): number {
    if (this.#freed !== 0) {
      const slot = this.#freed - 1
      this.#freed = this.#newer[slot]
      return slot
    }
    return this.#highWater < this.capacity ? this.#highWater++ : -1
  }

  /** Empties the slot's bucket, and closes the gap so that every probe still finds what lies behind it. */
  #forget(slot: number): void {
    const buckets = this.#buckets
    const mask = this.#mask
    let gap = this.#hashes[slot] & mask
    while (buckets[gap] !== slot + 1) gap = (gap + 1) & mask
    for (let bucket = (gap + 1) & mask; buckets[bucket] !== 0; bucket = (bucket + 1) & mask) {
      const home = this.#hashes[buckets[bucket] - 1] & mask
      // An entry may move into the gap if the gap lies between its home and where it is.
      if (((bucket - home) & mask) < ((bucket - gap) & mask)) continue
      buckets[gap] = buckets[bucket]
      gap = bucket
    }
    buckets[gap] = 0
  }

  #link(slot: number, list: number, nowMs: number): void {
    const newest = this.#newest[list]
    this.#older[slot] = newest
    this.#newer[slot] = 0
    if (newest === 0) this.#oldest[list] = slot + 1
    else this.#newer[newest - 1] = slot + 1
    this.#newest[list] = slot + 1
    this.#listOf[slot] = list + 1
    this.#lengths[list]++
    this.lastUse[slot] = nowMs
  }

  #unlink(slot: number): void {
    const list = this.#listOf[slot] - 1
    const older = this.#older[slot]
    const newer = this.#newer[slot]
    if (older === 0) this.#oldest[list] = newer
    else this.#newer[older - 1] = newer
    if (newer === 0) this.#newest[list] = older
    else this.#older[newer - 1] = older
    this.#lengths[list]--
  }

  #checkSlot(slot: number): void {
    if (!(this.#listOf[slot] > 0)) throw new RangeError(`slot ${slot} is not in use`)
  }

  #checkList(list: number): void {
    if (!(list >= 0 && list < this.#lengths.length)) throw new RangeError(`there is no list ${list}`)
  }
}

function inRange(name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high)
    throw new RangeError(`${name} must be an integer from ${low} to ${high}, not ${value}`)
}
