/** What one forwarder holds: its claims, told to the kernel and to the others. Pure, but for its port. */
import { Claims } from './claims.ts'
import { nextGeneration } from './generation.ts'
import { Leases } from './leases.ts'
import type { Member, Members } from './members.ts'
import { type Grace, NO_GRACE } from './settings.ts'
import type { Support } from './support.ts'
import { type Claim, MOST_CLAIMS, type OwnershipMessage } from './types.ts'

export interface OwnershipPort {
  /** To a linked forwarder; may be lost with the link. */
  send(to: string, message: OwnershipMessage): void
  /** This node holds the VIP from now on; its kernel for so long, if it hears no more of this agent. */
  hold(claim: Claim, leaseMs: number): void
  /** And no longer. `claim`: who has it now. */
  release(vip: string, claim: Claim): void
  /** The kernel's lease on these begins anew, and lasts so long. */
  renew(vips: readonly string[], leaseMs: number): void
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
  /** Of what is no forwarder, or about what is no VIP. */
  refused: number
  /** Of one that says too often that it knows other claims: it is told of all of them less often. */
  unanswered: number
  /** Messages, and what would have been done because of them, of one that says more than a forwarder has to say. */
  over_rate: number
}

export const newCounters = (): OwnershipCounters => ({
  ...{ claims: 0, taken_dead: 0, taken_silent: 0, evened_out: 0 },
  ...{ yielded: 0, contested: 0, refused: 0, unanswered: 0, over_rate: 0 },
})

export class Holdings {
  readonly claims = new Claims()
  readonly held = new Set<string>()
  readonly leases = new Leases()
  /** VIPs that this node's kernel goes on with alone; null: not known yet, and what an agent before has said goes on. */
  alone: ReadonlySet<string> | null = null
  readonly #self: string
  readonly #members: Members
  readonly #support: Support
  readonly #supportMs: number
  readonly #port: OwnershipPort
  readonly #counters: OwnershipCounters
  /** VIPs that were just taken from the dead. */
  readonly #fresh = new Map<string, number>()

  constructor(parts: {
    self: string
    members: Members
    support: Support
    supportMs: number
    port: OwnershipPort
    counters: OwnershipCounters
  }) {
    this.#self = parts.self
    this.#members = parts.members
    this.#support = parts.support
    this.#supportMs = parts.supportMs
    this.#port = parts.port
    this.#counters = parts.counters
  }

  /** A claim above all that are known; it is in force here before others hear of it. `above`: a generation that another knows. */
  claim(vip: string, nowMs: number, parts: { ordered?: boolean; death?: boolean; above?: number }): void {
    const generation = nextGeneration(this.claims.generationOf(vip), parts.above)
    const claim: Claim = {
      ...{ vip, generation, holder: this.#self, support: this.#support.now() },
      ...{ ordered: parts.ordered ?? false, death: parts.death ?? false },
      ...(this.alone?.has(vip) !== true && { brief: true }),
    }
    this.#counters.claims++
    this.claims.take(claim)
    this.changed()
    this.hold(claim, nowMs)
    if (claim.death) this.#fresh.set(vip, nowMs)
    this.tell(this.#members.all(), [claim])
  }

  /** Not all of those that have vanished together are known to be dead when the first of them is. */
  lower(nowMs: number): void {
    const lower: Claim[] = []
    for (const [vip, atMs] of this.#fresh) {
      const claim = this.claims.of(vip)
      const support = this.#support.lately(nowMs)
      if (!this.held.has(vip) || nowMs - atMs > this.#supportMs) this.#fresh.delete(vip)
      else if (claim?.death && support < claim.support) lower.push({ ...claim, support })
    }
    if (lower.length === 0) return
    for (const claim of lower) this.claims.take(claim)
    this.changed()
    this.tell(this.#members.all(), lower)
  }

  /** Nobody holds it any more, as far as this node has held it. */
  disclaim(vip: string): void {
    const generation = nextGeneration(this.claims.generationOf(vip))
    const claim: Claim = { vip, generation, holder: '', ordered: false, death: false, support: 0 }
    this.claims.take(claim)
    this.changed()
    this.release(vip, claim)
  }

  /** By a claim of its own that is in force; for a short time until all know for how long it is held. */
  hold(claim: Claim, nowMs: number, times: Grace = NO_GRACE): void {
    this.held.add(claim.vip)
    this.#port.hold(claim, this.leases.renew([claim.vip], times, nowMs))
  }

  /** `claim`: the one that is in force now. */
  release(vip: string, claim: Claim): void {
    this.leases.end(vip)
    if (this.held.delete(vip)) this.#port.release(vip, claim)
  }

  /** What held VIPs are, whose claims do not say what `alone` says. A new claim, not a new holder. */
  followAlone(nowMs: number): void {
    if (this.alone === null) return
    const told: Claim[] = []
    const cut: string[] = []
    for (const vip of this.held) {
      const { brief, ...claim } = this.claims.of(vip)!
      if ((brief === true) === !this.alone.has(vip)) continue
      if (brief === true) told.push({ ...claim, generation: nextGeneration(claim.generation) })
      else {
        told.push({ ...claim, brief: true })
        if (this.leases.isLong(vip)) cut.push(vip)
      }
    }
    if (told.length === 0) return
    // First: whoever hears of it no longer waits for the grace.
    if (cut.length > 0) this.renew(cut, NO_GRACE, nowMs)
    for (const claim of told) this.claims.take(claim)
    this.changed()
    this.tell(this.#members.all(), told)
  }

  /** @param allKnow all others know by now how long they are to wait */
  keep(times: Grace, allKnow: boolean, nowMs: number): void {
    const { leases } = this
    const longer = [...this.held].filter(
      vip => allKnow && times.graceMs > 0 && this.claims.of(vip)!.brief !== true && !leases.isLong(vip),
    )
    if (longer.length > 0) this.renew(longer, times, nowMs)
    for (const isLong of [false, true]) {
      const vips = leases.due(isLong, nowMs)
      if (vips.length > 0) this.renew(vips, isLong ? times : NO_GRACE, nowMs)
    }
  }

  renew(vips: readonly string[], times: Grace, nowMs: number): void {
    this.#port.renew(vips, this.leases.renew(vips, times, nowMs))
  }

  changed(): void {
    this.#port.changed()
  }

  /** To those of them that can be heard. */
  tell(members: readonly Member[], claims: readonly Claim[]): void {
    for (const { name, linked } of members) {
      if (!linked) continue
      for (let at = 0; at < claims.length; at += MOST_CLAIMS)
        this.#port.send(name, { type: 'claims', claims: claims.slice(at, at + MOST_CLAIMS) })
    }
  }
}
