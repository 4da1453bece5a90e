/**
 * The part of the consolidated cache that is about one host (R-B3, R-B5, R-B6, R-B8).
 *
 * What the lease stands on: at `#provenMs`, by this node's clock, the table held or one before it was current. A table that is
 * held followed all before it, so when it was replaced was later than that; and the lease, `leaseMs` from there, is renewed only
 * while exactly what is held is in force. So `leaseMs` after a change no unit follows the rows from before it.
 */
import type { HealthMessage, HeartbeatEntry, Row, TableVersion } from '../types.ts'
import { Asking } from './asking.ts'
import { BeatClock } from './beat-clock.ts'
import type { HashAccount } from './hash-account.ts'
import { differing, HeldTable } from './held-table.ts'
import { InForce } from './in-force.ts'
import { applyOperations, type Rows, replaceChunks } from './table.ts'
import { sameVersion, type UnitAction, type UnitCounter, type UnitSettings } from './types.ts'

type Of<T extends HealthMessage['type']> = Extract<HealthMessage, { type: T }>

/** One step of the unit. */
export interface Turn {
  readonly nowMs: number
  readonly actions: UnitAction[]
  readonly count: (counter: UnitCounter) => void
  /** Number for a new question. */
  readonly request: () => number
}

const NONE: Rows = new Map()

/** Before the end of a lease that nothing renews the host itself is asked. */
const ASK_EARLY_MS = 1_000
/** No host may ask for more: its rows would be used long after it is gone. */
const MAX_LEASE_MS = 60_000

export class HostCache {
  readonly name: string
  /** Host number; the membership may give another. */
  host: number
  dnsName = ''
  /** Who passes its heartbeats on; null: it sends them itself. */
  via: string | null = null
  #viaMs = Number.NEGATIVE_INFINITY
  /** When it is to be planned anew although it was told nothing. */
  dueMs = Number.NEGATIVE_INFINITY
  readonly #settings: UnitSettings
  readonly #asking: Asking
  #isLinked = false
  /** It said goodbye: what others relay of it is no reason to ask for its table. */
  #hasLeft = false
  #held: HeldTable | null = null
  readonly #inForce = new InForce()
  #clock: BeatClock | null = null
  #provenMs = Number.NEGATIVE_INFINITY
  #leaseUntilMs = 0
  #isLeaseCounted = true
  /** When something last came that only the host can have made. */
  #heardMs = Number.NEGATIVE_INFINITY
  #checkedMs = Number.NEGATIVE_INFINITY
  /** The newest that the host has spoken of. */
  #seen: TableVersion | null = null
  /** Waits for its rows to be in force. */
  #postulate: Of<'postulate'> | null = null

  constructor(name: string, host: number, settings: UnitSettings) {
    this.name = name
    this.host = host
    this.#settings = settings
    this.#asking = new Asking(settings.askAgainMs)
  }

  get version(): TableVersion | null {
    return this.#held?.version ?? null
  }

  get inForce(): TableVersion | null {
    return this.#inForce.table?.version ?? null
  }

  get leaseUntilMs(): number {
    return this.#leaseUntilMs
  }

  rows(): Row[] {
    return [...(this.#held?.rows ?? NONE).values()]
  }

  ofType(type: string): readonly Row[] {
    return this.#held?.ofType(type) ?? []
  }

  link(up: boolean, turn: Turn): void {
    this.#isLinked = up
    this.#asking.linked(up)
    if (!up) return
    this.#hasLeft = false
    this.#asking.want(true, turn.nowMs)
  }

  /** It speaks for itself, after a goodbye perhaps. */
  isHere(): void {
    this.#hasLeft = false
  }

  /** A heartbeat entry, whoever brought it; `account` is that one's, `via` its name if it leads a group. */
  beat(entry: HeartbeatEntry, account: HashAccount, via: string | null, turn: Turn): void {
    const { nowMs, count } = turn
    if (this.#held === null || this.#clock === null) {
      count('beats_no_table')
      if (!this.#hasLeft) this.#asking.want(false, nowMs)
      return
    }
    const distance = this.#held.distance(entry.beat)
    if (distance <= 0) return count('beats_old')
    if (this.#clock.isAhead(entry.beat, nowMs)) {
      count('beats_ahead')
      return this.#asking.want(false, nowMs)
    }
    if (!account.allows(distance, nowMs)) return count('beats_over_budget')
    if (!this.#held.verify(entry)) {
      account.waste(distance)
      count('beats_wrong')
      return this.#asking.want(false, nowMs)
    }
    count('beats_verified')
    if (entry.dnsName !== '') this.dnsName = entry.dnsName
    this.#clock.heard(entry.beat, nowMs)
    const atMs = this.#clock.timeOf(entry.beat, nowMs)
    if (atMs + this.#clock.leaseMs <= nowMs) return count('beats_late')
    this.#heardMs = nowMs
    // Hosts with a leader send the first token of a new state themselves, so that it does not come too late.
    if (via !== null || nowMs - this.#viaMs > this.#clock.leaseMs) this.via = via === this.name ? null : via
    if (via !== null) this.#viaMs = nowMs
    this.#prove(atMs, turn)
  }

  rowChange(message: Of<'row-change'>, turn: Turn): void {
    const { nowMs, count } = turn
    const held = this.#held
    this.#hasLeft = false
    const isSameTable = held !== null && held.version.instance === message.version.instance
    if (isSameTable && message.version.generation <= held.version.generation) return
    if (!isSameTable || message.version.generation !== held.version.generation + 1) {
      count('row_changes_unfit')
      return this.#asking.want(this.#isNews(message.version), nowMs)
    }
    const changed = applyOperations(held.rows, message.operations)
    if ('unfit' in changed) {
      count('row_changes_unfit')
      this.#refuse(`a row change that does not fit: ${changed.unfit}`, turn)
      return this.#asking.want(false, nowMs)
    }
    count('row_changes')
    this.#heardMs = nowMs
    this.#hold(new HeldTable(message, changed.rows), turn)
  }

  snapshot(message: Of<'send-snapshot'>, turn: Turn): void {
    const { nowMs, count } = turn
    const question = this.#asking.answered(message.request)
    if (question === undefined) return count('snapshots_unasked')
    this.#hasLeft = false
    const { beatMs, leaseBeats, version } = message
    if (!(beatMs > 0 && leaseBeats > 0 && beatMs * leaseBeats <= MAX_LEASE_MS))
      return this.#unfit('no time between beats, or no lease', turn)
    const isSameTable = this.#held?.version.instance === version.instance
    if (isSameTable && version.generation < this.#held!.version.generation)
      return this.#unfit('rows older than those that it has sent', turn)
    const isHeld = sameVersion(this.version, version)
    // What the answer leaves out is as it was when asked; a row change since then may have changed that.
    if (question.held !== null && !isHeld && !sameVersion(question.held, this.version))
      return this.#asking.want(true, nowMs)
    const changed = replaceChunks(question.held === null ? NONE : (this.#held?.rows ?? NONE), message.chunks)
    if ('unfit' in changed) return this.#unfit(changed.unfit, turn)
    count('snapshots_taken')
    const leaseMs = beatMs * leaseBeats
    if (!isSameTable || this.#clock?.beatMs !== beatMs || this.#clock.leaseMs !== leaseMs)
      this.#clock = new BeatClock(beatMs, leaseMs)
    this.#clock.answered(question.sentMs, message.beat, nowMs, this.#settings)
    this.#heardMs = nowMs
    const table = new HeldTable(message, changed.rows)
    if (!isHeld || !this.#held!.equals(table)) this.#hold(table, turn)
    this.#prove(question.sentMs, turn)
  }

  postulate(message: Of<'postulate'>, turn: Turn): void {
    this.#postulate = null
    const held = this.#held
    const { version } = message
    const lacks =
      held === null ||
      held.version.instance !== version.instance ||
      held.version.generation < version.generation
    const differs = lacks ? [] : differing(held.rows, message.states)
    if (!lacks && differs.length === 0) {
      this.#postulate = message
      return this.#answerRight(turn)
    }
    turn.count('postulates_wrong')
    const { host, postulate } = message
    turn.actions.push({
      do: 'send',
      to: this.name,
      message: { type: 'postulate-wrong', host, postulate, differs },
    })
    if (lacks) this.#asking.want(this.#isNews(version), turn.nowMs)
  }

  goodbye(turn: Turn): void {
    turn.count('hosts_goodbye')
    this.drop(turn)
    this.#asking.stop()
    this.#hasLeft = true
  }

  /** `version` is in force. */
  applied(version: TableVersion, turn: Turn): void {
    if (!this.#inForce.applied(version)) return
    this.#renew(turn)
    this.#answerRight(turn)
  }

  /** By this node's clock less time has passed than really has: what was asked, proved and tied to it is void. */
  stoodStill(turn: Turn): void {
    this.#asking.linked(this.#isLinked)
    if (this.#clock !== null) this.#clock = new BeatClock(this.#clock.beatMs, this.#clock.leaseMs)
    this.#provenMs = Number.NEGATIVE_INFINITY
    if (this.#leaseUntilMs > turn.nowMs) turn.actions.push({ do: 'lease', host: this.name, untilMs: 0 })
    this.#leaseUntilMs = 0
    if (this.#isLinked && !this.#hasLeft) this.#asking.want(true, turn.nowMs)
  }

  /** A leader no longer hears it. */
  gone(turn: Turn): void {
    if (this.#held === null || turn.nowMs - this.#checkedMs < this.#settings.askAgainMs) return
    this.#checkedMs = turn.nowMs
    turn.actions.push({ do: 'check', host: this.name })
  }

  /** Forgets all rows. */
  drop(turn: Turn): void {
    if (this.#held !== null || !this.#inForce.isEmpty) turn.actions.push({ do: 'drop', host: this.name })
    this.#held = null
    this.#clock = null
    this.via = null
    this.#viaMs = Number.NEGATIVE_INFINITY
    this.#inForce.clear()
    this.#postulate = null
    this.#provenMs = Number.NEGATIVE_INFINITY
    this.#leaseUntilMs = 0
    this.#isLeaseCounted = true
  }

  /** What is due now. */
  plan(turn: Turn): void {
    const { nowMs } = turn
    if (nowMs >= this.#ageAtMs) {
      turn.count('hosts_aged')
      this.drop(turn)
    }
    if (nowMs >= this.#leaseUntilMs && !this.#isLeaseCounted) {
      this.#isLeaseCounted = true
      turn.count('leases_over')
    }
    if (!this.#isLinked) return
    if (nowMs >= this.#needAtMs) this.#asking.want(false, nowMs)
    const clockMs = this.#clock?.askAtMs ?? Number.POSITIVE_INFINITY
    if (nowMs >= this.#asking.dueMs || nowMs >= clockMs) this.#ask(turn)
  }

  wakeAtMs(nowMs: number): number {
    const leaseMs = this.#isLeaseCounted ? Number.POSITIVE_INFINITY : this.#leaseUntilMs
    const clockMs = this.#clock?.askAtMs ?? Number.POSITIVE_INFINITY
    const askMs = this.#isLinked
      ? Math.min(this.#asking.dueMs, clockMs, this.#needAtMs)
      : Number.POSITIVE_INFINITY
    return Math.max(nowMs, Math.min(this.#ageAtMs, leaseMs, askMs))
  }

  /** When a question is the remedy: no table, or heartbeats that no longer renew the lease of what is in force. */
  get #needAtMs(): number {
    if (this.#asking.isWanted || this.#hasLeft) return Number.POSITIVE_INFINITY
    if (this.#held === null) return Number.NEGATIVE_INFINITY
    if (this.#inForce.table !== this.#held) return Number.POSITIVE_INFINITY
    // Early enough for the answer to come before the end; of a lease that is over, when that is noticed.
    return this.#isLeaseCounted ? this.#leaseUntilMs : this.#leaseUntilMs - ASK_EARLY_MS
  }

  get #ageAtMs(): number {
    if (this.#held === null) return Number.POSITIVE_INFINITY
    return Math.max(this.#heardMs, this.#leaseUntilMs) + this.#settings.ageMs
  }

  #ask(turn: Turn): void {
    const { nowMs } = turn
    const request = turn.request()
    turn.count('snapshots_asked')
    this.#asking.sent({ request, sentMs: nowMs, held: this.version })
    this.#clock?.asked(nowMs)
    const chunks = this.#held?.digests() ?? []
    turn.actions.push({
      do: 'send',
      to: this.name,
      message: { type: 'get-snapshot', host: this.host, request, chunks },
    })
  }

  #hold(table: HeldTable, turn: Turn): void {
    this.#held = table
    this.#inForce.told(table)
    turn.actions.push({
      do: 'apply',
      host: this.name,
      version: table.version,
      rows: [...table.rows.values()],
    })
  }

  #prove(atMs: number, turn: Turn): void {
    this.#provenMs = Math.max(this.#provenMs, atMs)
    this.#renew(turn)
  }

  #renew(turn: Turn): void {
    if (this.#held === null || this.#inForce.table !== this.#held || this.#clock === null) return
    const untilMs = this.#provenMs + this.#clock.leaseMs
    if (untilMs <= this.#leaseUntilMs || untilMs <= turn.nowMs) return
    this.#leaseUntilMs = untilMs
    this.#isLeaseCounted = false
    turn.actions.push({ do: 'lease', host: this.name, untilMs })
  }

  #answerRight(turn: Turn): void {
    const asked = this.#postulate
    const version = this.inForce
    if (asked === null || version === null || version.instance !== asked.version.instance) return
    if (version.generation < asked.version.generation) return
    const tables = [this.#inForce.table!, this.#held!]
    if (tables.some(table => differing(table.rows, asked.states).length > 0)) return
    this.#postulate = null
    turn.count('postulates_right')
    const { host, postulate } = asked
    turn.actions.push({ do: 'send', to: this.name, message: { type: 'postulate-right', host, postulate } })
  }

  #isNews(version: TableVersion): boolean {
    if (this.#seen?.instance === version.instance && version.generation <= this.#seen.generation) return false
    this.#seen = version
    return true
  }

  #unfit(why: string, turn: Turn): void {
    turn.count('snapshots_unfit')
    this.#refuse(`a snapshot with ${why}`, turn)
    this.#asking.want(false, turn.nowMs)
  }

  #refuse(why: string, turn: Turn): void {
    turn.count('refused')
    turn.actions.push({ do: 'refused', from: this.name, why })
  }
}
