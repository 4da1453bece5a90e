/** Makes a host's table follow what is known of its applications: which operations bring it from what it says to what it should. */
import { appKey, compactId } from '../app-id.ts'
import { type DirectiveState, MAX_ROWS, type Row, type RowOperation, type RowState } from '../types.ts'
import { Application } from './application.ts'
import { deriveDirective, isLastResort, isStricter } from './directive.ts'
import type { Endpoint, HostSettings } from './events.ts'
import type { Hold } from './hold.ts'
import type { HostTable } from './table.ts'

export const ALL = '*'
/** Orders kept for applications that do not listen now, besides those that do. */
const MAX_ORDERS = 2 * MAX_ROWS
const MAX_DELETED = MAX_ROWS
const STATE_FIELDS = ['health', 'load', 'capacity', 'target', 'current', 'cause'] as const

export class HostRows {
  readonly #settings: HostSettings
  readonly #table: HostTable
  readonly #hold: Hold
  readonly #applications = new Map<string, Application>()
  readonly #orders = new Map<string, DirectiveState>()
  /** Deleted rows that units may still use: what they may do with them, and until when. */
  readonly #deleted = new Map<string, { state: DirectiveState; untilMs: number }>()
  readonly #restartUntilMs: number
  readonly #dirty = new Set<string>()
  /** Applications whose row may have to change with time alone. */
  readonly #waiting = new Set<string>()
  /** Not later than the first of those times. */
  #dueMs = Number.POSITIVE_INFINITY
  #isStopping = false
  #isUrgent = false

  constructor(settings: HostSettings, table: HostTable, hold: Hold, restartUntilMs: number) {
    this.#settings = settings
    this.#table = table
    this.#hold = hold
    this.#restartUntilMs = restartUntilMs
  }

  /** Something is to be told. */
  get isDirty(): boolean {
    return this.#dirty.size > 0
  }
  /** Something is to be told at once; loads, but for jumps, go with the next beat: one row change for all of them. */
  get isUrgent(): boolean {
    return this.#isUrgent
  }
  has(key: string): boolean {
    return this.#applications.has(key)
  }

  setEndpoints(endpoints: ReadonlyMap<string, Endpoint>): void {
    for (const key of this.#applications.keys()) {
      if (endpoints.has(key)) continue
      this.#applications.delete(key)
      this.#waiting.delete(key)
      this.#mark(key)
    }
    for (const [key, endpoint] of endpoints) {
      const known = this.#applications.get(key)
      if (known === undefined) this.#applications.set(key, new Application(endpoint, this.#settings))
      else if (!known.take(endpoint)) continue
      this.#mark(key)
    }
  }

  setHealth(key: string, health: Row['health']): void {
    const application = this.#applications.get(key)
    if (application === undefined) return
    application.health = health
    this.#mark(key)
  }

  sample(key: string, percent: number, nowMs: number): void {
    const application = this.#applications.get(key)
    if (application === undefined) return
    application.load.sample(percent, nowMs)
    this.#check(key, application, nowMs)
  }

  /** The thresholds of overload in the settings are new. */
  rejudge(nowMs: number): void {
    for (const [key, { load, overload }] of this.#applications)
      if (overload.follow(this.#settings.overload, load.value, nowMs)) this.#mark(key)
    for (const [key, application] of this.#applications) this.#check(key, application, nowMs)
  }

  /** False when there are too many orders. */
  order(key: string, state: DirectiveState | null): boolean {
    if (state === null) this.#orders.delete(key)
    else if (this.#orders.has(key) || this.#orders.size < MAX_ORDERS) this.#orders.set(key, state)
    else return false
    if (key !== ALL) this.#mark(key)
    else for (const each of this.#applications.keys()) this.#mark(each)
    return true
  }

  stop(): void {
    this.#isStopping = true
    for (const key of this.#applications.keys()) this.#mark(key)
  }

  /** Looks after loads and overloads; answers when to do so again, infinite for never. */
  advance(nowMs: number): number {
    if (nowMs < this.#dueMs) return this.#dueMs
    this.#dueMs = Number.POSITIVE_INFINITY
    for (const key of [...this.#waiting]) this.#check(key, this.#applications.get(key)!, nowMs)
    return this.#dueMs
  }

  /** What to tell the units now. `settled`: directives that they follow, by row; `isPending`: rows whose directive some may not follow. Deletes come first, then updates. */
  operations(
    settled: ReadonlyMap<number, DirectiveState>,
    isPending: (id: number) => boolean,
    nowMs: number,
  ): RowOperation[] {
    for (const id of settled.keys()) this.#dirty.add(appKey(this.#table.row(id)!.app))
    const gone: RowOperation[] = []
    const updates: RowOperation[] = []
    const adds: RowOperation[] = []
    const taken = new Set<number>()
    for (const key of this.#dirty) {
      const row = this.#table.rowOf(key)
      const application = this.#applications.get(key)
      if (application === undefined) {
        if (row === undefined) continue
        const state = settled.get(row.id) ?? row.current
        const isUsable = isLastResort(row.cause) || isPending(row.id)
        this.#remember(key, isUsable ? 'active' : state, nowMs)
        gone.push({ operation: 'delete', id: row.id })
      } else if (row === undefined) {
        const id = compactId(application.app, id => taken.has(id) || this.#table.row(id) !== undefined)
        taken.add(id)
        adds.push({ operation: 'add', row: this.#newRow(id, key, application, nowMs) })
      } else {
        const next = this.#nextState(row, settled.get(row.id) ?? row.current, key, application, nowMs)
        if (STATE_FIELDS.some(field => next[field] !== row[field]))
          updates.push({ operation: 'update', row: next })
      }
    }
    this.#dirty.clear()
    this.#isUrgent = false
    return [...gone, ...updates, ...adds]
  }

  #check(key: string, { load, overload }: Application, nowMs: number): void {
    const isUrgent = overload.update(load.value, nowMs) || load.isJump
    if (isUrgent) this.#mark(key)
    else if (load.dueMs <= nowMs) this.#dirty.add(key)
    const later = [load.dueMs, overload.dueMs].filter(
      dueMs => dueMs > nowMs && dueMs < Number.POSITIVE_INFINITY,
    )
    if (later.length === 0) this.#waiting.delete(key)
    else this.#waiting.add(key)
    this.#dueMs = Math.min(this.#dueMs, ...later)
  }

  #mark(key: string): void {
    this.#dirty.add(key)
    this.#isUrgent = true
  }

  #nextState(
    row: Row,
    current: DirectiveState,
    key: string,
    application: Application,
    nowMs: number,
  ): RowState {
    const { health, capacity, load } = application
    return {
      id: row.id,
      health,
      load: load.tell(nowMs),
      capacity,
      ...this.#directive(key, application),
      current,
    }
  }

  #newRow(id: number, key: string, application: Application, nowMs: number): Row {
    const { app, health, capacity, load } = application
    const directive = this.#directive(key, application)
    const before = this.#heldBefore(key, nowMs)
    this.#deleted.delete(key)
    const current = isStricter(directive.target, before) ? before : directive.target
    return { id, app, health, load: load.tell(nowMs), capacity, ...directive, current }
  }

  #directive(
    key: string,
    { health, whenFailing, overload }: Application,
  ): ReturnType<typeof deriveDirective> {
    const orders = [this.#orders.get(ALL), this.#orders.get(key)]
    return deriveDirective({
      health,
      whenFailing,
      isOverloaded: overload.isOverloaded,
      isStopping: this.#isStopping,
      orders,
    })
  }

  /** The most that a unit may still do with an earlier row of this application. */
  #heldBefore(key: string, nowMs: number): DirectiveState {
    if (nowMs < this.#restartUntilMs) return 'active'
    const deleted = this.#deleted.get(key)
    return deleted !== undefined && nowMs < deleted.untilMs ? deleted.state : 'inactive'
  }

  #remember(key: string, state: DirectiveState, nowMs: number): void {
    this.#deleted.set(key, { state, untilMs: this.#hold.untilMs(nowMs) })
    for (const [oldest, { untilMs }] of this.#deleted) {
      if (untilMs > nowMs && this.#deleted.size <= MAX_DELETED) break
      this.#deleted.delete(oldest)
    }
  }
}
