/**
 * A host's health and load table and its directives (R-B1, R-B2, R-B4 to R-B6), as a pure core: it follows what the host knows of its
 * applications, tells changes to all units at once, answers for its state with each heartbeat, and changes what directives are current
 * only when no unit can be following earlier ones.
 */
import { type Bucket, takeTokens } from '../../gossip/bucket.ts'
import { RateByKey } from '../../gossip/rate-by-key.ts'
import {
  type HealthMessage,
  MAX_OPERATIONS,
  type Row,
  type RowOperation,
  type TableVersion,
} from '../types.ts'
import { admitEndpoints } from './admit.ts'
import { Beats } from './beats.ts'
import { isLastResort } from './directive.ts'
import type { Endpoint, HostAction, HostEvent, HostPolicy, HostSettings, PendingDirective } from './events.ts'
import { Hold } from './hold.ts'
import { Postulates } from './postulates.ts'
import { HostRows } from './rows.ts'
import { HostTable } from './table.ts'
import { Units } from './units.ts'

export type { Endpoint, HostAction, HostEvent, HostPolicy, HostSettings, PendingDirective } from './events.ts'

/** Row changes: some at once, then so many a second that new chains and their hashes cost next to nothing; more changes go into each. */
const CHANGES = { ratePerS: 20, burst: 8 }
/** Snapshots that one asker gets. */
const SNAPSHOTS = { ratePerS: 4, burst: 4 }
/** Row changes told again to a unit that says it does not hold them. */
const REPEATS = { ratePerS: 4, burst: 1 }

/** Heartbeats out of turn because another host leads: a claim costs its sender less than they cost this host. */
const LEADERS = { ratePerS: 1, burst: 4 }

/** Nodes that ask before this one knows that they are units. */
const MAX_EARLY = 1024

type Question = Extract<HealthMessage, { type: 'get-snapshot' }>

export class HealthHost {
  /** Its own, which its parts share: what the cluster document says of it changes. */
  readonly #settings: HostSettings
  readonly hold: Hold
  readonly #table: HostTable
  readonly #rows: HostRows
  readonly #units: Units
  readonly #postulates: Postulates
  readonly #beats: Beats
  readonly #snapshots = new RateByKey(SNAPSHOTS)
  readonly #repeats = new RateByKey(REPEATS)
  readonly #early = new Map<string, Question>()
  #changes: Bucket
  #leaders: Bucket
  /** When a row change that had to wait may go; infinite when none does. */
  #publishMs = Number.POSITIVE_INFINITY
  #leader: string | null = null
  /** Of the table, at the last beat. */
  #beatGeneration = 1
  #hasGone = false
  #nowMs: number
  #actions: HostAction[] = []

  /** `instance`: random u32, of this start of the table. `seed`: 32 fresh random bytes for each chain. Beat 1 is at `nowMs`. `hold`: of the table that this one follows. */
  constructor(
    settings: HostSettings,
    instance: number,
    nowMs: number,
    seed: () => Uint8Array,
    hold = new Hold(settings.beatMs * settings.leaseBeats),
  ) {
    this.#settings = { ...settings }
    this.hold = hold
    this.#nowMs = nowMs
    this.#changes = { tokens: CHANGES.burst, atMs: nowMs }
    this.#leaders = { tokens: LEADERS.burst, atMs: nowMs }
    this.#table = new HostTable(settings.host, instance, seed, settings.chainLinks)
    const restartUntilMs = settings.isRestart === true ? hold.untilMs(nowMs) : Number.NEGATIVE_INFINITY
    this.#rows = new HostRows(this.#settings, this.#table, hold, restartUntilMs)
    this.#units = new Units(settings.name, hold, restartUntilMs)
    this.#postulates = new Postulates(settings.host, hold, this.#units)
    this.#beats = new Beats(this.#settings, nowMs)
  }

  get version(): TableVersion {
    return this.#table.version
  }
  /** As the units are told. */
  rows(): Row[] {
    return this.#table.rows()
  }
  /** Directives that not every unit follows yet, and whom that waits for. */
  pending(): PendingDirective[] {
    return this.#postulates.pending(this.#nowMs)
  }

  /** Never throws for what a peer sent. Time does not go backwards: an earlier `nowMs` counts as the last one. */
  step(event: HostEvent, nowMs: number): { actions: HostAction[]; wakeAtMs: number } {
    if (this.#hasGone) return { actions: [], wakeAtMs: Number.POSITIVE_INFINITY }
    this.#nowMs = Math.max(this.#nowMs, nowMs)
    this.#actions = []
    this.#handle(event)
    const wakeAtMs = this.#hasGone ? Number.POSITIVE_INFINITY : this.#advance()
    return { actions: this.#actions, wakeAtMs }
  }

  #handle(event: HostEvent): void {
    const { name } = this.#settings
    if (event.on === 'tick') return
    if (event.on === 'message') return this.#take(event.from, event.message)
    if (event.on === 'endpoints') return this.#setEndpoints(event.endpoints)
    if (event.on === 'health') return this.#rows.setHealth(event.app, event.health)
    if (event.on === 'load') return this.#rows.sample(event.app, event.percent, this.#nowMs)
    if (event.on === 'settings') return this.#change(event.settings, event.instance)
    if (event.on === 'stopping') return this.#rows.stop()
    if (event.on === 'goodbye') return this.#sayGoodbye(event.reason)
    if (event.on === 'units') return this.#setUnits(event.units)
    if (event.on === 'link') return this.#units.setLink(event.unit, event.up)
    if (event.on === 'leader') return this.#follow(event.leader)
    if (!this.#rows.order(event.app, event.state))
      this.#refuse(name, `the order for ${event.app} is not kept: there are too many; withdraw some first`)
  }

  #change(settings: HostPolicy, instance: number): void {
    Object.assign(this.#settings, settings)
    this.#rows.rejudge(this.#nowMs)
    if (!this.hold.change(this.#settings.beatMs * settings.leaseBeats, this.#nowMs)) return
    this.#table.renew(instance)
    this.#commit([])
  }

  #setUnits(units: readonly string[]): void {
    // One that is none any more is not told of this generation: no heartbeat renews its lease, whoever passes it on.
    if (this.#units.setMembers(units, this.#nowMs)) this.#commit([])
    for (const [unit, question] of this.#early) {
      if (!this.#units.isMember(unit)) continue
      this.#early.delete(unit)
      this.#answer(unit, question)
    }
  }

  #setEndpoints(endpoints: readonly Endpoint[]): void {
    const { admitted, refused } = admitEndpoints(endpoints, key => this.#rows.has(key))
    for (const why of refused) this.#refuse(this.#settings.name, why)
    this.#rows.setEndpoints(admitted)
  }

  #take(from: string, message: HealthMessage): void {
    if (message.type === 'get-snapshot') return this.#answer(from, message)
    if (message.type !== 'postulate-right' && message.type !== 'postulate-wrong')
      return this.#refuse(from, `${message.type} is not for a host's table`)
    if (!this.#units.isMember(from)) return this.#refuse(from, `${message.type} from a node that is no unit`)
    const isNews = this.#postulates.answer(from, message, this.#nowMs)
    const change = this.#table.lastChange
    // Whatever it holds, this shows it what it lacks: it is the next generation for it, or makes it ask for a snapshot.
    if (
      isNews &&
      message.type === 'postulate-wrong' &&
      change !== null &&
      this.#repeats.take(from, this.#nowMs)
    )
      this.#send(from, change)
  }

  #answer(from: string, question: Question): void {
    if (!this.#units.isMember(from)) {
      // Of whoever may use the rows this host must know; it may be about to be told.
      if (this.#early.size < MAX_EARLY) this.#early.set(from, question)
      return
    }
    const { request, chunks } = question
    if (!this.#snapshots.take(from, this.#nowMs)) return this.#refuse(from, 'asks for snapshots too often')
    const { host, beatMs, leaseBeats } = this.#settings
    const beat = this.#beats.next(this.#nowMs)
    const snapshot = this.#table.snapshot(chunks)
    this.#send(from, { type: 'send-snapshot', host, request, beat, beatMs, leaseBeats, ...snapshot })
    this.#beats.askForward()
  }

  #follow(leader: string | null): void {
    if (leader === this.#leader) return
    this.#leader = leader
    const { bucket, waitMs } = takeTokens(this.#leaders, 1, this.#nowMs, LEADERS)
    if (waitMs > 0) return
    this.#leaders = bucket
    // The one before may have died with it.
    this.#sendHeartbeat(false)
  }

  #sayGoodbye(reason: string): void {
    for (const unit of this.#units.linked())
      this.#send(unit, { type: 'goodbye', host: this.#settings.host, reason })
    this.#hasGone = true
  }

  #advance(): number {
    const loadDueMs = this.#rows.advance(this.#nowMs)
    this.#publish()
    this.#beat()
    for (const { to, message } of this.#postulates.postulate(this.version.instance, this.#nowMs))
      this.#send(to, message)
    const postulatesMs = this.#postulates.wakeAtMs(this.#nowMs)
    return Math.min(this.#beats.dueMs, loadDueMs, this.#publishMs, postulatesMs)
  }

  #publish(): void {
    this.#publishMs = Number.POSITIVE_INFINITY
    const settled = this.#postulates.settled(this.#nowMs)
    const isDue = this.#rows.isUrgent || (this.#rows.isDirty && this.#beats.dueMs <= this.#nowMs)
    if (settled.length === 0 && !isDue) return
    const { bucket, waitMs } = takeTokens(this.#changes, 1, this.#nowMs, CHANGES)
    if (waitMs > 0) {
      this.#publishMs = this.#nowMs + waitMs
      return
    }
    this.#changes = bucket
    for (const { id } of settled) this.#postulates.cancel(id)
    const operations = this.#rows.operations(
      new Map(settled.map(({ id, state }) => [id, state])),
      id => this.#postulates.has(id),
      this.#nowMs,
    )
    for (let i = 0; i < operations.length; i += MAX_OPERATIONS)
      this.#commit(operations.slice(i, i + MAX_OPERATIONS))
    if (operations.length > 0) this.#actions.push({ do: 'rows' })
    for (const { id, state } of settled) this.#actions.push({ do: 'settled', id, state })
    // Where nobody has to be asked.
    if (this.#postulates.settled(this.#nowMs).length > 0) this.#publishMs = this.#nowMs
  }

  #commit(operations: readonly RowOperation[]): void {
    const before = new Map<number, Pick<Row, 'target' | 'cause'>>()
    for (const operation of operations) {
      if (operation.operation === 'delete') this.#postulates.cancel(operation.id)
      if (operation.operation === 'update') before.set(operation.row.id, this.#table.row(operation.row.id)!)
      if (operation.operation === 'add')
        before.set(operation.row.id, { target: operation.row.current, cause: operation.row.cause })
    }
    const change = this.#table.commit(operations, this.#beats.past(this.#nowMs))
    for (const [id, { target, cause }] of before) {
      const row = this.#table.row(id)!
      // Units that do not know of the new cause may still use the row for want of a better one.
      const isForbidden = row.target !== 'active' && isLastResort(cause) && !isLastResort(row.cause)
      if (row.target !== target || isForbidden)
        this.#postulates.begin(id, row.target, this.version.generation, this.#nowMs)
    }
    for (const unit of this.#units.linked()) this.#send(unit, change)
    this.#beats.askForward()
  }

  #beat(): void {
    if (this.#beats.dueMs > this.#nowMs) return
    // The chain has run out: a generation with no other change brings the next one.
    if (this.#table.token(this.#beats.current(this.#nowMs)) === null) this.#commit([])
    this.#beats.take(this.#nowMs)
    const { generation } = this.version
    // By way of the leader the token of a new state would be overtaken by the next change, over and over in a table that changes often.
    this.#sendHeartbeat(generation !== this.#beatGeneration)
    this.#beatGeneration = generation
  }

  #sendHeartbeat(isNewState: boolean): void {
    const token = this.#table.token(this.#beats.sent)
    if (token === null) return
    const message: HealthMessage = {
      type: 'heartbeat',
      leader: 0,
      entries: [this.#beats.entry(token)],
      gone: [],
    }
    const to = new Set(isNewState || this.#leader === null ? this.#units.linked() : [])
    if (this.#leader !== null) to.add(this.#leader)
    for (const receiver of to) this.#send(receiver, message)
  }

  #send(to: string, message: HealthMessage): void {
    this.#actions.push({ do: 'send', to, message })
  }
  #refuse(from: string, why: string): void {
    this.#actions.push({ do: 'refused', from, why })
  }
}
