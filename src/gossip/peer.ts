/** What this node holds of one peer: its configuration, the state of its link, and what it said last. */
import type { PeerConfig } from '../config/schema.ts'
import type { Link } from './link.ts'
import { type Liveness, type PeerStatus, startLiveness } from './liveness.ts'

export interface PeerState {
  name: string
  /** Peer id, 12D3KooW… */
  id: string
  /** As configured; a peer that says otherwise is refused. */
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
}

export interface Peer {
  readonly config: PeerConfig
  live: Liveness
  link: Link | undefined
  epoch: number | null
  rttMs: number | null
  /** The heartbeat whose echo is awaited. */
  probe: { sequence: number; atMs: number } | undefined
  /** The complaint that was logged last, so that each is logged once and not at every try. */
  complaint: string | undefined
}

export const newPeer = (config: PeerConfig, dials: boolean, nowMs: number): Peer => ({
  config,
  live: startLiveness(dials, nowMs),
  link: undefined,
  epoch: null,
  rttMs: null,
  probe: undefined,
  complaint: undefined,
})

export const stateOf = ({ config, live, rttMs, epoch }: Peer, nowMs: number): PeerState => ({
  name: config.name,
  id: config.id,
  roles: [...config.roles],
  address: config.address,
  state: live.status,
  draining: live.draining,
  lastHeardMs: live.heardAtMs === null ? null : Math.max(0, Math.round(nowMs - live.heardAtMs)),
  rttMs: rttMs === null ? null : Math.round(rttMs * 1000) / 1000,
  epoch,
})
