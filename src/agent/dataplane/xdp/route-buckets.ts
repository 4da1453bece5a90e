import { RouteHash } from './route-hash.ts'
import { RouteKey } from './route-key.ts'
import {
  bucketBytes,
  IDENTIFIER_MASK,
  OWNER_MASK,
  PINNED,
  REUSE_MASK,
  REUSE_ONE,
  ROUTE_CLIENTS_OFFSET,
  ROUTE_MAX_AGE,
  ROUTE_TRIES,
  ROUTE_WAYS,
  STAMP_MASK,
  USED,
} from './route-layout.ts'
import type { RouteMemory } from './route-memory.ts'

const RANKS = 0x11333122
const CLIENTS = ROUTE_CLIENTS_OFFSET / 8

/** Ticks since a value's last packet: what seems to lie ahead is new. */
export const ageOf = (stamp: number, now: number): number => {
  const age = (now - stamp) & 0xffff
  return age > ROUTE_MAX_AGE ? 0 : age
}

/**
 * The steps of bpf/route-table.h on single buckets, under its six rules, function by function. An entry is known by the index of its
 * key's word; its value is the next. Every access is one atomic operation, since the kernel's programs do the same at the same time.
 */
export class RouteBuckets {
  readonly memory: RouteMemory
  readonly #words: BigUint64Array
  readonly #six: boolean
  readonly #bucketWords: number
  readonly #moved: RouteKey

  constructor(memory: RouteMemory) {
    this.memory = memory
    this.#words = memory.words
    this.#six = memory.family === 6
    this.#bucketWords = bucketBytes(memory.family) / 8
    this.#moved = this.newKey()
  }

  newKey(): RouteKey {
    return new RouteKey(this.memory.family, new RouteHash(this.memory.secret, this.memory.buckets))
  }

  /** The word at which a bucket begins. */
  at(bucket: number): number {
    return bucket * this.#bucketWords
  }

  bucketOf(entry: number): number {
    return Math.floor(entry / this.#bucketWords)
  }

  keyAt(entry: number): bigint {
    return Atomics.load(this.#words, entry)
  }

  valueAt(entry: number): bigint {
    return Atomics.load(this.#words, entry + 1)
  }

  /** Whatever route an entry holds: its value, and its key into `out`; 0: none. */
  readAny(entry: number, out: RouteKey): bigint {
    const word = this.keyAt(entry)
    if (word === 0n) return 0n
    const client = clientAt(entry)
    out.setStored(
      word,
      this.#six ? Atomics.load(this.#words, client) : 0n,
      this.#six ? Atomics.load(this.#words, client + 1) : 0n,
    )
    return out.word === word ? this.read(entry, out) : 0n
  }

  /** The entry's value if it is the key's, else 0. */
  read(entry: number, key: RouteKey): bigint {
    let before = this.valueAt(entry)
    let value = 0n
    const owner = before & OWNER_MASK
    for (let tries = 0; tries < ROUTE_TRIES; tries++) {
      if (this.keyAt(entry) !== key.word) return 0n
      if (this.#six) {
        const client = clientAt(entry)
        if (Atomics.load(this.#words, client) !== key.clientHigh) return 0n
        if (Atomics.load(this.#words, client + 1) !== key.clientLow) return 0n
      }
      value = this.valueAt(entry)
      if (((before ^ value) & ~STAMP_MASK) === 0n) return (value & USED) !== 0n ? value : 0n
      before = value
    }
    return (value & USED) !== 0n && (value & OWNER_MASK) === owner ? value : 0n
  }

  /** The value of the key's route, the first bucket's first, or 0. */
  find(key: RouteKey): bigint {
    return this.scan(this.at(key.first), key) || this.scan(this.at(key.second), key)
  }

  scan(bucket: number, key: RouteKey): bigint {
    for (let entry = bucket; entry < bucket + 2 * ROUTE_WAYS; entry += 2) {
      if (this.keyAt(entry) !== key.word) continue
      const value = this.read(entry, key)
      if (value !== 0n) return value
    }
    return 0n
  }

  /** An entry claimed for `value`, or -1: none is free. */
  claim(bucket: number, value: bigint): number {
    for (let entry = bucket; entry < bucket + 2 * ROUTE_WAYS; entry += 2) {
      const was = this.valueAt(entry)
      if ((was & USED) === 0n && this.exchangeValue(entry, was, nextOwner(was, value))) return entry
    }
    return -1
  }

  exchangeValue(entry: number, was: bigint, is: bigint): boolean {
    return Atomics.compareExchange(this.#words, entry + 1, was, is) === was
  }

  publish(entry: number, key: RouteKey): void {
    if (this.#six) {
      const client = clientAt(entry)
      Atomics.store(this.#words, client, key.clientHigh)
      Atomics.store(this.#words, client + 1, key.clientLow)
    }
    Atomics.store(this.#words, entry, key.word)
  }

  /** Takes the entry from the key; true: it is the caller's, to free or to fill. */
  own(entry: number, word: bigint): boolean {
    return Atomics.compareExchange(this.#words, entry, word, 0n) === word
  }

  /** For who owns the entry. Answers the value that it had. */
  free(entry: number): bigint {
    const value = this.valueAt(entry)
    Atomics.store(this.#words, entry + 1, value & REUSE_MASK)
    return value
  }

  /** For who owns the entry. Answers the value that it had. */
  fill(entry: number, value: bigint): bigint {
    return Atomics.exchange(this.#words, entry + 1, nextOwner(this.valueAt(entry), value))
  }

  /** Makes room by moving one of the bucket's routes to its second bucket; the entry, filled with `value`, or -1. */
  kick(bucket: number, value: bigint): number {
    const key = this.#moved
    const from = this.at(bucket)
    for (let entry = from; entry < from + 2 * ROUTE_WAYS; entry += 2) {
      const was = this.readAny(entry, key)
      if (was === 0n || key.first !== bucket) continue
      const copy = this.claim(this.at(key.second), was)
      if (copy < 0) continue
      this.publish(copy, key)
      const changed = (was ^ this.read(entry, key)) & ~STAMP_MASK
      if (changed === 0n && this.own(entry, key.word)) {
        this.fill(entry, value)
        return entry
      }
      if (this.own(copy, key.word)) this.free(copy)
    }
    return -1
  }

  /** Which entry of two buckets is to go, with its key into `victim`: by rank, then age; the earlier of equals. -1: pinned ones only. */
  oldest(first: number, second: number, now: number, victim: RouteKey): number {
    const key = this.#moved
    let worst = 0
    let found = -1
    for (const bucket of [first, second])
      for (let entry = bucket; entry < bucket + 2 * ROUTE_WAYS; entry += 2) {
        const value = this.readAny(entry, key)
        if (value === 0n || (value & PINNED) !== 0n) continue
        const high = Number(value >> 32n)
        const badness = ((RANKS >>> (((high >>> 27) & 7) * 4)) & 15) * 65536 + ageOf(high & 0xffff, now)
        if (badness <= worst) continue
        worst = badness
        found = entry
        victim.setStored(key.word, key.clientHigh, key.clientLow)
      }
    return found
  }

  /** Another entry's value with this key, USED alone if it went meanwhile, or 0. */
  twin(bucket: number, key: RouteKey, own: number, value: bigint): bigint {
    for (let entry = bucket; entry < bucket + 2 * ROUTE_WAYS; entry += 2) {
      if (entry === own || this.keyAt(entry) !== key.word) continue
      const other = this.read(entry, key)
      if (other !== 0n && ((other ^ value) & IDENTIFIER_MASK) === 0n) continue
      if (other !== 0n) return other
      if (!this.#six) return USED
    }
    return 0n
  }

  /** Takes the own route out, that has been moved meanwhile. */
  withdraw(bucket: number, key: RouteKey, own: bigint): void {
    for (let entry = bucket; entry < bucket + 2 * ROUTE_WAYS; entry += 2) {
      const value = this.read(entry, key)
      if (value !== 0n && ((value ^ own) & IDENTIFIER_MASK) === 0n && this.own(entry, key.word))
        this.free(entry)
    }
  }
}

/** The word of an entry's client. */
const clientAt = (entry: number): number => entry + CLIENTS

const nextOwner = (was: bigint, value: bigint): bigint =>
  (value & ~REUSE_MASK) | ((was + REUSE_ONE) & REUSE_MASK) | USED
