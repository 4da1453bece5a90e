/** The part of the control API that speaks of health and load (R-B1, R-B3, R-F4). */
import type { DirectiveCause, DirectiveState, Health, ServerState, WaitingWhy } from '../health/types.ts'

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
  /** Null when target and current state agree. */
  waiting: { sinceMs: number; units: WaitingUnit[] } | null
}

/** One host in a unit's consolidated cache (figure 13B). */
export interface CachedTable {
  host: string
  /** Of its table, as held and as followed by the packets; `null`: none. */
  generation: number | null
  inForce: number | null
  /** Until the lease on the rows is over; 0: it is. `null`: its agent is too old to have any, and is chosen by capacity. */
  leaseMs: number | null
  rows: EndpointRow[]
}

export interface ShareRow {
  service: string
  scheme: string
  /** All that is left is unhealthy: used all the same. */
  panic: boolean
  /** All that is left has more to do than it can: used by capacity alone. */
  overload: boolean
  hosts: { host: string; percent: number }[]
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
export interface AppsData {
  server: ServerState | null
  listeners: ListenerRow[]
  processes: ProcessRow[]
}
