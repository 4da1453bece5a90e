/** The part of the control API that speaks of health and load (R-B1, R-B3, R-F4). */
import type {
  DirectiveCause,
  DirectiveState,
  Health,
  ServerState,
  WaitingWhy,
  WhenFailing,
} from '../health/types.ts'

/** A row of a host's health and load table (figure 13A), as the host itself or a unit's cache has it. */
export interface EndpointRow {
  host: string
  /** Null when the document in force has no such service. */
  service: string | null
  /** `address:port` */
  vip: string
  protocol: string
  /** Where the application listens: `address:port`. */
  physical: string
  health: Health
  /** Percent of the capacity. */
  load: number
  capacity: number
  target: DirectiveState
  current: DirectiveState
  cause: DirectiveCause
}

/** A directive that not every unit follows yet. */
export interface WaitingUnit {
  unit: string
  why: WaitingWhy
}

export interface OwnRow extends EndpointRow {
  /** What the health rests on, a sentence; empty: nothing but that it listens. */
  why: string
  /** What it derives to when it fails. An agent of an earlier version does not say: inactive. */
  whenFailing: WhenFailing
  /** Null when target and current state agree. `atMostMs`: from now; so long at most a unit that stays silent is waited for. */
  waiting: { sinceMs: number; atMostMs: number; units: WaitingUnit[] } | null
}

/** One host in a unit's consolidated cache (figure 13B). */
export interface CachedTable {
  host: string
  /** Of its table, as held and as followed by the packets; `null`: none. */
  generation: number | null
  inForce: number | null
  /** Until the lease on the rows is over; 0: it is. `null`: its agent is too old to have any, and is chosen by capacity. */
  leaseMs: number | null
  /** The leader that passes its heartbeats on to this node; `null`: it sends them itself. */
  via: string | null
  rows: EndpointRow[]
}

/** Hosts that have their heartbeats passed on by one of them (R-B7). */
export interface GroupData {
  index: number
  members: string[]
  /** `null`: they are electing one, and send their heartbeats themselves meanwhile. */
  leader: string | null
  /** Counts the leaders of the group. */
  generation: number
  /** How long the leader has been the one it is. */
  sinceMs: number
}

export interface HostShare {
  host: string
  percent: number
  /** How long its slow start still lasts; 0: it has its full share. An agent of an earlier version does not say. */
  slowStartMs: number
}

export interface ShareRow {
  service: string
  scheme: string
  /** All that is left is unhealthy: used all the same. */
  panic: boolean
  /** All that is left has more to do than it can: used by capacity alone. */
  overload: boolean
  hosts: HostShare[]
}

/** An endpoint that the document asks for and that no application serves, though its host's agent lives. */
export interface AbsentRow {
  host: string
  service: string
  /** `address:port` */
  vip: string
  protocol: string
  capacity: number
  /** The operator's order for it; `null`: none, so that somebody misses it. */
  order: 'draining' | 'inactive' | null
}

export interface HealthData {
  /** The group of this node; `null` where it is no host, or where hosts are so few that they have no leaders. */
  group: GroupData | null
  /** This node's own table; `null` where it is no host. */
  own: { generation: number; group: number | null; leader: string | null; rows: OwnRow[] } | null
  /** This node's cache and what it makes of it; `null` where it is no load balancing unit. */
  cache: CachedTable[] | null
  shares: ShareRow[] | null
  /** Of all hosts whose rows are known here. */
  absent: AbsentRow[]
  servers: ({ host: string } & ServerState)[]
}

export interface ListenerRow {
  protocol: string
  /** `address:port` */
  address: string
  /** Services of the cluster that it serves here. */
  services: string[]
  /** A container's; empty: the host's own. */
  namespace: string
  /** Connections that wait to be accepted, and how many may. */
  queue: number
  backlog: number
  pid: number | null
  process: string
}
export interface ProcessRow {
  pid: number
  name: string
  /** systemd unit; empty: none. */
  unit: string
  memoryBytes: number
  /** Percent of one CPU. */
  cpuPercent: number
  connections: number
}
/** What a host has of one of its services now. */
export interface ServiceConnections {
  service: string
  protocol: string
  /** Open TCP connections to the VIP; `null` where the kernel of the host does not tell: UDP, and applications in containers. */
  connections: number | null
}
export interface AppsData {
  server: ServerState | null
  /** Counted for this answer. */
  services: ServiceConnections[]
  listeners: ListenerRow[]
  processes: ProcessRow[]
}
