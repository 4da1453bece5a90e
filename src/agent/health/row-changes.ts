/**
 * Which changes of endpoints are news, and when: one that changes again and again is told of more and more rarely, so that it
 * cannot fill the ring of events. Whatever is left out, what was told last of an endpoint becomes true again within STEADY_MS of its
 * last change. An operator's order, and its end, is told at once: it is rare. Pure.
 */
import { type Bucket, takeTokens } from '../../gossip/bucket.ts'
import type { RowFact } from './row-facts.ts'

/** After one telling until the next of the same endpoint; doubled while it goes on changing. */
const QUIET_MS = 2_000
const MAX_QUIET_MS = 300_000
/** What has not changed for so long is told, however much it changed before. */
export const STEADY_MS = 30_000
/** Of one endpoint: operators are no faster. More, from a host that is not sound, wait like all else. */
const ORDERS = { ratePerS: 1 / 15, burst: 6 }
/** A node that has just come hears of all rows: what is not well then may be on its way up. */
const FIRST_MS = 5_000
/** A restart is no loss. */
const ABSENT_MS = 1_000
/** Endpoints of which nothing was known for so long are forgotten; later when what was told last may no longer be so. */
const FORGET_MS = 600_000
const FORGET_TROUBLE_MS = 86_400_000

export interface RowChange {
  readonly fact: RowFact
  /** What was told before. */
  readonly from: string
  /** Since then; 1: only this one. */
  readonly times: number
  /** An operator's order, or its end. */
  readonly isOrder: boolean
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
  orders: Bucket
}

const keyOf = ({ of, host, service }: RowFact): string => `${of} ${host} ${service}`

const isOrder = (word: string): boolean => word === 'draining' || word === 'inactive'

/** What needs no telling of an endpoint that is seen for the first time: that it is well, or as the operator ordered. */
const expected = (fact: RowFact): string => {
  if (fact.of === 'directive') return isOrder(fact.word) ? fact.word : 'active'
  return fact.word === 'absent' && !fact.missed ? fact.word : 'well'
}

const isNews = (from: string, to: string): boolean => {
  if (from === to) return false
  // That it fails is told of the application.
  if (from === 'active' && to === 'health') return false
  // Not probed yet: neither good news nor bad, but something listens.
  if (to === 'unknown') return from === 'absent'
  return !(from === 'unknown' && to === 'well')
}

/** When what the endpoint has become is to be told. */
const dueMsOf = ({ fact, sinceMs, quietUntilMs, orders }: Entry, byOrder: boolean, nowMs: number): number => {
  if (byOrder && takeTokens(orders, 1, nowMs, ORDERS).waitMs === 0) return sinceMs
  const steadyMs = fact.word === 'absent' ? ABSENT_MS : 0
  return Math.max(Math.min(quietUntilMs, sinceMs + STEADY_MS), sinceMs + steadyMs)
}

export class RowChanges {
  readonly #entries = new Map<string, Entry>()

  /** How many endpoints are remembered. */
  get size(): number {
    return this.#entries.size
  }

  /**
   * What is to be told now, the longest due first, and when to ask again at the latest (infinite: at the next change). Monotonic ms.
   * @param isAsked of these whatever is news is told now: something else that is told follows from it
   */
  due(
    facts: readonly RowFact[],
    nowMs: number,
    isAsked: (fact: RowFact) => boolean = () => false,
  ): { changes: RowChange[]; wakeAtMs: number } {
    for (const fact of facts) this.#see(fact, nowMs)
    const due: { change: RowChange; dueMs: number }[] = []
    let wakeAtMs = Number.POSITIVE_INFINITY
    for (const [key, entry] of this.#entries) {
      const { fact, told: from, times, seenMs } = entry
      if (seenMs + (from === 'well' || from === 'active' ? FORGET_MS : FORGET_TROUBLE_MS) < nowMs)
        this.#entries.delete(key)
      // A host that is out of touch now is told of by another event.
      if (seenMs !== nowMs || !isNews(from, fact.word)) continue
      const change = { fact, from, times, isOrder: isOrder(from) || isOrder(fact.word) }
      const dueMs = isAsked(fact) ? nowMs : dueMsOf(entry, change.isOrder, nowMs)
      if (dueMs > nowMs) wakeAtMs = Math.min(wakeAtMs, dueMs)
      else due.push({ change, dueMs })
    }
    due.sort((a, b) => a.dueMs - b.dueMs)
    return { changes: due.map(({ change }) => change), wakeAtMs }
  }

  /** These were told. */
  told(changes: readonly RowChange[], nowMs: number): void {
    for (const { fact, isOrder: byOrder } of changes) {
      const entry = this.#entries.get(keyOf(fact))
      if (entry === undefined) continue
      entry.told = fact.word
      entry.times = 0
      if (byOrder) {
        const { bucket, waitMs } = takeTokens(entry.orders, 1, nowMs, ORDERS)
        if (waitMs === 0) {
          entry.orders = bucket
          continue
        }
      }
      const isCalm = nowMs >= entry.quietUntilMs + entry.quietMs
      entry.quietMs = isCalm ? QUIET_MS : Math.min(MAX_QUIET_MS, 2 * entry.quietMs)
      entry.quietUntilMs = nowMs + entry.quietMs
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
        orders: { tokens: ORDERS.burst, atMs: nowMs },
      })
      return
    }
    if (entry.fact.word !== fact.word) {
      entry.sinceMs = nowMs
      if (fact.word !== 'unknown' && fact.word !== 'health') entry.times++
    }
    entry.fact = fact
    entry.seenMs = nowMs
  }
}
