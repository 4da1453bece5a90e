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
import { Asked } from './asked.ts'
import type { Claims } from './claims.ts'
import { Hearing } from './hearing.ts'
import { Holdings, newCounters, type OwnershipPort } from './holdings.ts'
import { knownAtMs } from './leases.ts'
import { type Machine, type Member, Members } from './members.ts'
import { type OrderAnswer, Orders } from './orders.ts'
import { Orphans } from './orphans.ts'
import { countOf, evenOut, inOrder, type Place, takers } from './placement.ts'
import { Quiet } from './quiet.ts'
import { ADOPT_MS, leaseMs, NO_GRACE, type OwnershipTimes, silentMs } from './settings.ts'
import { Support } from './support.ts'
import { Teller } from './teller.ts'
import type { Claim, OwnershipMessage, Standing } from './types.ts'
import { allClaimsRates, MOVE_PRICE, messagePrice, workRates } from './work.ts'

export class Ownership {
  readonly #self: string
  readonly #port: OwnershipPort
  readonly #members = new Members()
  readonly #support: Support
  /** What this node holds itself. */
  readonly #own: Holdings
  readonly #orphans: Orphans
  readonly #hearing: Hearing
  readonly #orders: Orders
  /** While it leaves. */
  readonly #asked: Asked
  #times: OwnershipTimes
  #weight = 0
  #vips: readonly string[] = []
  #ready = false
  #leaving = false
  #startedMs: number
  /** When it last looked: it stood still since, if that is long ago. */
  #awakeMs: number
  readonly #teller: Teller
  readonly #allClaimsRates = allClaimsRates()
  readonly #workRates = workRates()
  /** Since when all have been there that are. */
  readonly #quiet = new Quiet()
  #wakeAtMs = Number.POSITIVE_INFINITY
  readonly counters = newCounters()

  constructor(self: string, times: OwnershipTimes, port: OwnershipPort, nowMs: number) {
    this.#self = self
    this.#times = times
    this.#port = port
    const { counters } = this
    const support = new Support(times.supportMs)
    this.#support = support
    this.#own = new Holdings({
      ...{ self, members: this.#members, support, supportMs: times.supportMs, port, counters },
    })
    this.#hearing = new Hearing({
      ...{ self, own: this.#own, members: this.#members, support, counters },
      mayMove: (member, nowMs) => this.#mayCost(member, MOVE_PRICE, nowMs),
    })
    this.#orphans = new Orphans(self, this.#own, this.#members, vip => this.patienceMs(vip))
    this.#orders = new Orders(self, this.#own, this.#members, port)
    this.#asked = new Asked(times.leaveMs)
    this.#teller = new Teller(times.tellMs)
    this.#startedMs = nowMs
    this.#awakeMs = nowMs
  }

  get #claims(): Claims {
    return this.#own.claims
  }
  /** When `tick` wants to be called. */
  get wakeAtMs(): number {
    return this.#wakeAtMs
  }
  get held(): ReadonlySet<string> {
    return this.#own.held
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

  /** For how long (ms) others leave a VIP with its holder, from when they no longer hear its agent. */
  patienceMs(vip: string): number {
    return silentMs(this.#claims.of(vip)?.brief === true ? NO_GRACE : this.#times)
  }

  /** The VIPs that this machine's kernel goes on taking new connections for while it has no agent. */
  goesOnAlone(vips: ReadonlySet<string>, nowMs: number): void {
    this.#own.alone = vips
    this.#evaluate(nowMs)
  }

  /**
   * What an agent before knew here. Comes after `configure`.
   * @param inKernel VIPs that this machine still answers for, and for how long (ms): they are held on, if that is long enough
   */
  adopt(claims: readonly Claim[], inKernel: ReadonlyMap<string, number>, nowMs: number): void {
    for (const { brief, ...claim } of claims) {
      if (!this.#vips.includes(claim.vip)) continue
      // For how long the kernels of others go on may have changed; others say so.
      const isOwn = claim.holder === this.#self
      this.#claims.take({ ...claim, ...(isOwn && brief === true && { brief }) })
    }
    for (const claim of this.#claims.all()) {
      if (claim.holder !== this.#self) continue
      const leftMs = inKernel.get(claim.vip) ?? 0
      if (leftMs < ADOPT_MS) this.#own.disclaim(claim.vip)
      // A long lease was made when all knew: so it stays.
      else this.#own.hold(claim, nowMs, leftMs > leaseMs(NO_GRACE) ? this.#times : NO_GRACE)
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
    for (const vip of [...this.#own.held]) if (!wanted.has(vip)) this.#own.release(vip, this.#claims.of(vip)!)
    this.#orphans.keep(wanted)
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
    if (up) this.#port.send(name, this.#standing(member))
    else member.silentSinceMs = nowMs
    this.#evaluate(nowMs)
  }

  /** @param count nodes of all roles that are alive, as seen here, this one among them */
  seen(count: number, nowMs: number): void {
    this.#support.see(count, nowMs)
    this.#own.lower(nowMs)
  }

  /** This machine stood still for a while that no timer shows. */
  stoodStill(nowMs: number): void {
    this.#support.reset(nowMs)
  }

  receive(from: string, message: OwnershipMessage, nowMs: number): void {
    const member = this.#members.get(from)
    if (member === undefined) return void this.counters.refused++
    const claims = message.type === 'claims' ? message.claims.length : 0
    if (!this.#mayCost(member, messagePrice(claims), nowMs)) return
    this.#lapse(nowMs)
    // Not by a standing: that may have been on its way since before its death.
    if (member.linked && member.machine === 'dead' && message.type === 'claims') member.proven = true
    const { digest } = this.#claims
    if (message.type === 'standing') this.#heard(member, message, nowMs)
    else if (message.type === 'claims') this.#hearing.merge(member, message.claims, this.#vips, nowMs)
    else this.#hearing.asksToTake(member, message, this.#vips, this.#ready && !this.#leaving, nowMs)
    if (this.#claims.digest !== digest) this.#teller.soon(nowMs)
    this.#evaluate(nowMs)
  }

  /** Call at `wakeAtMs`, or when in doubt. */
  tick(nowMs: number): void {
    this.#evaluate(nowMs)
  }

  /** An operator wants a VIP at a forwarder. @param to null: the one that would take it if its holder died */
  order(vip: string, to: string | null, nowMs: number): OrderAnswer {
    if (!this.#vips.includes(vip)) return { refused: `no service announces ${vip} by ARP` }
    const holder = this.#claims.of(vip)?.holder ?? ''
    const target = to ?? this.#candidates(new Set([holder]), vip)[0]
    const answer = this.#orders.give(vip, target, this.#ready && !this.#leaving, nowMs)
    this.#evaluate(nowMs)
    return answer
  }

  /** An order is over: the VIP stays where it is, until shares are evened out. */
  endOrder(vip: string, nowMs: number): OrderAnswer {
    const answer = this.#orders.end(vip, nowMs)
    this.#evaluate(nowMs)
    return answer
  }

  /** This node is about to end: others take what it holds. It answers for them until they do. */
  leave(nowMs: number): void {
    this.#leaving = true
    this.#evaluate(nowMs)
  }

  /** There is nothing left to hand over, or nobody to take it. */
  hasLeft(nowMs: number): boolean {
    return (
      this.#leaving &&
      [...this.#own.held].every(vip => !this.#asked.awaits(vip, nowMs) && !this.#nextToAsk(vip))
    )
  }

  /** The end: what is still held is nobody's. */
  giveUp(): void {
    for (const vip of [...this.#own.held]) {
      this.#own.disclaim(vip)
      this.#own.tell(this.#members.all(), [this.#claims.of(vip)!])
    }
  }

  /** @param to whom it is told; an older peer knows claims by fewer words */
  #standing(to: Member): Standing {
    return {
      type: 'standing',
      readsBrief: true,
      weight: this.#weight,
      ready: this.#ready,
      leaving: this.#leaving,
      sees: this.#members.seen(),
      digest: this.#claims.digestFor(to.standing),
    }
  }

  #mayCost({ name }: Member, price: number, nowMs: number): boolean {
    const may = this.#workRates.take(name, nowMs, price)
    if (!may) this.counters.over_rate++
    return may
  }

  #heard(member: Member, standing: Standing, nowMs: number): void {
    member.standing = standing
    if (standing.digest === this.#claims.digestFor(member.standing)) return
    if (this.#allClaimsRates.take(member.name, nowMs)) this.#own.tell([member], this.#claims.all())
    else this.counters.unanswered++
  }

  /** This agent stood still for longer than its leases: what it held may be another's. It begins anew. */
  #lapse(nowMs: number): void {
    const lapsed = this.#own.leases.lapsed(nowMs)
    const isAnew = lapsed.length > 0 || nowMs - this.#awakeMs >= leaseMs(this.#times)
    this.#awakeMs = nowMs
    if (!isAnew) return
    for (const vip of lapsed) this.#own.disclaim(vip)
    this.#support.reset(nowMs)
    this.#startedMs = nowMs
    this.#ready = false
  }

  #places(others = this.#members.all().filter(member => this.#members.canTake(member))): Place[] {
    const places = others.map(({ name, standing }) => ({ name, weight: standing!.weight }))
    const own = this.#ready && !this.#leaving ? [{ name: this.#self, weight: this.#weight }] : []
    return [...own, ...places].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Who could take this VIP, best first. */
  #candidates(without: ReadonlySet<string>, vip: string): string[] {
    const places = this.#places().filter(({ name }) => !without.has(name))
    return takers(vip, places, countOf(this.#movable().values()))
  }

  /** Holders of VIPs that have a living one and no order. */
  #movable(): Map<string, string> {
    const held = this.#claims.all().filter(({ ordered, vip }) => !ordered && !this.#orphans.has(vip))
    return new Map(held.map(({ vip, holder }) => [vip, holder]))
  }

  #evaluate(nowMs: number): void {
    this.#wakeAtMs = Number.POSITIVE_INFINITY
    if (this.#vips.length === 0) return
    this.#lapse(nowMs)
    this.#own.followAlone(nowMs)
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
    const knownMs = knownAtMs(this.#members, this.#claims.digest)
    this.#own.keep(this.#times, nowMs >= knownMs, nowMs)
    if (nowMs < knownMs) this.#wake(knownMs)
    this.#wake(this.#own.leases.nextMs())
  }

  #getReady(nowMs: number): void {
    if (this.#ready) return
    const atMs = this.#startedMs + this.#times.startMs
    const isHeard = (member: Member): boolean =>
      member.linked && member.standing?.digest === this.#claims.digestFor(member.standing)
    const all = this.#members.all()
    this.#ready = nowMs >= atMs || (all.length > 0 && all.every(isHeard))
    if (!this.#ready) this.#wake(atMs)
  }

  #takeOrphans(nowMs: number): void {
    const { why, nextMs } = this.#orphans.look(this.#vips, nowMs)
    this.#wake(nextMs)
    // Those that are about to be ready are left their share: at a common start each would take all else.
    const places = this.#places(this.#members.all().filter(member => this.#members.willTake(member)))
    if (why.size === 0 || places.length === 0) return
    const held = countOf(this.#movable().values())
    for (const [vip, reason] of why) {
      const order = takers(vip, places, held)
      held.set(order[0]!, (held.get(order[0]!) ?? 0) + 1)
      const rank = order.indexOf(this.#self)
      if (rank === -1) continue
      const atMs = this.#orphans.sinceMs(vip) + rank * this.#times.nextMs
      if (nowMs < atMs) {
        this.#wake(atMs)
        continue
      }
      if (reason === 'dead') this.counters.taken_dead++
      if (reason === 'silent') this.counters.taken_silent++
      this.#own.claim(vip, nowMs, { death: reason === 'dead' })
    }
  }

  #handOver(nowMs: number): void {
    for (const vip of inOrder(this.#own.held)) {
      const to = this.#asked.awaits(vip, nowMs) ? undefined : this.#nextToAsk(vip)
      if (to !== undefined) {
        this.#asked.ask(vip, to, nowMs)
        const generation = this.#claims.generationOf(vip)
        this.#port.send(to, { type: 'take', vip, generation, ordered: false })
      }
      if (this.#asked.awaits(vip, nowMs)) this.#wake(this.#asked.endMs(vip))
    }
  }

  #nextToAsk(vip: string): string | undefined {
    return this.#candidates(new Set([this.#self, ...this.#asked.of(vip)]), vip)[0]
  }

  #evenOut(nowMs: number): void {
    const places = this.#places()
    const quiet = this.#quiet.since(JSON.stringify([this.#vips, places]), nowMs)
    if (!this.#ready || this.#orphans.size > 0) return
    const atMs = quiet + this.#times.holdMs
    if (nowMs < atMs) return this.#wake(atMs)
    if (!this.#quiet.isNew(this.#claims.digest)) return
    const movable = this.#movable()
    // From who is silent now nothing is taken: it could not be told.
    const names = new Set(places.map(({ name }) => name))
    for (const [vip, holder] of movable) if (!names.has(holder)) movable.delete(vip)
    for (const [vip, to] of evenOut(movable, places)) {
      if (to !== this.#self) continue
      this.counters.evened_out++
      this.#own.claim(vip, nowMs, {})
    }
  }

  #tell(nowMs: number): void {
    const told = [this.#weight, this.#ready, this.#leaving, this.#members.seen()]
    if (this.#teller.isDue(JSON.stringify(told), nowMs))
      for (const member of this.#members.all())
        if (member.linked) this.#port.send(member.name, this.#standing(member))
    this.#wake(this.#teller.nextMs)
  }
}
