/** What this node holds of one peer: who it is, the state of its link, and what it said last. */
import type { PeerConfig } from '../config/schema.ts'
import { type Knowledge, PACE_VERSION } from './frame-format.ts'
import type { Link } from './link.ts'
import { LIVENESS, type Liveness, type PeerStatus, startLiveness } from './liveness.ts'
import { intervalOf, type Pace } from './pace.ts'

export interface PeerState {
  name: string
  /** Peer id, 12D3KooW… */
  id: string
  /** As configured, or by signed membership. */
  roles: string[]
  address: string
  state: PeerStatus
  /** It serves what it has and wants nothing new, or has said goodbye. */
  draining: boolean
  /** Time since a frame of it was read (ms), or null if none ever was. */
  lastHeardMs: number | null
  /** The latest round trip between the two agents (ms), or null. */
  rttMs: number | null
  /** As it said when its link began, or null if it has not yet. */
  epoch: number | null
  /** Link version agreed on, or null while the peer is not alive. */
  version: number | null
  /** What it said last of its ledger and of the cluster document in force there; null if this link has not carried it. */
  digest: bigint | null
  revision: number | null
}

export interface Peer {
  /** Replaced as a whole; `id` never changes. */
  config: PeerConfig
  live: Liveness
  link: Link | undefined
  epoch: number | null
  version: number | null
  knowledge: Knowledge | null
  rttMs: number | null
  /** The heartbeat whose echo is awaited. */
  probe: { sequence: number; atMs: number } | undefined
  /** Ends the dial under way. */
  dialing: AbortController | undefined
  /** Failed dials in a row: each takes the next network key, since a peer that was away may know only an older one. */
  dialFailures: number
  /** The complaint that was logged last, so that each is logged once and not at every try. */
  complaint: string | undefined
}

export const newPeer = (config: PeerConfig, dials: boolean, nowMs: number): Peer => ({
  config,
  live: startLiveness(dials, nowMs),
  link: undefined,
  epoch: null,
  version: null,
  knowledge: null,
  rttMs: null,
  probe: undefined,
  dialing: undefined,
  dialFailures: 0,
  complaint: undefined,
})

export const stateOf = (
  { config, live, rttMs, epoch, version, knowledge }: Peer,
  nowMs: number,
): PeerState => ({
  name: config.name,
  id: config.id,
  roles: [...config.roles],
  address: config.address,
  state: live.status,
  draining: live.draining,
  lastHeardMs: live.heardAtMs === null ? null : Math.max(0, Math.round(nowMs - live.heardAtMs)),
  rttMs: rttMs === null ? null : Math.round(rttMs * 1000) / 1000,
  epoch,
  version: live.status === 'alive' ? version : null,
  digest: knowledge?.digest ?? null,
  revision: knowledge?.revision ?? null,
})

/** As it shows once its link has ended. */
export const deadOf = (state: PeerState): PeerState => ({
  ...state,
  state: 'dead',
  rttMs: null,
  version: null,
})

/** Between two heartbeats to this one of so many peers (ms). One of an older version takes a late heartbeat for a death. */
export const intervalTo = ({ version }: Peer, peers: number, pace: Pace | undefined): number =>
  (version ?? 0) < PACE_VERSION ? LIVENESS.heartbeatMs : intervalOf(peers, LIVENESS.heartbeatMs, pace)
