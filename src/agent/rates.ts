/** Packets, bytes and new connections a second, from counters that were read now and then. Pure. */
import type { Rates } from '../control/types.ts'

/** What was counted until now. */
export interface TrafficCount {
  readonly packets: number
  /** Of IP packets. */
  readonly bytes: number
  /** `null`: they are not counted here. */
  readonly connections: number | null
}

interface Sample {
  readonly atMs: number
  readonly counts: ReadonlyMap<string, TrafficCount>
}

/** Rates are over this time (ms): long enough to be steady, short enough to follow. */
export const RATE_WINDOW_MS = 5_000
const MAX_SAMPLES = 16

const fell = (before: TrafficCount, after: TrafficCount): boolean =>
  after.packets < before.packets ||
  after.bytes < before.bytes ||
  (after.connections ?? 0) < (before.connections ?? 0)

const perSecond = (before: number, after: number, ms: number): number =>
  Math.round(((after - before) * 1000 * 10) / ms) / 10

export class TrafficRates {
  /** Oldest first. */
  #samples: Sample[] = []
  readonly #windowMs: number

  constructor(windowMs = RATE_WINDOW_MS) {
    this.#windowMs = windowMs
  }

  /** All counters, under the names that they are asked for by; a name that is left out is forgotten. */
  sample(atMs: number, counts: ReadonlyMap<string, TrafficCount>): void {
    const kept = this.#samples.filter(sample => atMs - sample.atMs <= this.#windowMs && sample.atMs < atMs)
    this.#samples = [...kept.slice(1 - MAX_SAMPLES), { atMs, counts }]
  }

  /** Null: there are not two samples yet. A counter that fell began anew, so what was before does not count. */
  of(name: string): Rates | null {
    const newest = this.#samples.at(-1)
    const now = newest?.counts.get(name)
    if (newest === undefined || now === undefined) return null
    let first: { readonly atMs: number; readonly count: TrafficCount } = { atMs: newest.atMs, count: now }
    for (let i = this.#samples.length - 2; i >= 0; i--) {
      const { atMs, counts } = this.#samples[i]!
      const count = counts.get(name)
      if (count === undefined || fell(count, first.count)) break
      first = { atMs, count }
    }
    const ms = newest.atMs - first.atMs
    if (ms <= 0) return null
    return {
      packets: perSecond(first.count.packets, now.packets, ms),
      bytes: perSecond(first.count.bytes, now.bytes, ms),
      connections:
        now.connections === null ? null : perSecond(first.count.connections ?? 0, now.connections, ms),
    }
  }
}

/** Of all of them; null when of none there is one. */
export const sumOfRates = (rates: readonly (Rates | null)[]): Rates | null => {
  const known = rates.filter(rate => rate !== null)
  if (known.length === 0) return null
  const sum = (of: (rate: Rates) => number): number =>
    Math.round(known.reduce((all, rate) => all + of(rate), 0) * 10) / 10
  return {
    packets: sum(rate => rate.packets),
    bytes: sum(rate => rate.bytes),
    connections: known.every(rate => rate.connections === null) ? null : sum(rate => rate.connections ?? 0),
  }
}
