/**
 * Time for matching bodies of answers against regular expressions, over all checks of this host. Patterns are the operator's but
 * bodies are anybody's, and some take exponential time. Pure.
 *
 * A tenth of the time is for all together, with some saved up. A check is taken to be quick until it shows otherwise: a quick one
 * waits for its turn when all is used up, a slow one may only have what quick ones leave, so that it does not cost them theirs.
 */

/** Part of the time. */
export const MATCH_SHARE = 1 / 10
/** What may be saved up (ms). */
export const MATCH_BURST_MS = 200
/** One match; no other work of the agent's main thread happens meanwhile (ms). */
export const MAX_MATCH_MS = 50
/** One match of a quick check (ms). */
export const QUICK_MATCH_MS = 10
/** A match that takes more makes its check a slow one (ms). */
export const QUICK_MS = 5
/** So long after its last slow match (ms). */
const SLOW_FOR_MS = 60_000
/** Slow ones leave so much (ms). */
const RESERVE_MS = MATCH_BURST_MS / 2

export type MatchAnswer =
  /** It may match now, for so long at most. */
  | { readonly limitMs: number }
  /** It may ask again then. */
  | { readonly waitMs: number }
  /** Not this time: it is slow, and there is no time left for slow ones. */
  | 'refused'

export class MatchBudget {
  #leftMs = MATCH_BURST_MS
  #atMs = Number.NEGATIVE_INFINITY
  /** By check, until when it counts as slow. */
  readonly #slow = new Map<string, number>()

  ask(check: string, nowMs: number): MatchAnswer {
    this.#earn(nowMs)
    if (this.isSlow(check, nowMs)) return this.#leftMs >= RESERVE_MS ? { limitMs: MAX_MATCH_MS } : 'refused'
    if (this.#leftMs > 0) return { limitMs: QUICK_MATCH_MS }
    return { waitMs: Math.max(1, Math.ceil((1 - this.#leftMs) / MATCH_SHARE)) }
  }

  /** What a match took of the CPU, at its end: it is not slow because others kept the CPU from it. */
  took(check: string, tookMs: number, nowMs: number): void {
    this.#earn(nowMs)
    this.#leftMs -= tookMs
    if (tookMs < QUICK_MS) return
    for (const [known, untilMs] of this.#slow) if (untilMs <= nowMs) this.#slow.delete(known)
    this.#slow.set(check, nowMs + SLOW_FOR_MS)
  }

  isSlow(check: string, nowMs: number): boolean {
    return (this.#slow.get(check) ?? Number.NEGATIVE_INFINITY) > nowMs
  }

  #earn(nowMs: number): void {
    const earned = Math.max(0, nowMs - this.#atMs) * MATCH_SHARE
    this.#leftMs = Math.min(MATCH_BURST_MS, this.#leftMs + earned)
    this.#atMs = nowMs
  }
}
