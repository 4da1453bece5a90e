/**
 * Which changes of endpoints are news, and when: one that changes again and again is told of more and more rarely, so that it
 * cannot fill the ring of events. Pure.
 */
import type { RowFact } from './row-facts.ts'

/** After one telling until the next of the same endpoint; doubled while it goes on changing. */
const QUIET_MS = 2_000
const MAX_QUIET_MS = 300_000
/** A node that has just come hears of all rows: what is not well then may be on its way up. */
const FIRST_MS = 5_000
/** A restart is no loss. */
const ABSENT_MS = 1_000
/** Endpoints of which nothing was known for so long are forgotten. */
const FORGET_MS = 600_000

export interface RowChange {
  readonly fact: RowFact
  /** What was told before. */
  readonly from: string
  /** Since then; 1: only this one. */
  readonly times: number
}

interface Entry {
  fact: RowFact
  /** Of `fact.word` */
  sinceMs: number
  seenMs: number
  told: string
  times: number
  quietMs: number
  quietUntilMs: number
}

const keyOf = ({ of, host, service }: RowFact): string => `${of} ${host} ${service}`

/** What needs no telling of an endpoint that is seen for the first time: that it is well, or as the operator ordered. */
const expected = (fact: RowFact): string => {
  if (fact.of === 'directive') return fact.word === 'overload' ? 'active' : fact.word
  return fact.word === 'absent' && !fact.missed ? fact.word : 'well'
}

const isNews = (from: string, to: string): boolean => {
  if (from === to) return false
  // Not probed yet: neither good news nor bad, but something listens.
  if (to === 'unknown') return from === 'absent'
  return !(from === 'unknown' && to === 'well')
}

export class RowChanges {
  readonly #entries = new Map<string, Entry>()

  /** How many endpoints are remembered. */
  get size(): number {
    return this.#entries.size
  }

  /** What is to be told now, and when to ask again at the latest (infinite: at the next change). Monotonic ms. */
  due(facts: readonly RowFact[], nowMs: number): { changes: RowChange[]; wakeAtMs: number } {
    for (const fact of facts) this.#see(fact, nowMs)
    const changes: RowChange[] = []
    let wakeAtMs = Number.POSITIVE_INFINITY
    for (const [key, entry] of this.#entries) {
      if (entry.seenMs + FORGET_MS < nowMs) this.#entries.delete(key)
      // A host that is out of touch now is told of by another event.
      if (entry.seenMs !== nowMs || !isNews(entry.told, entry.fact.word)) continue
      const steadyMs = entry.fact.word === 'absent' ? ABSENT_MS : 0
      const dueMs = Math.max(entry.quietUntilMs, entry.sinceMs + steadyMs)
      if (dueMs > nowMs) wakeAtMs = Math.min(wakeAtMs, dueMs)
      else changes.push({ fact: entry.fact, from: entry.told, times: entry.times })
    }
    return { changes, wakeAtMs }
  }

  /** These were told. */
  told(changes: readonly RowChange[], nowMs: number): void {
    for (const { fact } of changes) {
      const entry = this.#entries.get(keyOf(fact))
      if (entry === undefined) continue
      const isCalm = nowMs >= entry.quietUntilMs + entry.quietMs
      entry.quietMs = isCalm ? QUIET_MS : Math.min(MAX_QUIET_MS, 2 * entry.quietMs)
      entry.quietUntilMs = nowMs + entry.quietMs
      entry.told = fact.word
      entry.times = 0
    }
  }

  #see(fact: RowFact, nowMs: number): void {
    const key = keyOf(fact)
    const entry = this.#entries.get(key)
    if (entry === undefined) {
      const told = expected(fact)
      const isBad = fact.word !== told
      this.#entries.set(key, {
        ...{ fact, told, sinceMs: nowMs, seenMs: nowMs, times: isBad ? 1 : 0 },
        ...{ quietMs: 0, quietUntilMs: isBad ? nowMs + FIRST_MS : nowMs },
      })
      return
    }
    if (entry.fact.word !== fact.word) {
      entry.sinceMs = nowMs
      if (fact.word !== 'unknown') entry.times++
    }
    entry.fact = fact
    entry.seenMs = nowMs
  }
}
