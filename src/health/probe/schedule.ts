/**
 * Which endpoint is probed when, and what follows from the results. Pure: the shell (src/agent/health/probes.ts) probes.
 * A target has at most one probe under way; all together have MAX_AT_ONCE, those due the longest first.
 */
import type { Health } from '../types.ts'
import { type CheckTarget, sameTarget } from './target.ts'
import { judge, unprobed, type Verdict } from './verdict.ts'

export const MAX_AT_ONCE = 16
/** An endpoint of unknown health is probed so many times as often, to know it soon. */
const HASTE = 4

export type ProbeEvent =
  /** All that are to be probed from now on; one whose address or check changed begins anew. */
  | { on: 'targets'; targets: readonly CheckTarget[] }
  /** How the probe `run` went; `why` is a short sentence either way. */
  | { on: 'result'; key: string; run: number; ok: boolean; why: string }
  | { on: 'tick' }

export type ProbeAction =
  | { do: 'probe'; target: CheckTarget; run: number }
  /** The result is not wanted any more. */
  | { do: 'cancel'; key: string; run: number }
  /** The health of an endpoint is another than before. */
  | { do: 'verdict'; key: string; health: Health; why: string }

export interface ProbeStep {
  actions: ProbeAction[]
  /** When to tick at the latest; Infinity when only a result or new targets can change anything. */
  wakeAtMs: number
}

interface Entry {
  target: CheckTarget
  verdict: Verdict
  dueMs: number
  startedMs: number
  /** Number of the probe under way; 0: none. */
  run: number
}

export interface ProbeStatus extends Verdict {
  readonly key: string
  /** A probe is under way. */
  readonly probing: boolean
}

export class ProbeSchedule {
  readonly #entries = new Map<string, Entry>()
  readonly #limit: number
  #running = 0
  #runs = 0

  constructor(limit = MAX_AT_ONCE) {
    this.#limit = limit
  }

  /** @param random numbers from 0 to below 1, for the jitter */
  step(event: ProbeEvent, nowMs: number, random: () => number): ProbeStep {
    const actions: ProbeAction[] = []
    if (event.on === 'targets') this.#replace(event.targets, nowMs, actions)
    if (event.on === 'result') this.#result(event, nowMs, random, actions)
    return { actions, wakeAtMs: this.#start(nowMs, actions) }
  }

  status(): ProbeStatus[] {
    return [...this.#entries].map(([key, { verdict, run }]) => ({ key, ...verdict, probing: run !== 0 }))
  }

  #replace(targets: readonly CheckTarget[], nowMs: number, actions: ProbeAction[]): void {
    const wanted = new Map(targets.map(target => [target.key, target]))
    for (const [key, entry] of this.#entries) {
      const target = wanted.get(key)
      if (target !== undefined && sameTarget(target, entry.target)) continue
      this.#cancel(entry, actions)
      this.#entries.delete(key)
      // What another check found says nothing about this one, and without a check nothing is known.
      const why = target === undefined ? 'it is not probed any more' : 'its health check changed'
      if (entry.verdict.health !== 'unknown') actions.push({ do: 'verdict', key, health: 'unknown', why })
    }
    for (const [key, target] of wanted)
      if (!this.#entries.has(key))
        this.#entries.set(key, { target, verdict: unprobed(nowMs), dueMs: nowMs, startedMs: nowMs, run: 0 })
  }

  #cancel(entry: Entry, actions: ProbeAction[]): void {
    if (entry.run === 0) return
    actions.push({ do: 'cancel', key: entry.target.key, run: entry.run })
    entry.run = 0
    this.#running--
  }

  #result(
    { key, run, ok, why }: ProbeEvent & { on: 'result' },
    nowMs: number,
    random: () => number,
    actions: ProbeAction[],
  ): void {
    const entry = this.#entries.get(key)
    // The result of a probe that was cancelled comes too late.
    if (entry === undefined || entry.run !== run || run === 0) return
    entry.run = 0
    this.#running--
    const { check } = entry.target
    const before = entry.verdict.health
    entry.verdict = judge(entry.verdict, check, { ok, why }, nowMs)
    const { health } = entry.verdict
    if (health !== before) actions.push({ do: 'verdict', key, health, why })
    const interval = health === 'unknown' ? check.interval / HASTE : check.interval
    entry.dueMs = Math.max(nowMs, entry.startedMs + interval * (1 + check.jitter * (2 * random() - 1)))
  }

  /** Starts what is due while there is room. @returns when to come again */
  #start(nowMs: number, actions: ProbeAction[]): number {
    const waiting = [...this.#entries.values()].filter(entry => entry.run === 0)
    const due = waiting.filter(entry => entry.dueMs <= nowMs).sort((a, b) => a.dueMs - b.dueMs)
    for (const entry of due.slice(0, this.#limit - this.#running)) {
      entry.run = ++this.#runs
      entry.startedMs = nowMs
      this.#running++
      actions.push({ do: 'probe', target: entry.target, run: entry.run })
    }
    if (this.#running >= this.#limit) return Number.POSITIVE_INFINITY
    return waiting.reduce(
      (first, entry) => (entry.run === 0 ? Math.min(first, entry.dueMs) : first),
      Number.POSITIVE_INFINITY,
    )
  }
}
