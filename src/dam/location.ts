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
  #staying: readonly Member[] = []
  #byName = new Map<string, Member>()
  readonly #orders = new Array<readonly Member[] | undefined>(BUCKETS).fill(undefined)
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
    this.#staying = members.filter(({ leaving }) => leaving !== true)
    this.#orders.fill(undefined)
  }

  bucketOf(key: Uint32Array, at = 0): number {
    return halfSipHash13(this.#k0, this.#k1, key, at, KEY_WORDS) >>> (32 - BUCKET_BITS)
  }

  /** The members that live and stay, the nearest to the bucket first. */
  order(bucket: number): readonly Member[] {
    let order = this.#orders[bucket]
    if (order === undefined) {
      order = this.#sorted(bucket)
      this.#orders[bucket] = order
    }
    return order
  }

  /** By insertion: the members are few, and a change of them sorts as often as there are buckets with atoms. */
  #sorted(bucket: number): readonly Member[] {
    const order: Member[] = []
    const scores: number[] = []
    for (const member of this.#staying) {
      const score = this.#score(member, bucket)
      let at = order.length
      for (; at > 0 && isNearer(member, score, order[at - 1], scores[at - 1]); at--) {
        order[at] = order[at - 1]
        scores[at] = scores[at - 1]
      }
      order[at] = member
      scores[at] = score
    }
    return order
  }

  #score(member: Member, bucket: number): number {
    this.#words[0] = member.hash
    this.#words[1] = bucket
    return halfSipHash13(this.#k0, this.#k1, this.#words, 0, 2)
  }
}

const isNearer = (a: Member, scoreOfA: number, b: Member, scoreOfB: number): boolean =>
  scoreOfA > scoreOfB || (scoreOfA === scoreOfB && a.member < b.member)
