/**
 * The health and load handler's answers to classifiers (R-B10, figure 18): allotments of the services' endpoints, made of the rows
 * in force. Pure; what it is told is the truth until it is told otherwise.
 */
import type { Candidate, Share, Shares } from './shares.ts'
import { sharesOf } from './shares.ts'
import { type HostState, statesOf } from './states.ts'
import { divideTokens, MAX_TOKENS, MIN_TOKENS, TokenTotal } from './tokens.ts'

export type Scheme = 'hash' | 'percentages' | 'tokens'
export type Strategy = 'round-robin' | 'linear' | 'most-tokens-first'

/** How new connections of a service are spread. */
export interface ServiceChoice {
  readonly scheme: Scheme
  readonly strategy: Strategy
  /** How many to deal out at a time; undefined: as many as last for `duration`. */
  readonly tokens: number | undefined
  /** How long an allotment is valid (ms). */
  readonly duration: number
  readonly slowStartMs: number
  /** Load (percent) from which clients leave a host that they have a session with (R-C7); undefined: none. */
  readonly fullAt?: number | undefined
}

export interface Allotment {
  /** Counts up; those of one service differ. */
  readonly number: number
  readonly scheme: Scheme
  readonly strategy: Strategy
  /** None: no host takes new connections. */
  readonly shares: readonly (Share & { readonly tokens: number })[]
  /** Monotonic ms. */
  readonly untilMs: number
  readonly panic: boolean
  readonly overload: boolean
  /** All hosts that have a row. */
  readonly states: readonly HostState[]
}

/** Shares that differ by less are the same: one percent point. */
const NOTICEABLE = 0.01
/** How often shares are looked at while a host is in its slow start (ms). */
const SLOW_START_STEP_MS = 250

interface Service {
  choice: ServiceChoice
  candidates: readonly Candidate[]
  total: TokenTotal
  last: Allotment | null
  wakeAtMs: number
}

export class Handler {
  readonly counters = { allotments: 0, allotment_panic: 0, allotment_wanted: 0 }
  readonly #services = new Map<string, Service>()
  /** By host, monotonic ms: renewed much more often than anything else changes. */
  readonly #leases = new Map<string, number>()
  #number = 0

  /** The services from now on. Those that are new have no candidates. */
  configure(services: ReadonlyMap<string, ServiceChoice>): void {
    for (const name of this.#services.keys()) if (!services.has(name)) this.#services.delete(name)
    for (const [name, choice] of services) {
      const known = this.#services.get(name)
      if (known === undefined) {
        this.#services.set(name, {
          choice,
          candidates: [],
          total: new TokenTotal(),
          last: null,
          wakeAtMs: Number.POSITIVE_INFINITY,
        })
      } else if (!sameChoice(known.choice, choice)) {
        known.choice = choice
        known.last = null
      }
    }
  }

  /** What was given out is not known to be in force: everything is given anew at the next occasion. */
  forget(): void {
    for (const service of this.#services.values()) service.last = null
  }

  /**
   * The rows of a service, as they are to be in force. Answers the allotment that must come into force with them; null: nothing that
   * a classifier would notice has changed, or there is no such service.
   */
  offer(service: string, candidates: readonly Candidate[], nowMs: number): Allotment | null {
    const known = this.#services.get(service)
    if (known === undefined) return null
    known.candidates = candidates
    for (const { host, leaseUntilMs } of candidates) this.#setLease(host, leaseUntilMs)
    return this.#renew(known, nowMs)
  }

  /** A host's lease, of all its rows. Answers what changes by that: only a lease that had been over, or is now, changes anything. */
  lease(host: string, untilMs: number, nowMs: number): Map<string, Allotment> {
    const was = this.#leases.get(host) ?? 0
    this.#setLease(host, untilMs)
    if (was > nowMs === untilMs > nowMs) return new Map()
    return this.#renewAll(({ candidates }) => candidates.some(candidate => candidate.host === host), nowMs)
  }

  #setLease(host: string, untilMs: number): void {
    if (untilMs > 0) this.#leases.set(host, untilMs)
    else this.#leases.delete(host)
  }

  /** A classifier asks (message 1802 of figure 18); null: there is no such service. `tokens`: as many as it would like. */
  request(service: string, nowMs: number, tokens?: number): Allotment | null {
    const known = this.#services.get(service)
    if (known === undefined) return null
    this.counters.allotment_wanted++
    return this.#allot(known, this.#sharesOf(known, nowMs), nowMs, { tokens })
  }

  /** What has changed with time alone: leases that are over, slow starts. */
  tick(nowMs: number): Map<string, Allotment> {
    return this.#renewAll(({ wakeAtMs }) => wakeAtMs <= nowMs, nowMs)
  }

  #renewAll(which: (service: Service) => boolean, nowMs: number): Map<string, Allotment> {
    const changed = new Map<string, Allotment>()
    for (const [name, service] of this.#services) {
      if (!which(service)) continue
      const allotment = this.#renew(service, nowMs)
      if (allotment !== null) changed.set(name, allotment)
    }
    return changed
  }

  /** When to tick at the latest; infinite when nothing is due. */
  get wakeAtMs(): number {
    let wakeAtMs = Number.POSITIVE_INFINITY
    for (const service of this.#services.values()) wakeAtMs = Math.min(wakeAtMs, service.wakeAtMs)
    return wakeAtMs
  }

  /** The last one of each service; null: there was none. */
  allotments(): Map<string, Allotment | null> {
    return new Map([...this.#services].map(([name, { last }]) => [name, last]))
  }

  /** Hosts of a service whose slow start goes on, next to others that get connections too, and how long it still lasts (ms). */
  slowStarts(service: string, nowMs: number): Map<string, number> {
    const { last, choice, candidates } = this.#services.get(service) ?? { last: null, candidates: [] }
    const shares = last?.shares ?? []
    if (choice === undefined || shares.length < 2) return new Map()
    const slow = candidates
      .filter(({ host }) => shares.some(share => share.host === host))
      .filter(({ upSinceMs }) => isStarting(upSinceMs, choice.slowStartMs, nowMs))
    return new Map(slow.map(({ host, upSinceMs }) => [host, upSinceMs + choice.slowStartMs - nowMs]))
  }

  #sharesOf({ candidates, choice }: Service, nowMs: number): Shares {
    const leased = candidates.map(candidate => ({
      ...candidate,
      leaseUntilMs: this.#leases.get(candidate.host) ?? 0,
    }))
    return sharesOf(leased, choice, nowMs)
  }

  #renew(service: Service, nowMs: number): Allotment | null {
    const shares = this.#sharesOf(service, nowMs)
    const states = statesOf(service.candidates, shares.shares, service.choice.fullAt)
    service.wakeAtMs = wakeAt(service, shares.shares, nowMs)
    const { last } = service
    if (
      last !== null &&
      sameMode(last, shares) &&
      sameShares(last, shares) &&
      sameStates(last.states, states)
    )
      return null
    return this.#allot(service, shares, nowMs)
  }

  #allot(
    service: Service,
    { shares, panic, overload }: Shares,
    nowMs: number,
    request?: { tokens: number | undefined },
  ): Allotment {
    const { choice, total, candidates } = service
    const { scheme, strategy, duration } = choice
    const asked = request?.tokens ?? choice.tokens
    const tokens =
      scheme !== 'tokens'
        ? shares.map(() => 0)
        : divideTokens(
            asked === undefined
              ? total.next(request !== undefined, nowMs, duration)
              : Math.min(MAX_TOKENS, Math.max(MIN_TOKENS, asked)),
            shares,
          )
    this.#number++
    this.counters.allotments++
    if (panic) this.counters.allotment_panic++
    service.wakeAtMs = wakeAt(service, shares, nowMs)
    service.last = {
      number: this.#number,
      scheme,
      strategy,
      shares: shares.map((share, i) => ({ ...share, tokens: tokens[i] })),
      untilMs: nowMs + duration,
      panic,
      overload,
      states: statesOf(candidates, shares, choice.fullAt),
    }
    return service.last
  }
}

const sameChoice = (a: ServiceChoice, b: ServiceChoice): boolean =>
  a.scheme === b.scheme &&
  a.strategy === b.strategy &&
  a.tokens === b.tokens &&
  a.duration === b.duration &&
  a.slowStartMs === b.slowStartMs &&
  a.fullAt === b.fullAt

const sameMode = (a: Allotment, b: Shares): boolean => a.panic === b.panic && a.overload === b.overload

const sum = (shares: readonly Share[]): number => shares.reduce((all, { weight }) => all + weight, 0)

const sameShares = (a: Allotment, b: Shares): boolean => {
  if (a.shares.length !== b.shares.length) return false
  const before = new Map(a.shares.map(share => [share.host, share.weight]))
  const [sumBefore, sumNow] = [sum(a.shares), sum(b.shares)]
  return b.shares.every(({ host, weight }) => {
    const was = before.get(host)
    return was !== undefined && Math.abs(was / sumBefore - weight / sumNow) < NOTICEABLE
  })
}

const sameStates = (a: readonly HostState[], b: readonly HostState[]): boolean => {
  if (a.length !== b.length) return false
  const before = new Map(a.map(each => [each.host, each]))
  return b.every(
    ({ host, state, full }) => before.get(host)?.state === state && before.get(host)?.full === full,
  )
}

const isStarting = (sinceMs: number, slowStartMs: number, nowMs: number): boolean =>
  sinceMs <= nowMs && nowMs < sinceMs + slowStartMs

/** When a lease ends, or a slow start has gone on. */
const wakeAt = ({ choice, candidates }: Service, shares: readonly Share[], nowMs: number): number => {
  let wakeAtMs = Number.POSITIVE_INFINITY
  for (const { leaseUntilMs } of shares) wakeAtMs = Math.min(wakeAtMs, leaseUntilMs)
  const isSlow = candidates.some(({ upSinceMs }) => isStarting(upSinceMs, choice.slowStartMs, nowMs))
  return isSlow && shares.length > 1 ? Math.min(wakeAtMs, nowMs + SLOW_START_STEP_MS) : wakeAtMs
}
