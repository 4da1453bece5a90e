import type { ServiceAllotment } from './update.ts'

/** Tokens are asked for again when this part of them is left. */
const LOW = 0.25
/** An allotment is asked for again so long before its end: a quarter of its duration, at most this (ms). */
const AHEAD_MS = 1000

/** One allotment of a service, as it is used up (figure 18). Pure; which hosts can be used now is for the caller to say. */
export class Deal {
  readonly number: number
  readonly scheme: ServiceAllotment['allotment']['scheme']
  readonly untilMs: number
  /** When to ask for the next one. */
  readonly renewAtMs: number
  readonly hosts: Uint8Array
  readonly weights: Float64Array
  readonly tokens: Float64Array
  readonly #strategy: ServiceAllotment['allotment']['strategy']
  /** Running record: by how much each share is behind what it should have got, in connections. */
  readonly #record: Float64Array
  readonly #lowTokens: number
  #left = 0
  #cursor = 0

  constructor(allotment: ServiceAllotment['allotment'], nowMs: number, before?: Deal) {
    const { number, scheme, strategy, untilMs, shares } = allotment
    this.number = number
    this.scheme = scheme
    this.#strategy = strategy
    this.untilMs = untilMs
    this.renewAtMs = untilMs - Math.min(AHEAD_MS, Math.max(0, untilMs - nowMs) / 4)
    this.hosts = Uint8Array.from(shares, share => share.host)
    const sum = shares.reduce((all, { weight }) => all + weight, 0)
    this.weights = Float64Array.from(shares, ({ weight }) => weight / sum)
    this.tokens = Float64Array.from(shares, ({ tokens }) => tokens)
    for (const tokens of this.tokens) this.#left += tokens
    this.#lowTokens = this.#left * LOW
    this.#record = Float64Array.from(shares, ({ host }) => before?.recordOf(host) ?? 0)
  }

  recordOf(host: number): number {
    const at = this.hosts.indexOf(host)
    return at < 0 ? 0 : this.#record[at]
  }

  /** The host is in the shares. */
  has(host: number): boolean {
    return this.hosts.includes(host)
  }

  get isLow(): boolean {
    return this.scheme === 'tokens' && this.#left <= this.#lowTokens
  }

  /** The host that is furthest behind its percentage (smooth weighted round robin); 0: none is usable. */
  byRecord(usable: (host: number) => boolean): number {
    const { hosts, weights } = this
    const best = this.#furthestBehind(usable)
    if (best < 0) return 0
    let sum = 0
    for (let i = 0; i < hosts.length; i++) {
      if (!usable(hosts[i])) continue
      sum += weights[i]
      this.#record[i] += weights[i]
    }
    this.#record[best] -= sum
    return hosts[best]
  }

  /** Place in `hosts`, or -1. */
  #furthestBehind(usable: (host: number) => boolean): number {
    const { hosts, weights } = this
    let best = -1
    let most = 0
    for (let i = 0; i < hosts.length; i++) {
      if (!usable(hosts[i])) continue
      const record = this.#record[i] + weights[i]
      if (best >= 0 && record <= most) continue
      best = i
      most = record
    }
    return best
  }

  /** Takes a token; 0: no usable host has one. */
  byToken(usable: (host: number) => boolean): number {
    const best = this.#nextToken(usable)
    if (best < 0) return 0
    this.tokens[best]--
    this.#left--
    this.#cursor = best + 1
    return this.hosts[best]
  }

  /** Place in `hosts`, or -1. */
  #nextToken(usable: (host: number) => boolean): number {
    const { hosts, tokens } = this
    const first = this.#strategy === 'round-robin' ? this.#cursor : 0
    let best = -1
    for (let step = 0; step < hosts.length; step++) {
      const i = (first + step) % hosts.length
      if (tokens[i] === 0 || !usable(hosts[i])) continue
      if (best < 0 || tokens[i] > tokens[best]) best = i
      if (this.#strategy !== 'most-tokens-first') break
    }
    return best
  }

  /** What `byRecord` or `byToken` would answer now; nothing is used up. Of the scheme `hash`: 0. */
  peek(usable: (host: number) => boolean): number {
    const best =
      this.scheme === 'percentages'
        ? this.#furthestBehind(usable)
        : this.scheme === 'tokens'
          ? this.#nextToken(usable)
          : -1
    return best < 0 ? 0 : this.hosts[best]
  }
}
