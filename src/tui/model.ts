/** What `shunt top` knows and shows, as plain values. */
import type {
  AtomsData,
  EventRow,
  EventsData,
  FlowsData,
  HealthData,
  HostsData,
  NodesData,
  StatusData,
  VipsData,
} from '../control/types.ts'
import type { ActionOverlay } from './actions.ts'
import type { History } from './history.ts'

export type ScreenId = 'nodes' | 'services' | 'hosts' | 'flows' | 'events' | 'health' | 'atoms'

/** One look at an agent. */
export interface Look {
  /** Monotonic. */
  atMs: number
  /** Of the agent, ISO 8601, UTC. */
  time: string
  status: StatusData
  nodes: NodesData
  vips: VipsData
  hosts: HostsData
  /** `null` from an agent of an earlier version. */
  health: HealthData | null
  /** The same. */
  atoms: AtomsData | null
  /** `null` when they were not asked for: only the screen of flows needs them. */
  flows: FlowsData | null
  /** Query that the flows answer, '' for none. */
  flowsFor: string
  events: EventsData
}

export interface Snapshot extends Omit<Look, 'atMs' | 'events'> {
  /** Oldest first, at most MAX_EVENTS. */
  events: readonly EventRow[]
  lastEvent: number
}

/** Of one service or host only. */
export interface Scope {
  service?: string
  host?: string
}

export interface ListState {
  /** Key of the chosen row; `null` stays with the first one. */
  key: string | null
  index: number
  /** Index of the first row in the window. */
  top: number
  /** Id of a column. */
  sort: string
  reverse: boolean
  filter: string
}

export type Place =
  | { kind: 'table'; screen: ScreenId; scope: Scope; list: ListState }
  | { kind: 'details'; screen: ScreenId; key: string; top: number }

export type Overlay = { kind: 'help'; top: number } | { kind: 'filter'; before: string } | ActionOverlay

export interface Settings {
  intervalMs: number
  readOnly: boolean
  /** Bars and arrows beyond ASCII. */
  unicode: boolean
  socket: string
  /** Another node, which is asked through the agent of the socket. */
  node?: string
  /** Options that commands started from here need to reach the same agent. */
  commandOptions: readonly string[]
}

export interface State {
  settings: Settings
  rows: number
  columns: number
  /** `null` before the first look. */
  snapshot: Snapshot | null
  history: History
  /** Why the agent could not be asked, while that lasts. */
  away: string | null
  paused: boolean
  /** The last one is shown; Esc goes back. Never empty. */
  places: readonly Place[]
  /** Where each screen's table was left. */
  lists: Readonly<Record<ScreenId, ListState>>
  overlay: Overlay | null
  /** A remark in the last line, until the next key. */
  message: string
}

export interface CommandResult {
  /** `null` when a signal ended it. */
  code: number | null
  lines: readonly string[]
}

export type UiEvent =
  | { on: 'key'; key: string }
  | { on: 'size'; rows: number; columns: number }
  | { on: 'look'; look: Look }
  | { on: 'away'; why: string }
  | { on: 'ended'; result: CommandResult }

export type Effect = { do: 'quit'; code: number } | { do: 'look' } | { do: 'run'; args: readonly string[] }

export interface Step {
  state: State
  effects: readonly Effect[]
}
