/** What other forwarders say of VIPs: taken where it is higher, refused where it cannot be. Pure. */
import { beats } from './claims.ts'
import { isAbove } from './generation.ts'
import type { Holdings, OwnershipCounters } from './holdings.ts'
import type { Member, Members } from './members.ts'
import type { Support } from './support.ts'
import type { Claim, OwnershipMessage } from './types.ts'

export class Hearing {
  readonly #self: string
  readonly #own: Holdings
  readonly #members: Members
  readonly #support: Support
  readonly #counters: OwnershipCounters
  readonly #mayMove: (member: Member, nowMs: number) => boolean

  constructor(parts: {
    self: string
    own: Holdings
    members: Members
    support: Support
    counters: OwnershipCounters
    /** Whether a VIP may be taken, given up or claimed again once more because of what a member says. */
    mayMove(member: Member, nowMs: number): boolean
  }) {
    this.#self = parts.self
    this.#own = parts.own
    this.#members = parts.members
    this.#support = parts.support
    this.#counters = parts.counters
    this.#mayMove = (member, nowMs) => parts.mayMove(member, nowMs)
  }

  /** Claims of any forwarder, by way of a member. */
  merge(from: Member, claims: readonly Claim[], vips: readonly string[], nowMs: number): void {
    const better: Claim[] = []
    for (const claim of claims) {
      const known = this.#own.claims.of(claim.vip)
      if (!this.#isCredible(claim, vips)) this.#counters.refused++
      else if (known !== null && known.holder === this.#self && this.#own.held.has(claim.vip))
        this.#meet(from, claim, known, nowMs)
      else if (this.#own.claims.take(claim)) {
        this.#own.changed()
        // An earlier life of this node said so.
        if (claim.holder === this.#self) this.#own.disclaim(claim.vip)
      }
      const now = this.#own.claims.of(claim.vip)
      if (now !== null && isAbove(now.generation, claim.generation)) better.push(now)
    }
    if (better.length > 0) this.#own.tell([from], better)
  }

  #isCredible({ vip, holder }: Claim, vips: readonly string[]): boolean {
    return (
      vips.includes(vip) &&
      (holder === '' || holder === this.#self || this.#members.get(holder) !== undefined)
    )
  }

  /** Another claim of what this node holds. */
  #meet(from: Member, claim: Claim, mine: Claim, nowMs: number): void {
    if (!beats(claim, mine) || !this.#mayMove(from, nowMs) || !this.#own.claims.take(claim)) return
    this.#own.changed()
    if (claim.holder === this.#self) {
      // Its own, of a life before: it goes on, above it.
      this.#own.claim(claim.vip, nowMs, { ordered: mine.ordered })
    } else if (claim.death && this.#support.lately(nowMs) > claim.support) {
      this.#counters.contested++
      this.#own.claim(claim.vip, nowMs, { ordered: mine.ordered })
    } else {
      this.#counters.yielded++
      this.#own.release(claim.vip, claim)
    }
  }

  /** @param isAble whether this node takes VIPs now */
  asksToTake(
    from: Member,
    { vip, generation, ordered }: OwnershipMessage & { type: 'take' },
    vips: readonly string[],
    isAble: boolean,
    nowMs: number,
  ): void {
    if (!vips.includes(vip)) return void this.#counters.refused++
    // The asker knew less than there is: a claim was made meanwhile.
    if (isAbove(this.#own.claims.generationOf(vip), generation)) return
    if (!isAble) return
    if (this.#own.held.has(vip) && this.#own.claims.of(vip)!.ordered === ordered) return
    if (!this.#mayMove(from, nowMs)) return
    this.#own.claim(vip, nowMs, { ordered, above: generation })
  }
}
