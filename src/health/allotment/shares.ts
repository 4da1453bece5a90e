/** Who gets new connections of a service, and in which proportions: by available relative capacity (R-B10, figure 18). Pure. */
import type { Row } from '../types.ts'

/** A row of the consolidated cache that could take connections of a service. */
export interface Candidate {
  readonly host: string
  readonly row: Row
  /** Monotonic ms; 0: there was none. */
  readonly leaseUntilMs: number
  /** Machine and agent, as this unit sees them. */
  readonly alive: boolean
  /** Since when healthy and active without a break (monotonic ms). */
  readonly upSinceMs: number
}

export interface Share {
  readonly host: string
  /** Above 0; means something only next to the others of the same answer. */
  readonly weight: number
  readonly leaseUntilMs: number
}

export interface Shares {
  readonly shares: Share[]
  /** All are unhealthy: better an unhealthy host than none. */
  readonly panic: boolean
  /** All have more to do than they can: shares by capacity, whatever their loads. */
  readonly overload: boolean
}

/** What a host gets at the beginning of its slow start. */
const SLOW_START_FROM = 0.1
const FULL_LOAD = 100

/** Capacity that is left of a row; never nothing, so that a full host is found again when its load falls. */
export const availableCapacity = ({ capacity, load }: Row): number =>
  (capacity * Math.max(1, FULL_LOAD - load)) / FULL_LOAD

/** The row is for new connections: healthy as far as anybody knows, and wanted by the host in its last and its next state. */
export const isUp = ({ health, target, current }: Row): boolean =>
  health !== 'failing' && target === 'active' && current === 'active'

const slowStart = (sinceMs: number, slowStartMs: number, nowMs: number): number =>
  slowStartMs <= 0
    ? 1
    : SLOW_START_FROM + (1 - SLOW_START_FROM) * Math.min(1, Math.max(0, (nowMs - sinceMs) / slowStartMs))

const toShares = (candidates: readonly Candidate[], weight: (candidate: Candidate) => number): Share[] => {
  const shares = new Map<string, Share>()
  for (const candidate of candidates) {
    const { host, leaseUntilMs } = candidate
    shares.set(host, { host, leaseUntilMs, weight: (shares.get(host)?.weight ?? 0) + weight(candidate) })
  }
  return [...shares.values()]
}

/**
 * Shares of the candidates that may take new connections now. Rows whose lease is over, and rows that an operator or a stopping
 * agent drained, get none, whatever happens. When no other is left, rows that drain only because they are overloaded are used by
 * capacity, and after them those whose only fault is their health.
 *
 * A slow start goes on when all are full: a host that is full so soon has not warmed up, and its share would leap to all of it at the
 * very moment at which it cannot take more. Rows that only drain for overload, or fail, have no slow start: none of them is new.
 * @param options.slowStartMs how long a host takes from 10 % to 100 % of its share; 0: none
 */
export const sharesOf = (
  candidates: readonly Candidate[],
  options: { readonly slowStartMs: number },
  nowMs: number,
): Shares => {
  const usable = candidates.filter(
    ({ alive, leaseUntilMs, row }) =>
      alive && leaseUntilMs > nowMs && row.capacity > 0 && row.cause !== 'order' && row.cause !== 'stopping',
  )
  const byCapacity = ({ row }: Candidate): number => row.capacity
  const up = usable.filter(({ row }) => isUp(row))
  if (up.length > 0) {
    const overload = up.every(({ row }) => row.load >= FULL_LOAD)
    const shares = toShares(
      up,
      ({ row, upSinceMs }) =>
        (overload ? row.capacity : availableCapacity(row)) * slowStart(upSinceMs, options.slowStartMs, nowMs),
    )
    return { shares, panic: false, overload }
  }
  const overloaded = usable.filter(({ row }) => row.cause === 'overload' && row.health !== 'failing')
  if (overloaded.length > 0) return { shares: toShares(overloaded, byCapacity), panic: false, overload: true }
  const unhealthy = usable.filter(({ row }) => row.cause === 'health')
  return { shares: toShares(unhealthy, byCapacity), panic: unhealthy.length > 0, overload: false }
}
