/**
 * How often a node with many peers sends heartbeats (R-B7: control traffic stays small as hosts grow). With up to PACE.peers peers
 * nothing stretches. Above that the interval grows with their number, so that one node sends at most PACE.peers heartbeats an
 * interval of a small cluster (200 a second), whatever the size of the cluster. A heartbeat says how long the next one may take,
 * and the silence after which its sender is dead follows from that: the two sides need not count the same members.
 */

export interface Pace {
  /** So many peers are served at the shortest interval. */
  peers: number
  /** Stretched intervals are multiples of this (ms): one wake-up serves several peers, and yet they are spread. */
  gridMs: number
  /** The longest interval that is used, and believed (ms); reached at 6,000 peers with heartbeats of 250 ms. */
  mostMs: number
}

export const PACE: Readonly<Pace> = { peers: 50, gridMs: 50, mostMs: 30_000 }

/** The interval between two heartbeats to one peer (ms): `leastMs` up to PACE.peers peers, then in proportion to them. */
export const intervalOf = (peers: number, leastMs: number, pace: Pace = PACE): number => {
  if (peers <= pace.peers) return leastMs
  const stretchedMs = (leastMs * peers) / pace.peers
  return Math.min(pace.mostMs, Math.ceil(stretchedMs / pace.gridMs) * pace.gridMs)
}

/** An interval that a peer told: what cannot be meant is put within bounds, so that a liar cannot make its link eternal. */
export const believed = (toldMs: number, leastMs: number, pace: Pace = PACE): number =>
  Math.min(Math.max(toldMs, leastMs), pace.mostMs)

/** Silence after which a peer with this interval is dead: `deadAfterMs` at `leastMs`, and by what two heartbeats take longer. */
export const silenceOf = (intervalMs: number, leastMs: number, deadAfterMs: number): number =>
  deadAfterMs + 2 * (intervalMs - leastMs)

/**
 * When the next heartbeat goes, later than now by at most `intervalMs`. `formerMs` is the interval before (0: this is the first one);
 * where it has grown, `jitter` in [0, 1) spreads the peers over what it grew by, else all would be due at one moment for ever.
 */
export const nextBeatMs = (
  nowMs: number,
  intervalMs: number,
  formerMs: number,
  jitter: number,
  leastMs: number,
): number => {
  const fromMs = Math.min(formerMs, intervalMs)
  return onGrid(nowMs + Math.max(leastMs, fromMs + jitter * (intervalMs - fromMs)), intervalMs, leastMs)
}

/** The time within which every peer hears what is new (ms): `leastMs`, or a fifth of a longer interval; a second with 1,000 peers. */
export const newsWithinMs = (intervalMs: number, leastMs: number): number => Math.max(leastMs, intervalMs / 5)

/** When a heartbeat goes that has something new to say: within newsWithinMs, spread over it. */
export const newsAtMs = (nowMs: number, intervalMs: number, jitter: number, leastMs: number): number =>
  onGrid(nowMs + leastMs + jitter * (newsWithinMs(intervalMs, leastMs) - leastMs), intervalMs, leastMs)

const onGrid = (atMs: number, intervalMs: number, leastMs: number): number => {
  const gridMs = intervalMs <= leastMs ? leastMs : PACE.gridMs
  return Math.floor(atMs / gridMs) * gridMs
}
