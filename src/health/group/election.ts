/**
 * Who leads a group of hosts (R-B7). Leadership is a lease that the leader's claims hold, one each beat to every member that
 * it reaches; the claim of the higher generation wins, of equal ones that of the smaller host number.
 *
 *   vacant --my turn: claim generation + 1--> mine --a better claim--> held
 *   vacant --a claim--> held --its link is down, it resigned, or 2.5 beats without a claim--> vacant
 *   mine --it resigns, was frozen, or meets somebody while nobody follows it--> vacant
 *
 * While the seat is vacant, the member of rank r (how many living members have smaller host numbers) takes its turn
 * r * 150 ms after the leader was lost: one claims at once, and one that is dead or frozen delays the next only by that.
 * Who knows of no leader that was lost (it has just started, was frozen, or came to another group) listens for 1.5 beats
 * first, so that a leader that lives is not displaced by one that comes back.
 *
 * Members that cannot hear each other may follow different leaders. That is harmless: units take tokens from anybody.
 */
import type { HealthMessage } from '../types.ts'
import type { GroupHost } from './groups.ts'

/** Between the turns of two ranks. Longer than what two members differ by in noticing a loss, mostly. */
export const TURN_MS = 150
/** Beats to listen for claims before a first claim: one claim comes in each beat. */
const LISTEN_BEATS = 1.5
/** Beats without a claim (or a member's heartbeat) after which its sender counts as lost. */
export const SILENCE_BEATS = 2.5
/**
 * Beats that this node may be late before it draws no conclusions from silence. A leader may be late as long as its last
 * claim lasts: its wake-ups are half a beat apart.
 */
const LATE_BEATS = { held: 0.25, vacant: 1, mine: 1.5 }
const MAX_GENERATION = 0xffff_ffff
/** A claim of this generation says that the leader resigns. */
const RESIGNED = 0

export interface Place {
  readonly me: GroupHost
  /** Of the group. */
  readonly index: number
  /** All of the group, this host too, by name. */
  readonly members: ReadonlyMap<string, GroupHost>
}

export type Claim = Extract<HealthMessage, { type: 'claim' }>
export type SendClaim = (to: string, claim: Claim) => void

type Seat =
  | { readonly seat: 'vacant'; readonly sinceMs: number }
  | {
      readonly seat: 'held'
      readonly leader: GroupHost
      readonly generation: number
      readonly heardMs: number
    }
  /** `isFollowed`: another member's heartbeat came since this host took the seat. */
  | {
      readonly seat: 'mine'
      readonly generation: number
      readonly claimAtMs: number
      readonly isFollowed: boolean
    }

export class Election {
  readonly #beatMs: number
  readonly #send: SendClaim
  #place: Place
  readonly #isAlive: (name: string) => boolean
  #seat: Seat
  /** When this host last took the seat: a member that claims and resigns without end must not make it claim as often. */
  #tookMs = Number.NEGATIVE_INFINITY
  /** The highest generation heard of. */
  #highest = 0
  #stands = true

  /** `isAlive`: whether another host's agent can be reached from here. */
  constructor(
    beatMs: number,
    place: Place,
    isAlive: (name: string) => boolean,
    send: SendClaim,
    nowMs: number,
  ) {
    this.#beatMs = beatMs
    this.#place = place
    this.#isAlive = isAlive
    this.#send = send
    this.#seat = this.#listening(nowMs)
  }

  /** Null while the seat is vacant. */
  get leader(): string | null {
    if (this.#seat.seat === 'mine') return this.#place.me.name
    return this.#seat.seat === 'held' ? this.#seat.leader.name : null
  }

  /** Of the leader; without one, the highest heard of. */
  get generation(): number {
    return this.#seat.seat === 'vacant' ? this.#highest : this.#seat.generation
  }

  regroup(place: Place, nowMs: number): void {
    const isOther = place.index !== this.#place.index
    // They follow this host no more: they need not wait for claims that do not come.
    if (this.#seat.seat === 'mine')
      for (const name of this.#others())
        if (isOther || !place.members.has(name)) this.#send(name, this.#claim(RESIGNED))
    this.#place = place
    if (this.#seat.seat === 'vacant' && isOther) this.#seat = this.#listening(nowMs)
    if (this.#seat.seat !== 'held') return
    const leader = place.members.get(this.#seat.leader.name)
    this.#seat = leader === undefined ? this.#listening(nowMs) : { ...this.#seat, leader }
  }

  /** A member's link changed; `isAlive` says so already. */
  link(name: string, alive: boolean, nowMs: number): void {
    if (!this.#place.members.has(name) || name === this.#place.me.name) return
    if (!alive && this.leader === name) this.#seat = { seat: 'vacant', sinceMs: nowMs }
    if (!alive || this.#seat.seat !== 'mine') return
    // It took the seat because it was cut off from all others, perhaps: it listens before it claims.
    if (!this.#seat.isFollowed && this.#others().length === 1) this.#seat = this.#listening(nowMs)
    else this.#send(name, this.#claim(this.#seat.generation))
  }

  /** `from` is a living member other than this host, and the claim's host and group are right. */
  heard(from: GroupHost, generation: number, nowMs: number): void {
    const isLeaders = this.leader === from.name
    if (generation === RESIGNED) {
      if (isLeaders) this.#seat = { seat: 'vacant', sinceMs: nowMs }
      return
    }
    this.#highest = Math.max(this.#highest, generation)
    if (isLeaders || this.#isBetter(from, generation))
      this.#seat = { seat: 'held', leader: from, generation, heardMs: nowMs }
  }

  /** A heartbeat of another member came to this host as its leader. */
  followed(): void {
    if (this.#seat.seat === 'mine') this.#seat = { ...this.#seat, isFollowed: true }
  }

  /** This host stands no more; a leader says so, and its members elect another at once. */
  resign(nowMs: number): void {
    this.#stands = false
    if (this.#seat.seat !== 'mine') return
    for (const name of this.#others()) this.#send(name, this.#claim(RESIGNED))
    this.#seat = { seat: 'vacant', sinceMs: nowMs }
  }

  /** This node slept so long past `dueMs`: what it did not hear says nothing about the others, who may have replaced it. */
  wasLate(lateMs: number, nowMs: number): void {
    const beats = lateMs / this.#beatMs
    const { seat } = this.#seat
    if (this.#seat.seat === 'held' && beats > LATE_BEATS.held) {
      const heardMs = nowMs - (SILENCE_BEATS - LISTEN_BEATS) * this.#beatMs
      this.#seat = { ...this.#seat, heardMs: Math.max(this.#seat.heardMs, heardMs) }
    } else if (beats > LATE_BEATS[seat]) this.#seat = this.#listening(nowMs)
  }

  /** Does what is due. */
  advance(nowMs: number): void {
    if (nowMs < this.dueMs()) return
    if (this.#seat.seat === 'held') this.#seat = { seat: 'vacant', sinceMs: nowMs }
    if (nowMs < this.dueMs()) return
    const others = this.#others()
    const claimAtMs = nowMs + this.#beatMs
    if (this.#seat.seat === 'mine') this.#seat = { ...this.#seat, claimAtMs }
    else {
      this.#tookMs = nowMs
      this.#highest = Math.min(this.#highest + 1, MAX_GENERATION)
      this.#seat = { seat: 'mine', generation: this.#highest, claimAtMs, isFollowed: false }
    }
    for (const name of others) this.#send(name, this.#claim(this.#seat.generation))
  }

  dueMs(): number {
    const seat = this.#seat
    if (seat.seat === 'mine') return seat.claimAtMs
    if (seat.seat === 'held') return seat.heardMs + SILENCE_BEATS * this.#beatMs
    if (!this.#stands) return Number.POSITIVE_INFINITY
    const ahead = this.#others().filter(name => this.#place.members.get(name)!.host < this.#place.me.host)
    return Math.max(seat.sinceMs + ahead.length * TURN_MS, this.#tookMs + this.#beatMs)
  }

  #isBetter(from: GroupHost, generation: number): boolean {
    const seat = this.#seat
    if (seat.seat === 'vacant') return true
    const number = seat.seat === 'mine' ? this.#place.me.host : seat.leader.host
    return generation > seat.generation || (generation === seat.generation && from.host < number)
  }

  #claim(generation: number): Claim {
    return { type: 'claim', host: this.#place.me.host, group: this.#place.index, generation }
  }

  /** Living members but this host. */
  #others(): string[] {
    return [...this.#place.members.keys()].filter(name => name !== this.#place.me.name && this.#isAlive(name))
  }

  #listening(nowMs: number): Seat {
    return { seat: 'vacant', sinceMs: nowMs + LISTEN_BEATS * this.#beatMs }
  }
}
