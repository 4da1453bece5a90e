/**
 * The directive protocol (R-B6, figure 15): a directive that changed is postulated to every load balancing unit until each has said that
 * it holds it and follows it, or its lease on the earlier rows has run out.
 */
import {
  ANSWER_OVERDUE_MS,
  type DirectiveState,
  type HealthMessage,
  MAX_OPERATIONS,
  POSTULATE_AGAIN_MS,
  POSTULATE_DELAY_MS,
  type WaitingWhy,
} from '../types.ts'
import type { PendingDirective } from './events.ts'
import type { Hold } from './hold.ts'
import { Questions } from './questions.ts'
import type { Units } from './units.ts'

type Answer = Extract<HealthMessage, { type: 'postulate-right' | 'postulate-wrong' }>

interface Change {
  readonly id: number
  readonly target: DirectiveState
  readonly sinceMs: number
  /** Of the table, that brought it. */
  readonly generation: number
  readonly holders: Set<string>
  /** When each unit was first asked, since it can be. */
  readonly asked: Map<string, number>
  /** Last 'wrong' of each unit. */
  readonly wrong: Map<string, { atMs: number; differs: boolean }>
  postulateMs: number
}

export class Postulates {
  readonly #host: number
  readonly #hold: Hold
  readonly #units: Units
  readonly #changes = new Map<number, Change>()
  readonly #questions: Questions

  constructor(host: number, hold: Hold, units: Units) {
    this.#host = host
    this.#hold = hold
    this.#units = units
    this.#questions = new Questions(hold.leaseMs)
  }

  /** A row's target changed with `generation`; what was held of it before counts no more. */
  begin(id: number, target: DirectiveState, generation: number, nowMs: number): void {
    const postulateMs = nowMs + POSTULATE_DELAY_MS
    this.#changes.set(id, {
      id,
      target,
      sinceMs: nowMs,
      generation,
      holders: new Set(),
      asked: new Map(),
      wrong: new Map(),
      postulateMs,
    })
  }

  /** Some unit may not follow the row's directive yet. */
  has(id: number): boolean {
    return this.#changes.has(id)
  }

  /** The row is gone. */
  cancel(id: number): void {
    this.#changes.delete(id)
  }

  /** Directives that every unit follows. */
  settled(nowMs: number): { id: number; state: DirectiveState }[] {
    if (this.#changes.size === 0) return []
    const users = this.#units.users(nowMs)
    return [...this.#changes.values()]
      .filter(change => this.#settlesMs(change, users) <= nowMs)
      .map(({ id, target }) => ({ id, state: target }))
  }

  /** Questions to units that are not known to follow. */
  postulate(instance: number, nowMs: number): { to: string; message: HealthMessage }[] {
    const due = [...this.#changes.values()].filter(({ postulateMs }) => postulateMs <= nowMs)
    if (due.length === 0) return []
    for (const change of due) {
      change.postulateMs = nowMs + POSTULATE_AGAIN_MS
      for (const unit of change.asked.keys()) if (!this.#units.isLinked(unit)) change.asked.delete(unit)
    }
    return this.#units.linked().flatMap(to => {
      const open = due.filter(({ holders }) => !holders.has(to))
      for (const { asked } of open) if (!asked.has(to)) asked.set(to, nowMs)
      return inParts(open).map(part => {
        const ids = part.map(({ id }) => id)
        // Not the table's: changes that came later are no reason to wait for.
        const generation = Math.max(...part.map(change => change.generation))
        const postulate = this.#questions.ask({ unit: to, generation, ids, atMs: nowMs })
        const version = { instance, generation }
        const states = part.map(({ id, target }) => ({ id, state: target }))
        return { to, message: { type: 'postulate', host: this.#host, version, postulate, states } }
      })
    })
  }

  /** False for an answer to nothing that was asked, or to what was answered already. */
  answer(from: string, message: Answer, nowMs: number): boolean {
    const question = this.#questions.take(from, message.postulate)
    if (question === null) return false
    const differs = message.type === 'postulate-wrong' ? new Set(message.differs) : null
    for (const id of question.ids) {
      const change = this.#changes.get(id)
      if (change === undefined || change.generation > question.generation) continue
      if (differs === null) {
        change.holders.add(from)
        change.wrong.delete(from)
      } else {
        change.holders.delete(from)
        change.wrong.set(from, { atMs: nowMs, differs: differs.size === 0 || differs.has(id) })
      }
    }
    return true
  }

  pending(nowMs: number): PendingDirective[] {
    const users = this.#units.users(nowMs)
    return [...this.#changes.values()].map(change => ({
      id: change.id,
      target: change.target,
      sinceMs: change.sinceMs,
      lapsesMs: this.#hold.untilMs(change.sinceMs),
      waiting: users
        .filter(unit => this.#lapsesMs(change, unit) > nowMs)
        .map(unit => ({ unit, why: this.#why(change, unit, nowMs) })),
    }))
  }

  /** Infinite when nothing is pending. */
  wakeAtMs(nowMs: number): number {
    if (this.#changes.size === 0) return Number.POSITIVE_INFINITY
    const users = this.#units.users(nowMs)
    let wakeAtMs = Number.POSITIVE_INFINITY
    for (const change of this.#changes.values()) {
      const settlesMs = this.#settlesMs(change, users)
      // One that is settled waits for its row change only.
      wakeAtMs = Math.min(wakeAtMs, change.postulateMs, settlesMs > nowMs ? settlesMs : wakeAtMs)
    }
    return wakeAtMs
  }

  #settlesMs(change: Change, users: readonly string[]): number {
    const { isKnown, strangersUntilMs } = this.#units
    const unknown = isKnown ? strangersUntilMs : this.#hold.untilMs(change.sinceMs)
    return users.reduce((latest, unit) => Math.max(latest, this.#lapsesMs(change, unit)), unknown)
  }

  /** From when on this unit need not be waited for. One that says 'wrong' is alive, and is heard until it has been silent for a lease. */
  #lapsesMs({ holders, wrong, sinceMs }: Change, unit: string): number {
    if (holders.has(unit)) return Number.NEGATIVE_INFINITY
    const { leaseMs } = this.#hold
    return Math.max(
      this.#hold.untilMs(sinceMs),
      (wrong.get(unit)?.atMs ?? Number.NEGATIVE_INFINITY) + leaseMs,
    )
  }

  #why({ asked, wrong }: Change, unit: string, nowMs: number): WaitingWhy {
    const last = wrong.get(unit)
    if (last !== undefined && nowMs < last.atMs + this.#hold.leaseMs)
      return last.differs ? 'differs' : 'not in force'
    const overdueMs = (asked.get(unit) ?? nowMs) + ANSWER_OVERDUE_MS
    return this.#units.isLinked(unit) && nowMs < overdueMs ? 'no answer yet' : 'silent'
  }
}

const inParts = <T>(all: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(all.length / MAX_OPERATIONS) }, (_, i) =>
    all.slice(i * MAX_OPERATIONS, (i + 1) * MAX_OPERATIONS),
  )
