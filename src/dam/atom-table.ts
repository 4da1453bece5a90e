/**
 * The part of the atom table that this member has (R-C4): about 100 bytes an atom, in arrays. It keeps and finds; what may be replaced by what is
 * decided by its users.
 */
import { SlotTable } from '../agent/dataplane/slot-table.ts'
import { atomHash } from './digest.ts'
import { BUCKETS, type Location } from './location.ts'
import { type Rank, sameOrigin } from './order.ts'
import { Origins } from './origins.ts'
import { type Atom, KEY_WORDS, type Origin } from './types.ts'

/** Why an atom is here; the lists of the table. When it is full, first what was only looked up gives way, then ends, then copies. */
export const PLACE = {
  /** This member answers for it. */
  own: 0,
  /** Another member's, which asked for this copy. */
  copy: 1,
  /** Another member's, from a query. */
  cached: 2,
  /** Ended, this member's own or another's. */
  zombie: 3,
} as const

export type Place = (typeof PLACE)[keyof typeof PLACE]

const EVICTION = [PLACE.cached, PLACE.zombie, PLACE.copy] as const

/**
 * Whose they were before, and whose those are that were looked up, is others' word: names that are made up must leave room for the owners
 * of copies, which live. Of a home that finds none nothing is remembered.
 */
const MOST_BY_HEARSAY = 0x7fff
const MOST_WITH_HOMES = 0x3fff

export interface AtomTableSettings {
  readonly capacity: number
  readonly location: Location
  /** Of the table's own hash: this member's, secret. */
  readonly k0: number
  readonly k1: number
  /** Of digests: shared by the members. */
  readonly digestKey: readonly [number, number]
}

export class AtomTable {
  readonly origins = new Origins()
  readonly #location: Location
  readonly #digestKey: readonly [number, number]
  readonly #slots: SlotTable
  readonly #hosts: Uint32Array
  readonly #generations: Float64Array
  readonly #owners: Uint16Array
  readonly #homes: Uint16Array
  readonly #levels: Uint8Array
  readonly #buckets: Uint16Array
  /** Slot + 1 of the next and the one before in the same bucket. */
  readonly #next: Int32Array
  readonly #before: Int32Array
  readonly #first = new Int32Array(BUCKETS)
  readonly evicted = { cached: 0, zombie: 0, copy: 0 }
  /** Told before an atom gives way to another. */
  onEvict: (slot: number) => void = () => {}

  constructor({ capacity, location, k0, k1, digestKey }: AtomTableSettings) {
    this.#location = location
    this.#digestKey = digestKey
    this.#slots = new SlotTable({ capacity, keyWords: KEY_WORDS, lists: 4, k0, k1 })
    this.#hosts = new Uint32Array(capacity)
    this.#generations = new Float64Array(capacity)
    this.#owners = new Uint16Array(capacity)
    this.#homes = new Uint16Array(capacity)
    this.#levels = new Uint8Array(capacity)
    this.#buckets = new Uint16Array(capacity)
    this.#next = new Int32Array(capacity)
    this.#before = new Int32Array(capacity)
  }

  get size(): number {
    return this.#slots.size
  }

  get capacity(): number {
    return this.#slots.capacity
  }

  /** Memory of its arrays. */
  get bytes(): number {
    const arrays = [this.#hosts, this.#generations, this.#owners, this.#homes, this.#levels, this.#buckets]
    return [...arrays, this.#next, this.#before].reduce(
      (sum, array) => sum + array.byteLength,
      this.#slots.bytes,
    )
  }

  count(place: Place): number {
    return this.#slots.length(place)
  }

  find(key: Uint32Array, at = 0): number {
    return this.#slots.find(key, at)
  }

  place(slot: number): Place {
    return this.#slots.listOf(slot) as Place
  }

  isZombie(slot: number): boolean {
    return this.#slots.listOf(slot) === PLACE.zombie
  }

  host(slot: number): number {
    return this.#hosts[slot]
  }

  generation(slot: number): number {
    return this.#generations[slot]
  }

  level(slot: number): number {
    return this.#levels[slot]
  }

  bucket(slot: number): number {
    return this.#buckets[slot]
  }

  /** When it came here, or was asked for or in use last. */
  lastUseMs(slot: number): number {
    return this.#slots.lastUse[slot]
  }

  owner(slot: number): Origin {
    return this.origins.get(this.#owners[slot])
  }

  home(slot: number): Origin {
    return this.origins.get(this.#homes[slot])
  }

  hash(slot: number): number {
    const [k0, k1] = this.#digestKey
    return atomHash(
      k0,
      k1,
      this.#slots.keys,
      slot * KEY_WORDS,
      this.#hosts[slot],
      this.#generations[slot],
      this.#levels[slot],
    )
  }

  key(slot: number): Uint32Array {
    return this.#slots.keys.slice(slot * KEY_WORDS, (slot + 1) * KEY_WORDS)
  }

  rank(slot: number): Rank {
    return { generation: this.#generations[slot], zombie: this.isZombie(slot), owner: this.owner(slot) }
  }

  atom(slot: number): Atom {
    return {
      key: this.key(slot),
      host: this.#hosts[slot],
      generation: this.#generations[slot],
      zombie: this.isZombie(slot),
      level: this.#levels[slot],
      owner: this.owner(slot),
      home: this.home(slot),
    }
  }

  /**
   * Puts an atom in, in the place of what is there under its key.
   * @param isHearsay whose it is was said by somebody else, perhaps
   * @returns its slot, or -1: there is no room for it
   */
  put(atom: Atom, place: Place, nowMs: number, isHearsay = place === PLACE.cached): number {
    const found = this.#slots.find(atom.key)
    const slot = found >= 0 ? found : this.#insert(atom.key, place, nowMs)
    if (slot < 0) return -1
    const owner = this.origins.use(atom.owner, isHearsay ? MOST_BY_HEARSAY : undefined)
    const home = this.#homeIndex(atom)
    if (owner < 0 || home < 0) {
      if (owner >= 0) this.origins.release(owner)
      if (home >= 0) this.origins.release(home)
      if (found < 0) this.#drop(slot)
      return -1
    }
    if (found >= 0) {
      this.#releaseOrigins(slot)
      this.#slots.move(slot, place, nowMs)
    }
    this.#owners[slot] = owner
    this.#homes[slot] = home
    this.#hosts[slot] = atom.host
    this.#generations[slot] = atom.generation
    this.#levels[slot] = atom.level
    return slot
  }

  remove(slot: number): void {
    this.#releaseOrigins(slot)
    this.#drop(slot)
  }

  /** It was asked for: it gives way later than others. */
  touch(slot: number, nowMs: number): void {
    if (!this.isZombie(slot)) this.#slots.touch(slot, nowMs)
  }

  /** Whether a bucket has no atoms, of whatever place. */
  isEmpty(bucket: number): boolean {
    return this.#first[bucket] === 0
  }

  /** Slots of a bucket. The table may change between two, but for the slot given last. */
  *inBucket(bucket: number): Generator<number> {
    for (let entry = this.#first[bucket]; entry !== 0; ) {
      const slot = entry - 1
      entry = this.#next[slot]
      yield slot
    }
  }

  /** Of a place, those that came there or were asked for before, the oldest first. */
  oldest(place: Place, beforeMs: number, most: number): number[] {
    const found: number[] = []
    for (
      let slot = this.#slots.oldest(place);
      slot >= 0 && found.length < most;
      slot = this.#slots.newer(slot)
    ) {
      if (this.#slots.lastUse[slot] >= beforeMs) break
      found.push(slot)
    }
    return found
  }

  #homeIndex({ owner, home }: Atom): number {
    const index = sameOrigin(owner, home) ? -1 : this.origins.use(home, MOST_WITH_HOMES)
    return index < 0 ? this.origins.use(owner) : index
  }

  #insert(key: Uint32Array, place: Place, nowMs: number): number {
    let slot = this.#slots.insert(key, 0, place, nowMs)
    if (slot < 0) {
      if (!this.#makeRoom(place)) return -1
      slot = this.#slots.insert(key, 0, place, nowMs)
    }
    const bucket = this.#location.bucketOf(key)
    const first = this.#first[bucket]
    this.#buckets[slot] = bucket
    this.#before[slot] = 0
    this.#next[slot] = first
    if (first !== 0) this.#before[first - 1] = slot + 1
    this.#first[bucket] = slot + 1
    return slot
  }

  /** For another member's atoms its own ones do not give way, nor copies for what was only looked up. */
  #makeRoom(place: Place): boolean {
    for (const list of EVICTION) {
      if (list === PLACE.copy && place === PLACE.cached) return false
      const slot = this.#slots.oldest(list)
      if (slot < 0) continue
      this.evicted[list === PLACE.cached ? 'cached' : list === PLACE.zombie ? 'zombie' : 'copy']++
      this.onEvict(slot)
      this.remove(slot)
      return true
    }
    return false
  }

  #drop(slot: number): void {
    const [next, before] = [this.#next[slot], this.#before[slot]]
    if (next !== 0) this.#before[next - 1] = before
    if (before !== 0) this.#next[before - 1] = next
    else this.#first[this.#buckets[slot]] = next
    this.#slots.remove(slot)
  }

  #releaseOrigins(slot: number): void {
    this.origins.release(this.#owners[slot])
    this.origins.release(this.#homes[slot])
  }
}
