/** How tokens are divided among shares (R-B10, figure 18: 1806). Pure. */
import type { Share } from './shares.ts'

export const MIN_TOKENS = 10
export const MAX_TOKENS = 1_000_000
/** Dealt out first when nobody says how many. */
export const FIRST_TOKENS = 100

/** What each of `weights` has of `total`, as exact fractions; none has less than one while `total` lasts. */
const quotas = (total: number, weights: readonly number[]): number[] => {
  const small = new Set<number>()
  for (;;) {
    const left = total - small.size
    const sum = weights.reduce((all, weight, i) => (small.has(i) ? all : all + weight), 0)
    const before = small.size
    weights.forEach((weight, i) => {
      if (!small.has(i) && weight * left < sum) small.add(i)
    })
    if (small.size === before) return weights.map((weight, i) => (small.has(i) ? 1 : (weight * left) / sum))
  }
}

/**
 * Whole tokens by the largest remainder; of equal ones the first gets more. They add up to `total`. Each share has at least one
 * when there are as many tokens as shares.
 */
export const divideTokens = (total: number, shares: readonly Pick<Share, 'weight'>[]): number[] => {
  const whole = Math.max(0, Math.floor(total))
  const sum = shares.reduce((all, { weight }) => all + weight, 0)
  if (shares.length === 0 || sum <= 0) return shares.map(() => 0)
  const weights = shares.map(({ weight }) => weight)
  const exact =
    whole >= shares.length ? quotas(whole, weights) : weights.map(weight => (weight * whole) / sum)
  const tokens = exact.map(Math.floor)
  const order = exact.map((_, i) => i).sort((a, b) => exact[b] - tokens[b] - (exact[a] - tokens[a]) || a - b)
  // Rounding errors of the fractions cannot add up to a whole token more than there are shares.
  let left = whole - tokens.reduce((all, count) => all + count, 0)
  for (let i = 0; left > 0; i = (i + 1) % order.length, left--) tokens[order[i]]++
  for (let i = order.length - 1; left < 0 && i >= 0; i--) {
    if (tokens[order[i]] < 2) continue
    tokens[order[i]]--
    left++
  }
  return tokens
}

/**
 * How many tokens to deal out when nobody says: as many as last about as long as an allotment is valid. Asked for more much sooner,
 * it deals out twice as many; asked when most of that time is over, half as many.
 */
export class TokenTotal {
  #total: number
  #dealtAtMs = Number.NEGATIVE_INFINITY

  constructor(first = FIRST_TOKENS) {
    this.#total = first
  }

  /**
   * @param asked the classifier asks for them; else they are dealt out anew because shares have changed, which says nothing of how
   *   fast they go
   * @param durationMs for which an allotment is valid
   */
  next(asked: boolean, nowMs: number, durationMs: number): number {
    const lastedMs = nowMs - this.#dealtAtMs
    if (asked && lastedMs < durationMs / 4) this.#total = Math.min(MAX_TOKENS, this.#total * 2)
    else if (asked && lastedMs >= durationMs / 2 && Number.isFinite(lastedMs))
      this.#total = Math.max(MIN_TOKENS, this.#total >> 1)
    this.#dealtAtMs = nowMs
    return this.#total
  }
}
