/** Health and load: what rows, directives and the messages about them are (R-B1, R-B5, figures 13A, 13B, 15). */

export type Health = 'healthy' | 'failing' | 'unknown'
/** active: new connections welcome; draining: those that exist go on, no new ones; inactive: no packets at all (R-B1). */
export type DirectiveState = 'active' | 'draining' | 'inactive'
/** What a failing application asks for: that it gets nothing new, or not one packet. */
export type WhenFailing = Exclude<DirectiveState, 'active'>
/** Why the target is what it is. */
export type DirectiveCause = 'default' | 'health' | 'overload' | 'order' | 'stopping'

/**
 * Why a directive waits for a unit. no answer yet: its answer is not overdue; silent: it is, or the unit cannot be asked; differs: it has
 * other rows; not in force: it has the rows and does not follow them yet.
 */
export const WAITING_WHY = ['no answer yet', 'silent', 'differs', 'not in force'] as const
export type WaitingWhy = (typeof WAITING_WHY)[number]

/** Application identifier: an endpoint of a service on one host (figure 13A, column 1302A). */
export interface AppId {
  /** Addresses as text. */
  readonly vip: string
  readonly port: number
  readonly physical: string
  readonly physicalPort: number
  readonly protocol: 'tcp' | 'udp'
  /** Protocol-specific part, such as a URL pattern; empty: none. At most 200 bytes. */
  readonly specific: string
}

/** Application status characterization (figure 13A, column 1302B). */
export interface AppStatus {
  readonly health: Health
  /** Percentage of the capacity, 0 to 255; 100 is full. */
  readonly load: number
  /** Unit-less, 0 to 99; compares applications of one type only. */
  readonly capacity: number
}

/** Load balancer directive (figure 13A, column 1302C). */
export interface Directive {
  readonly target: DirectiveState
  readonly current: DirectiveState
  readonly cause: DirectiveCause
}

/** A row of a health and load table. */
export interface Row extends AppStatus, Directive {
  /** Compact number (u32) that stands for the application identifier in this table. */
  readonly id: number
  readonly app: AppId
}
/** The parts of a row that change while the application runs. */
export type RowState = Omit<Row, 'app'>

export type RowOperation =
  | { readonly operation: 'add'; readonly row: Row }
  | { readonly operation: 'update'; readonly row: RowState }
  | { readonly operation: 'delete'; readonly id: number }

/** Which state of which table: `instance` (u32) is random for each start of a table, `generation` (u32) counts its states from 1. */
export interface TableVersion {
  readonly instance: number
  readonly generation: number
}

export const TOKEN_BYTES = 8
export const CHUNKS = 16

/** One host's heartbeat as it is or in a consolidated one. */
export interface HeartbeatEntry {
  /** Host number (host-number.ts). */
  readonly host: number
  /** u32: counts the host's beats. */
  readonly beat: number
  /** Error-checking data: the token of this beat, 8 bytes in lowercase hexadecimal (chain.ts). */
  readonly token: string
  /** The host has just come (set by it, or by its leader). */
  readonly hello: boolean
  /** To be passed on to the units even when the leader passes on changes only. */
  readonly forward: boolean
  /** Every so many beats: where the host is reached; empty: not said this time. At most 253 bytes. */
  readonly dnsName: string
}

export type HealthMessage =
  /** R-B5 heartbeat: of the sender alone, or consolidated by the leader of a group. */
  | {
      readonly type: 'heartbeat'
      /** 0: the sender's own; else the leader's generation (u32). */
      readonly leader: number
      readonly entries: readonly HeartbeatEntry[]
      /** Members that the leader no longer hears. */
      readonly gone: readonly number[]
    }
  /** The sender stops in order. */
  | { readonly type: 'goodbye'; readonly host: number; readonly reason: string }
  /** `version` is the table after the operations; they apply to the one before it. `anchor`: token_0 of its chain, hexadecimal. */
  | {
      readonly type: 'row-change'
      readonly host: number
      readonly version: TableVersion
      readonly anchor: string
      /** Beat of the anchor: the token of beat b is the chain's number b - anchorBeat. */
      readonly anchorBeat: number
      readonly operations: readonly RowOperation[]
    }
  /** `request` (u32) comes back in the answer. `chunks`: the asker's digests (CHUNKS of them), or none: send all. */
  | {
      readonly type: 'get-snapshot'
      readonly host: number
      readonly request: number
      readonly chunks: readonly number[]
    }
  | {
      readonly type: 'send-snapshot'
      readonly host: number
      readonly request: number
      readonly version: TableVersion
      readonly anchor: string
      readonly anchorBeat: number
      /** The first beat not before the moment of answering, and the time between beats (ms). */
      readonly beat: number
      readonly beatMs: number
      readonly leaseBeats: number
      /** Only the chunks that differ, whole; a chunk that has no rows any more is there without rows. */
      readonly chunks: readonly { readonly index: number; readonly rows: readonly Row[] }[]
    }
  | {
      readonly type: 'postulate'
      readonly host: number
      readonly version: TableVersion
      /** Number of this question (u32). */
      readonly postulate: number
      readonly states: readonly { readonly id: number; readonly state: DirectiveState }[]
    }
  /** The answerer's cache differs; `differs`: ids of those rows, empty when it has no such table. */
  | {
      readonly type: 'postulate-wrong'
      readonly host: number
      readonly postulate: number
      readonly differs: readonly number[]
    }
  /** Ours (R-B6, silence is not consent): the answerer holds that, and all that it does follows it. */
  | { readonly type: 'postulate-right'; readonly host: number; readonly postulate: number }
  /** Ours: the sender leads its group (R-B7). `generation` u32, higher wins; equal: the smaller host number. */
  | { readonly type: 'claim'; readonly host: number; readonly group: number; readonly generation: number }
  /** Ours: the server state table's row of the sender (R-F4). */
  | { readonly type: 'server-state'; readonly host: number; readonly state: ServerState }

/** R-F4, figure of document 004: what a server has and has left. */
export interface ServerState {
  /** Established TCP connections. */
  readonly connections: number
  /** Hundredths of the CPU time that this node may use. */
  readonly cpuPercent: number
  readonly memoryBytes: number
  readonly memoryFreeBytes: number
  /** Bits a second; free is 0 when the links' speed is not known. */
  readonly bandwidthBits: number
  readonly bandwidthFreeBits: number
}

export const BEAT_MS = 1000
export const LEASE_BEATS = 3
/** What clocks and timers may be off by within one lease. */
export const MARGIN_MS = 500
export const POSTULATE_DELAY_MS = 100
export const POSTULATE_AGAIN_MS = 250
/** A unit that was first asked so long ago, and has said nothing, is silent: four questions, and far more than a row needs to come into force. */
export const ANSWER_OVERDUE_MS = 1000
/** Groups with more hosts than this elect a leader; smaller clusters send heartbeats to the units themselves. */
export const DIRECT_HOSTS = 3
export const GROUP_SIZE = 32

/** Caps, so that no peer can fill memory (counted drops beyond). */
export const MAX_ROWS = 4096
export const MAX_OPERATIONS = 1024
export const MAX_ENTRIES = 1024
