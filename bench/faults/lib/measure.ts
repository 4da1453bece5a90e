/** What one repetition came to. Pure. */

/** As the traffic program reports a connection: kind (0 idle, 1 active), host, cause of its end (empty: fine), longest wait, and when that began. */
export type FlowLine = readonly [kind: number, host: string, cause: string, waitMs: number, atMs: number]
/** A new connection: when it was begun, how long it took until its message was back, and why it failed (empty: it did not). */
export type ProbeLine = readonly [startMs: number, tookMs: number, cause: string]

export interface TrafficReport {
  readonly nowMs: number
  readonly flows: readonly FlowLine[]
  readonly probes: readonly ProbeLine[]
}

export interface Outcome {
  /** Connections that ended or gave no answer, without those of lost hosts. */
  readonly brokenIdle: number
  readonly brokenActive: number
  /** Of hosts that were lost. */
  readonly own: number
  /** By cause, such as `reset`. */
  readonly causes: Readonly<Record<string, number>>
  /** Longest wait of an active connection for an answer; those of lost hosts are left out. */
  readonly stallMs: number
  /** Active connections that waited a second or more. */
  readonly stalled: number
  /** How long new connections were held up for, and when that began, from the strike on. */
  readonly newHeldMs: number
  readonly newHeldAtMs: number | null
  readonly newFailed: number
  readonly newAll: number
  /** From the strike on: when healing began, when it was done; null where there is nothing to heal. */
  readonly healMs: number | null
  readonly healedMs: number | null
  /** Until each connection could stand another loss; null: not known. */
  readonly redundantMs: number | null
}

/** Times of a repetition, of the clock of its reports. */
export interface Times {
  readonly struckMs: number
  readonly healMs: number | null
  readonly healedMs: number | null
}

export interface Held {
  readonly ms: number
  /** Null: nothing was. */
  readonly fromMs: number | null
}

/** A new connection that takes so long lost a packet on its way: clients repeat a SYN after a second. */
const HELD_UP_MS = 500
/** Trouble that comes again within this time is the same trouble. */
const GAP_MS = 500
const STALLED_MS = 1000

/**
 * The longest time in which new connections failed or were held up, from the begin of the first of them to the begin of the next one that was not.
 * @param probes in any order
 */
export const longestHeld = (probes: readonly ProbeLine[]): Held => {
  let longest: Held = { ms: 0, fromMs: null }
  let since = 0
  let last = Number.NEGATIVE_INFINITY
  let isOver = true
  for (const [startMs, tookMs, cause] of probes.toSorted((a, b) => a[0] - b[0])) {
    const isHeld = cause !== '' || tookMs >= HELD_UP_MS
    if (!isHeld && isOver) continue
    if (isHeld && startMs - last > GAP_MS) since = startMs
    if (isHeld) last = startMs
    isOver = !isHeld
    if (startMs - since > longest.ms) longest = { ms: startMs - since, fromMs: since }
  }
  return longest
}

/** @param lost hosts whose connections cannot live on */
export const outcomeOf = (
  { flows, probes }: TrafficReport,
  lost: readonly string[],
  { struckMs, healMs, healedMs }: Times,
  redundantMs: number | null,
): Outcome => {
  const causes: Record<string, number> = {}
  const broken = [0, 0]
  let own = 0
  const stalls: number[] = []
  for (const [kind, host, cause, waitMs] of flows) {
    const isOwn = lost.includes(host)
    if (cause !== '') {
      if (isOwn) own++
      else {
        broken[kind]!++
        causes[cause] = (causes[cause] ?? 0) + 1
      }
    }
    if (kind === 1 && !isOwn) stalls.push(waitMs)
  }
  const held = longestHeld(probes)
  const fromStrike = (ms: number | null): number | null => (ms === null ? null : ms - struckMs)
  return {
    ...{ brokenIdle: broken[0]!, brokenActive: broken[1]!, own, causes },
    stallMs: Math.max(0, ...stalls),
    stalled: stalls.filter(ms => ms >= STALLED_MS).length,
    newHeldMs: held.ms,
    newHeldAtMs: fromStrike(held.fromMs),
    newFailed: probes.filter(([, , cause]) => cause !== '').length,
    newAll: probes.length,
    healMs: fromStrike(healMs),
    healedMs: fromStrike(healedMs),
    redundantMs,
  }
}
