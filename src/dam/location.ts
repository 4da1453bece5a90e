/**
 * Where copies of an atom lie (R-C5): the space of hash values is cut into ranges, buckets here, and each has its members in an order of its
 * own. Rendezvous hashing makes the orders, so a member that comes or goes moves nothing but what is its own.
 */
import { halfSipHash13 } from '../agent/dataplane/half-siphash.ts'
import { KEY_WORDS, type Member } from './types.ts'

/** 2^BUCKET_BITS buckets. */
export const BUCKET_BITS = 10
export const BUCKETS = 1 << BUCKET_BITS

export class Location {
  readonly #k0: number
  readonly #k1: number
  #members: readonly Member[] = []
  #byName = new Map<string, Member>()
  readonly #orders: (readonly Member[] | undefined)[] = []
  readonly #words = new Uint32Array(2)

  /** `k0`, `k1`: halves of a hash key that all members share, and nobody else knows. */
  constructor(k0: number, k1: number) {
    this.#k0 = k0
    this.#k1 = k1
  }

  get members(): readonly Member[] {
    return this.#members
  }

  member(name: string): Member | undefined {
    return this.#byName.get(name)
  }

  replace(members: readonly Member[]): void {
    this.#members = [...members]
    this.#byName = new Map(members.map(member => [member.member, member]))
    this.#orders.length = 0
  }

  bucketOf(key: Uint32Array, at = 0): number {
    return halfSipHash13(this.#k0, this.#k1, key, at, KEY_WORDS) >>> (32 - BUCKET_BITS)
  }

  /** The members that live and stay, the nearest to the bucket first. */
  order(bucket: number): readonly Member[] {
    let order = this.#orders[bucket]
    if (order === undefined) {
      const scored = this.#members
        .filter(({ leaving }) => leaving !== true)
        .map(member => ({ member, score: this.#score(member, bucket) }))
      scored.sort((a, b) => b.score - a.score || (a.member.member < b.member.member ? -1 : 1))
      order = scored.map(({ member }) => member)
      this.#orders[bucket] = order
    }
    return order
  }

  /** Where the copies of an owner's atoms go, the first `level` of the order but for the owner. */
  targets(bucket: number, level: number, owner: string): readonly Member[] {
    const order = this.order(bucket)
    const found: Member[] = []
    for (const member of order) {
      if (found.length >= level && level < 15) break
      if (member.member !== owner) found.push(member)
    }
    return found
  }

  #score(member: Member, bucket: number): number {
    this.#words[0] = member.hash
    this.#words[1] = bucket
    return halfSipHash13(this.#k0, this.#k1, this.#words, 0, 2)
  }
}
