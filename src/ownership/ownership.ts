/**
 * VIP ownership at one forwarder (R-A6, figs 29 and 31, decision 7). A pure core: the shell has links, probes, kernel and clock.
 *
 *  1. What has no holder is taken at once by the forwarder that stands first in the order of takers.ts, by a claim above all that it knows; if
 *     that one does nothing, by the next. A VIP has no holder when its holder's machine is dead, its agent has been silent for the whole
 *     grace, it is no forwarder any more, or it has said so.
 *  2. The higher claim is in force. A forwarder that hears of one above its own stops holding before it does anything else, with one exception:
 *     its claim was passed over because its machine seemed dead, by a forwarder that saw fewer nodes than it did itself all the time. Then it
 *     claims again. So after a partition the larger side keeps what it holds, and a node that was cut off gives up what it took.
 *  3. Nothing is moved from a living holder, but by order, by its own leave, or to even out shares: when all have been there, unchanged, for the
 *     hold time, and then no more VIPs than the weights ask for.
 *  4. An order lasts until the holder dies or leaves, or another order.
 *  5. A holder keeps its VIPs while it renews its kernel's lease in time. One that could not (it was stopped) holds nothing any more.
 */
import { Claims } from './claims.ts'
import { type Machine, type Member, Members } from './members.ts'
import { countOf, evenOut, inOrder, type Place, takers } from './placement.ts'
import { leaseMs, type OwnershipTimes, renewMs, silentMs } from './settings.ts'
import { Support } from './support.ts'
import {
  type Claim,
  MAX_GENERATION_JUMP,
  MOST_CLAIMS,
  type OwnershipMessage,
  type Standing,
} from './types.ts'

export interface OwnershipPort {
  /** To a linked forwarder; may be lost with the link. */
  send(to: string, message: OwnershipMessage): void
  /** This node holds the VIP from now on. */
  hold(claim: Claim): void
  /** And no longer. `claim`: who has it now. */
  release(vip: string, claim: Claim): void
  /** The kernel's lease on all held VIPs begins anew. */
  renew(vips: readonly string[]): void
  /** Some claim has changed: for the disk. */
  changed(): void
}

export interface OwnershipCounters {
  claims: number
  taken_dead: number
  taken_silent: number
  evened_out: number
  yielded: number
  contested: number
  /** Of what is no forwarder, about what is no VIP, or with an impossible generation. */
  refused: number
}

export class Ownership {
  readonly #self: string
  readonly #port: OwnershipPort
  readonly #members = new Members()
  readonly #claims = new Claims()
  readonly #support: Support
  readonly #held = new Set<string>()
  /** VIPs that were just taken from the dead. */
  readonly #fresh = new Map<string, number>()
  readonly #orphanedMs = new Map<string, number>()
  /** VIPs that this node asked others to take: whom already, and when. */
  readonly #asked = new Map<string, { to: Set<string>; atMs: number }>()
  #times: OwnershipTimes
  #weight = 0
  #vips: readonly string[] = []
  #ready = false
  #leaving = false
  #startedMs: number
  #renewedMs: number
  #toldMs = Number.NEGATIVE_INFINITY
  #told = ''
  #steady = ''
  /** For what there is nothing left to even out. */
  #evened = ''
  #steadySinceMs: number
  #wakeAtMs = Number.POSITIVE_INFINITY
  readonly counters: OwnershipCounters = {
    ...{ claims: 0, taken_dead: 0, taken_silent: 0, evened_out: 0 },
    ...{ yielded: 0, contested: 0, refused: 0 },
  }

  constructor(self: string, times: OwnershipTimes, port: OwnershipPort, nowMs: number) {
    this.#self = self
    this.#times = times
    this.#port = port
    this.#support = new Support(times.supportMs)
    this.#startedMs = nowMs
    this.#renewedMs = nowMs
    this.#steadySinceMs = nowMs
  }

  /** When `tick` wants to be called. */
  get wakeAtMs(): number {
    return this.#wakeAtMs
  }
  get held(): ReadonlySet<string> {
    return this.#held
  }
  get isReady(): boolean {
    return this.#ready
  }
  claimOf(vip: string): Claim | null {
    return this.#claims.of(vip)
  }
  claims(): Claim[] {
    return this.#claims.all()
  }

  /**
   * What an agent before knew here. Comes after `configure`.
   * @param inKernel VIPs that this machine still answers for: they are held on
   */
  adopt(claims: readonly Claim[], inKernel: ReadonlySet<string>, nowMs: number): void {
    for (const claim of claims) if (this.#vips.includes(claim.vip)) this.#claims.take(claim)
    for (const claim of this.#claims.all()) {
      if (claim.holder !== this.#self) continue
      if (inKernel.has(claim.vip)) this.#hold(claim)
      else this.#disclaim(claim.vip)
    }
    this.#evaluate(nowMs)
  }

  /** @param forwarders the other ones @param vips those that are held by one forwarder */
  configure(
    parts: { forwarders: readonly string[]; vips: readonly string[]; weight: number; times: OwnershipTimes },
    nowMs: number,
  ): void {
    this.#times = parts.times
    this.#weight = parts.weight
    this.#members.set(
      parts.forwarders.filter(name => name !== this.#self),
      nowMs,
    )
    this.#vips = inOrder(parts.vips)
    const wanted = new Set(this.#vips)
    for (const vip of [...this.#held]) if (!wanted.has(vip)) this.#release(vip, this.#claims.of(vip)!)
    for (const vip of this.#orphanedMs.keys()) if (!wanted.has(vip)) this.#orphanedMs.delete(vip)
    this.#claims.keep(wanted)
    this.#evaluate(nowMs)
  }

  /** Decision 7: whether a forwarder's kernel answers probes. */
  machine(name: string, state: Machine, nowMs: number): void {
    const member = this.#members.get(name)
    if (member === undefined || member.machine === state) return
    member.machine = state
    member.proven = false
    this.#evaluate(nowMs)
  }

  /** Whether a forwarder's agent is linked. */
  link(name: string, up: boolean, nowMs: number): void {
    const member = this.#members.get(name)
    if (member === undefined || member.linked === up) return
    member.linked = up
    member.standing = null
    member.proven = false
    if (up) this.#port.send(name, this.#standing())
    else member.silentSinceMs = nowMs
    this.#evaluate(nowMs)
  }

  /** @param count nodes of all roles that are alive, as seen here, this one among them */
  seen(count: number, nowMs: number): void {
    this.#support.see(count, nowMs)
    this.#lower(nowMs)
  }

  /** This machine stood still for a while that no timer shows. */
  stoodStill(nowMs: number): void {
    this.#support.reset(nowMs)
  }

  receive(from: string, message: OwnershipMessage, nowMs: number): void {
    const member = this.#members.get(from)
    if (member === undefined) return void this.counters.refused++
    if (this.#lapsed(nowMs)) this.#lapse(nowMs)
    // Not by a standing: that may have been on its way since before its death.
    if (member.linked && member.machine === 'dead' && message.type === 'claims') member.proven = true
    if (message.type === 'standing') this.#heard(member, message)
    else if (message.type === 'claims') this.#merge(member, message.claims, nowMs)
    else this.#asksToTake(message, nowMs)
    this.#evaluate(nowMs)
  }

  /** Call at `wakeAtMs`, or when in doubt. */
  tick(nowMs: number): void {
    this.#evaluate(nowMs)
  }

  /**
   * An operator wants a VIP at a forwarder; it lasts. Answers why not, or null: it is under way.
   * @param to null: the one that would take it if its holder died
   */
  order(vip: string, to: string | null, nowMs: number): { to: string } | { refused: string } {
    if (!this.#vips.includes(vip)) return { refused: `no service announces ${vip} by ARP` }
    const holder = this.#claims.of(vip)?.holder
    const target = to ?? this.#candidates(new Set([holder ?? '']), vip)[0]
    if (target === undefined) return { refused: 'there is no other forwarder that can take it' }
    const generation = this.#claims.generationOf(vip)
    if (target === this.#self) {
      if (this.#leaving || !this.#ready) return { refused: `${target} takes no VIPs now` }
      const claim = this.#claims.of(vip)
      if (!this.#held.has(vip) || claim?.ordered !== true) this.#claim(vip, nowMs, { ordered: true })
    } else {
      const member = this.#members.get(target)
      if (member === undefined) return { refused: `${target} is no forwarder` }
      if (!this.#canTake(member)) return { refused: `${target} cannot be reached, or takes no VIPs now` }
      this.#port.send(target, { type: 'take', vip, generation, ordered: true })
    }
    this.#evaluate(nowMs)
    return { to: target }
  }

  /** This node is about to end: others take what it holds. It answers for them until they do. */
  leave(nowMs: number): void {
    this.#leaving = true
    this.#evaluate(nowMs)
  }

  /** There is nothing left to hand over, or nobody to take it. */
  hasLeft(nowMs: number): boolean {
    return this.#leaving && [...this.#held].every(vip => !this.#awaits(vip, nowMs) && !this.#nextToAsk(vip))
  }

  /** The end: what is still held is nobody's. */
  giveUp(): void {
    for (const vip of [...this.#held]) {
      this.#disclaim(vip)
      this.#tellClaims(this.#members.all(), [this.#claims.of(vip)!])
    }
  }

  #standing(): Standing {
    return {
      type: 'standing',
      weight: this.#weight,
      ready: this.#ready,
      leaving: this.#leaving,
      sees: this.#members.seen(),
      digest: this.#claims.digest,
    }
  }

  #heard(member: Member, standing: Standing): void {
    member.standing = standing
    if (standing.digest !== this.#claims.digest) this.#tellClaims([member], this.#claims.all())
  }

  #merge(from: Member, claims: readonly Claim[], nowMs: number): void {
    const better: Claim[] = []
    for (const claim of claims) {
      const known = this.#claims.of(claim.vip)
      if (!this.#isCredible(claim, known)) this.counters.refused++
      else if (known !== null && known.holder === this.#self && this.#held.has(claim.vip))
        this.#meet(claim, known, nowMs)
      else if (this.#claims.take(claim)) {
        this.#port.changed()
        // An earlier life of this node said so.
        if (claim.holder === this.#self) this.#disclaim(claim.vip)
      }
      const now = this.#claims.of(claim.vip)
      if (now !== null && now.generation > claim.generation) better.push(now)
    }
    if (better.length > 0) this.#tellClaims([from], better)
  }

  #isCredible({ vip, generation, holder }: Claim, known: Claim | null): boolean {
    return (
      this.#vips.includes(vip) &&
      generation <= (known?.generation ?? 0) + MAX_GENERATION_JUMP &&
      (holder === '' || holder === this.#self || this.#members.get(holder) !== undefined)
    )
  }

  /** Another claim of what this node holds. */
  #meet(claim: Claim, mine: Claim, nowMs: number): void {
    if (!this.#claims.take(claim)) return
    this.#port.changed()
    if (claim.holder === this.#self) {
      // Its own, of a life before: it goes on, above it.
      this.#claim(claim.vip, nowMs, { ordered: mine.ordered })
    } else if (claim.death && this.#support.lately(nowMs) > claim.support) {
      this.counters.contested++
      this.#claim(claim.vip, nowMs, { ordered: mine.ordered })
    } else {
      this.counters.yielded++
      this.#release(claim.vip, claim)
    }
  }

  #asksToTake({ vip, generation, ordered }: OwnershipMessage & { type: 'take' }, nowMs: number): void {
    if (!this.#vips.includes(vip)) return void this.counters.refused++
    // The asker knew less than there is: a claim was made meanwhile.
    if (
      this.#claims.generationOf(vip) > generation ||
      generation > this.#claims.generationOf(vip) + MAX_GENERATION_JUMP
    )
      return
    if (!this.#ready || this.#leaving || this.#lapsed(nowMs)) return
    if (this.#held.has(vip) && this.#claims.of(vip)!.ordered === ordered) return
    this.#claim(vip, nowMs, { ordered, above: generation })
  }

  #claim(vip: string, nowMs: number, parts: { ordered?: boolean; death?: boolean; above?: number }): void {
    const generation = 1 + Math.max(this.#claims.generationOf(vip), parts.above ?? 0)
    const claim: Claim = {
      ...{ vip, generation, holder: this.#self, support: this.#support.now() },
      ...{ ordered: parts.ordered ?? false, death: parts.death ?? false },
    }
    this.counters.claims++
    this.#claims.take(claim)
    this.#port.changed()
    this.#hold(claim)
    if (claim.death) this.#fresh.set(vip, nowMs)
    this.#tellClaims(this.#members.all(), [claim])
  }

  /** Not all of those that have vanished together are known to be dead when the first of them is. */
  #lower(nowMs: number): void {
    const lower: Claim[] = []
    for (const [vip, atMs] of this.#fresh) {
      const claim = this.#claims.of(vip)
      const support = this.#support.lately(nowMs)
      if (!this.#held.has(vip) || nowMs - atMs > this.#times.supportMs) this.#fresh.delete(vip)
      else if (claim?.death && support < claim.support) lower.push({ ...claim, support })
    }
    if (lower.length === 0) return
    for (const claim of lower) this.#claims.take(claim)
    this.#port.changed()
    this.#tellClaims(this.#members.all(), lower)
  }

  #disclaim(vip: string): void {
    const generation = 1 + this.#claims.generationOf(vip)
    const claim: Claim = { vip, generation, holder: '', ordered: false, death: false, support: 0 }
    this.#claims.take(claim)
    this.#port.changed()
    this.#release(vip, claim)
  }

  #hold(claim: Claim): void {
    this.#held.add(claim.vip)
    this.#orphanedMs.delete(claim.vip)
    this.#port.hold(claim)
  }

  #release(vip: string, claim: Claim): void {
    this.#asked.delete(vip)
    if (this.#held.delete(vip)) this.#port.release(vip, claim)
  }

  #tellClaims(members: readonly Member[], claims: readonly Claim[]): void {
    for (const { name, linked } of members) {
      if (!linked) continue
      for (let at = 0; at < claims.length; at += MOST_CLAIMS)
        this.#port.send(name, { type: 'claims', claims: claims.slice(at, at + MOST_CLAIMS) })
    }
  }

  #lapsed(nowMs: number): boolean {
    return nowMs - this.#renewedMs >= leaseMs(this.#times)
  }

  /** This agent stood still for longer than its leases: what it held may be another's. It begins anew. */
  #lapse(nowMs: number): void {
    for (const vip of [...this.#held]) this.#disclaim(vip)
    this.#support.reset(nowMs)
    this.#renewedMs = nowMs
    this.#startedMs = nowMs
    this.#ready = false
  }

  #canTake(member: Member): boolean {
    return this.#willTake(member) && member.standing!.ready
  }

  /** Now or soon. */
  #willTake(member: Member): boolean {
    return this.#members.speaks(member) && !member.standing!.leaving
  }

  #places(others = this.#members.all().filter(member => this.#canTake(member))): Place[] {
    const places = others.map(({ name, standing }) => ({ name, weight: standing!.weight }))
    const own = this.#ready && !this.#leaving ? [{ name: this.#self, weight: this.#weight }] : []
    return [...own, ...places]
  }

  /** Who could take this VIP, best first. */
  #candidates(without: ReadonlySet<string>, vip: string): string[] {
    const places = this.#places().filter(({ name }) => !without.has(name))
    return takers(vip, places, countOf(this.#movable().values()))
  }

  /** Holders of VIPs that have a living one and no order. */
  #movable(): Map<string, string> {
    const held = this.#claims.all().filter(({ ordered, vip }) => !ordered && !this.#orphanedMs.has(vip))
    return new Map(held.map(({ vip, holder }) => [vip, holder]))
  }

  /** Why nobody holds it, or when to ask again. */
  #orphan(claim: Claim | null, nowMs: number): 'nobody' | 'dead' | 'silent' | number {
    if (claim === null || claim.holder === '') return 'nobody'
    if (claim.holder === this.#self) return this.#held.has(claim.vip) ? Number.POSITIVE_INFINITY : 'nobody'
    const member = this.#members.get(claim.holder)
    if (member === undefined) return 'nobody'
    if (this.#members.isDead(member)) return 'dead'
    if (member.linked) return Number.POSITIVE_INFINITY
    const atMs = member.silentSinceMs + silentMs(this.#times)
    return nowMs >= atMs ? 'silent' : atMs
  }

  #evaluate(nowMs: number): void {
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    if (this.#vips.length === 0) return
    if (this.#lapsed(nowMs)) this.#lapse(nowMs)
    this.#renew(nowMs)
    this.#getReady(nowMs)
    this.#takeOrphans(nowMs)
    if (this.#leaving) this.#handOver(nowMs)
    else this.#evenOut(nowMs)
    this.#tell(nowMs)
  }

  #wake(atMs: number): void {
    this.#wakeAtMs = Math.min(this.#wakeAtMs, atMs)
  }

  #renew(nowMs: number): void {
    if (nowMs - this.#renewedMs >= renewMs(this.#times)) {
      this.#renewedMs = nowMs
      if (this.#held.size > 0) this.#port.renew([...this.#held])
    }
    this.#wake(this.#renewedMs + renewMs(this.#times))
  }

  #getReady(nowMs: number): void {
    if (this.#ready) return
    const atMs = this.#startedMs + this.#times.startMs
    const isHeard = (member: Member): boolean =>
      member.linked && member.standing?.digest === this.#claims.digest
    const all = this.#members.all()
    this.#ready = nowMs >= atMs || (all.length > 0 && all.every(isHeard))
    if (!this.#ready) this.#wake(atMs)
  }

  #takeOrphans(nowMs: number): void {
    const why = new Map<string, 'nobody' | 'dead' | 'silent'>()
    for (const vip of this.#vips) {
      const orphan = this.#orphan(this.#claims.of(vip), nowMs)
      if (typeof orphan === 'number') {
        this.#orphanedMs.delete(vip)
        this.#wake(orphan)
      } else {
        why.set(vip, orphan)
        if (!this.#orphanedMs.has(vip)) this.#orphanedMs.set(vip, nowMs)
      }
    }
    // Those that are about to be ready are left their share: at a common start each would take all else.
    const places = this.#places(this.#members.all().filter(member => this.#willTake(member)))
    if (why.size === 0 || places.length === 0) return
    const held = countOf(this.#movable().values())
    for (const [vip, reason] of why) {
      const order = takers(vip, places, held)
      held.set(order[0]!, (held.get(order[0]!) ?? 0) + 1)
      const rank = order.indexOf(this.#self)
      if (rank === -1) continue
      const atMs = this.#orphanedMs.get(vip)! + rank * this.#times.nextMs
      if (nowMs < atMs) {
        this.#wake(atMs)
        continue
      }
      if (reason === 'dead') this.counters.taken_dead++
      if (reason === 'silent') this.counters.taken_silent++
      this.#claim(vip, nowMs, { death: reason === 'dead' })
    }
  }

  #nextToAsk(vip: string): string | undefined {
    const asked = this.#asked.get(vip)?.to ?? new Set()
    return this.#candidates(new Set([this.#self, ...asked]), vip)[0]
  }

  #awaits(vip: string, nowMs: number): boolean {
    const asked = this.#asked.get(vip)
    return asked !== undefined && nowMs < asked.atMs + this.#times.leaveMs
  }

  #handOver(nowMs: number): void {
    for (const vip of inOrder(this.#held)) {
      const asked = this.#asked.get(vip)
      if (asked !== undefined && this.#awaits(vip, nowMs)) {
        this.#wake(asked.atMs + this.#times.leaveMs)
        continue
      }
      const to = this.#nextToAsk(vip)
      if (to === undefined) continue
      this.#asked.set(vip, { to: new Set([...(asked?.to ?? []), to]), atMs: nowMs })
      this.#wake(nowMs + this.#times.leaveMs)
      this.#port.send(to, { type: 'take', vip, generation: this.#claims.generationOf(vip), ordered: false })
    }
  }

  #evenOut(nowMs: number): void {
    const places = this.#places()
    const steady = JSON.stringify([places.map(({ name, weight }) => [name, weight]).sort(), this.#vips])
    if (steady !== this.#steady) {
      this.#steady = steady
      this.#steadySinceMs = nowMs
    }
    if (!this.#ready || this.#orphanedMs.size > 0) return
    const atMs = this.#steadySinceMs + this.#times.holdMs
    if (nowMs < atMs) return this.#wake(atMs)
    const seen = `${steady} ${this.#claims.digest}`
    if (seen === this.#evened) return
    this.#evened = seen
    const movable = this.#movable()
    // From who is silent now nothing is taken: it could not be told.
    const names = new Set(places.map(({ name }) => name))
    for (const [vip, holder] of movable) if (!names.has(holder)) movable.delete(vip)
    for (const [vip, to] of evenOut(movable, places)) {
      if (to !== this.#self) continue
      this.counters.evened_out++
      this.#claim(vip, nowMs, {})
    }
  }

  #tell(nowMs: number): void {
    const standing = this.#standing()
    // The digest differs after each claim, which was told itself.
    const told = JSON.stringify([standing.weight, standing.ready, standing.sees])
    const isDue = nowMs >= this.#toldMs + this.#times.tellMs
    if (isDue || told !== this.#told) {
      if (isDue) this.#toldMs = nowMs
      this.#told = told
      for (const { name, linked } of this.#members.all()) if (linked) this.#port.send(name, standing)
    }
    this.#wake(this.#toldMs + this.#times.tellMs)
  }
}
