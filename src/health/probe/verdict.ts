/** From single results to the health of an endpoint (R-B2): `rise` good ones in a row, `fall` bad ones in a row. Pure. */
import type { Health } from '../types.ts'

export interface Verdict {
  readonly health: Health
  /** Since when (ms). */
  readonly sinceMs: number
  /** What the newest probe said. */
  readonly why: string
  /** Results in a row that say the same, the newest among them; `good` tells what. */
  readonly streak: number
  readonly good: boolean
}

export const unprobed = (nowMs: number): Verdict => ({
  health: 'unknown',
  sinceMs: nowMs,
  why: 'not probed yet',
  streak: 0,
  good: false,
})

/**
 * The verdict after one more result. One good result is enough for an endpoint of unknown health, which takes connections
 * already; to call it failing takes as many as ever, so that one slow answer after a start of the agent does no harm.
 */
export const judge = (
  before: Verdict,
  rules: { readonly rise: number; readonly fall: number },
  result: { readonly ok: boolean; readonly why: string },
  nowMs: number,
): Verdict => {
  const good = result.ok
  const streak = before.streak > 0 && before.good === good ? before.streak + 1 : 1
  const needed = good ? (before.health === 'unknown' ? 1 : rules.rise) : rules.fall
  const health: Health = streak < needed ? before.health : good ? 'healthy' : 'failing'
  return {
    health,
    sinceMs: health === before.health ? before.sinceMs : nowMs,
    why: result.why,
    streak,
    good,
  }
}
