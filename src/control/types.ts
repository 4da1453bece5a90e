/**
 * The control API: what an agent answers on its local socket, in an envelope with a schema version. The CLI and
 * other readers share these types. Additions keep the version; a changed meaning or a removed field raises it.
 */
import type { ErrorCode } from '../errors.ts'
import type { AtomQuery, AtomsData } from './atoms-types.ts'
import type { CaptureData, CaptureQuery } from './capture-types.ts'
import type {
  ClusterData,
  ConfigData,
  ConfigHistoryData,
  ConfigQuery,
  EventRow,
  EventsData,
  EventsQuery,
  NodesData,
  SubmitBody,
  SubmitData,
  TokenRegistration,
} from './cluster-types.ts'
import type { AppsData, GroupData, HealthData } from './health-types.ts'
import type { FlowOrigin, TraceData, TraceQuery } from './trace-types.ts'

export * from './atoms-types.ts'
export * from './capture-types.ts'
export * from './cluster-types.ts'
export * from './health-types.ts'
export * from './trace-types.ts'

export type NodeState = 'alive' | 'dead' | 'connecting'

export interface PeerStatus {
  name: string
  roles: string[]
  address: string
  state: NodeState
  /** `null` when nothing was heard yet. */
  lastHeardMs: number | null
  rttMs: number | null
}

/** A second, over the last five. `bytes`: of IP packets. */
export interface Rates {
  packets: number
  bytes: number
  /** New ones; `null` where the node is no forwarder, and does not know them. */
  connections: number | null
}

/** A table or queue of fixed capacity: flows, embryonic, mappings, identifiers, quarantine, held packets. */
export interface LimitStatus {
  name: string
  used: number
  capacity: number
  /** Entries that a full table gave up since the agent started. */
  evicted: number
}

export interface StatusData {
  node: string
  version: string
  pid: number
  /** Random, new at each start: tells a restarted agent from one that went on. */
  instance: string
  roles: string[]
  state: 'starting' | 'running' | 'draining'
  uptimeMs: number
  /** `nftables`, `nftables: REASON`, or `xdp native on eth0` (and the like). */
  dataplane: string
  /** What was taken over of the agent before, a sentence; `null`: nothing was there. */
  adopted: string | null
  /** Epoch of the flow identifiers; `null` where no identifiers are given out. */
  epoch: number | null
  peers: PeerStatus[]
  /** The group of this node; `null` where it is no host, or where hosts are so few that they have no leaders. */
  group: GroupData | null
  limits: LimitStatus[]
  /** Of all services; `null` until there is something to tell. */
  rates: Rates | null
  counters: Record<string, number>
  memory: { rssBytes: number }
  /** What each function of the node uses (R-A5), since the look before, at least a second ago. */
  functions: FunctionUse[]
  /** What to do about it, a sentence each. */
  advice: string[]
}

/** One number for each function of the data plane. */
export interface WorkerFunctions {
  readonly forwarder: number
  readonly classifier: number
  readonly host: number
}
export interface FunctionUse {
  function: 'forwarder' | 'classifier' | 'host' | 'control'
  /** Percent of one CPU. */
  cpuPercent: number
  memoryBytes: number
  bandwidthBits: number
}

export interface HostStatus {
  name: string
  address: string
  state: NodeState
  services: string[]
  /** Unit-less, 0 to 99 (R-B1): the highest that it has in any service. */
  capacity: number
  /** The same in each of its services. */
  capacities: { service: string; capacity: number }[]
  flows: number
  /** Since its agent started; `null` where the node is no forwarder. */
  connections: number | null
  /** What this node sends there; `null` where it is no forwarder. */
  rates: Rates | null
}
export interface HostsData {
  hosts: HostStatus[]
}

export interface VipStatus {
  service: string
  vip: string
  port: number
  protocol: string
  hosts: number
  /** `arp`: one forwarder holds the VIP; `routed`: a router sends its packets. */
  announce: 'arp' | 'routed'
  /** Forwarder that holds the VIP; `null`: none, not known to this node (it is no forwarder), or not announced by ARP. */
  holder: string | null
  /** An operator wants the VIP there (`shunt failover`): it is not moved to even out shares. */
  ordered: boolean
  /** The holder's agent is not heard: new connections may wait, unless its kernel takes them by itself. */
  unattended: boolean
  /** Nodes that choose hosts for new connections, with an agent that is not known to be away. */
  classifiers: number
  /** Hosts of the service that are alive. */
  live: number
  /** Those that this node may give new connections now; `null` where it is no load balancing unit. */
  ready: number | null
  /** Why hosts that are not well are used all the same: no other is left. `null`: they are not. */
  fallback: 'failing' | 'overload' | null
  /** Clients keep their hosts, for so long (ms) after their last use of a connection; how many sessions this node knows. `null`: they do not. */
  affinity: { prefix: number; prefix6: number; timeoutMs: number; sessions: number } | null
  flows: number
  /** Since its agent started; `null` where the node is no forwarder. */
  connections: number | null
  /** What comes to this node for it; `null` where the node does not count it by service. */
  rates: Rates | null
}
export interface VipsData {
  vips: VipStatus[]
}

export interface FailoverBody {
  vip: string
  /** Name of a forwarder; left out: the one that would take it if its holder died. */
  to?: string | undefined
  /** It stays where it is and no order keeps it there any more; not with `to`. */
  release?: boolean | undefined
}
export interface FailoverData {
  vip: string
  /** Who held it before; `null`: nobody. */
  from: string | null
  to: string
  /** Whether it moved. */
  changed: boolean
  /** Whether it is kept there now. */
  ordered: boolean
  /** From the order until the new holder said that it answers for the VIP. */
  tookMs: number
}

export interface FlowStatus {
  protocol: string
  /** `address:port` */
  client: string
  vip: string
  host: string
  /** Flow identifier, 8 hexadecimal digits. */
  identifier: string
  state: 'embryonic' | 'established' | 'closing'
  /** True when the kernel forwards its packets without the agent. */
  plumbed: boolean
  origin: FlowOrigin
  slowPackets: number
  idleMs: number
}
export interface FlowsData {
  /** Flows that the query matches. */
  total: number
  shown: number
  flows: FlowStatus[]
}

export interface DropStatus {
  number: number
  reason: string
  where: 'kernel' | 'agent'
  count: number
  hint: string
}
export interface DropsData {
  drops: DropStatus[]
}

export interface FlowsQuery {
  /** 1 to MAX_FLOWS */
  limit: number
  service?: string
  host?: string
  /** Client address, with or without port. */
  client?: string
}

/** What the control server asks of the agent. */
export interface AgentView {
  status(): Promise<StatusData>
  hosts(): Promise<HostsData>
  vips(): Promise<VipsData>
  flows(query: FlowsQuery): Promise<FlowsData>
  drops(): Promise<DropsData>
  /**
   * Begins a capture, one at a time (SHUNT_ERR_CONFLICT); calls back until a batch has an `end`. The returned function ends it
   * before; then nothing more comes.
   */
  capture(query: CaptureQuery, deliver: (data: CaptureData) => void): Promise<() => void>
  /** What would become of a packet of the flow; looks only. */
  trace(query: TraceQuery): Promise<TraceData>
  /** This node's part of the atom manager. */
  atoms(query: AtomQuery): Promise<AtomsData>
  nodes(): Promise<NodesData>
  cluster(): Promise<ClusterData>
  config(query: ConfigQuery): Promise<ConfigData>
  history(): Promise<ConfigHistoryData>
  events(query: EventsQuery): Promise<EventsData>
  health(): Promise<HealthData>
  /** What listens and runs on this host. */
  apps(): Promise<AppsData>
  /** Calls back for each event from now on, until the returned function is called. */
  follow(listener: (event: EventRow) => void): () => void
  /**
   * Takes an operator's statements, all or none.
   * @throws ShuntError SHUNT_ERR_CONFLICT when another change came first, SHUNT_ERR_STATEMENT when one is not valid
   */
  submit(body: SubmitBody): Promise<SubmitData>
  registerToken(registration: TokenRegistration): Promise<void>
  /** Signs this node out of the cluster; the agent drains and ends afterwards. */
  leave(): Promise<void>
  /**
   * Moves a VIP to another forwarder, and waits until it has it.
   * @throws ShuntError SHUNT_ERR_USAGE, SHUNT_ERR_GUARD, SHUNT_ERR_PEER
   */
  failover(body: FailoverBody): Promise<FailoverData>
  /** GET of a path such as `/v1/flows?limit=5` at another node's agent, or POST of an order: the JSON text of its envelope. */
  remote(node: string, path: string, order?: unknown): Promise<{ status: number; body: string }>
}

export const DEFAULT_FLOWS = 100
export const MAX_FLOWS = 10_000

/** Schema names of the answers, by noun. */
export const SCHEMAS = {
  status: 'shunt.status/1',
  hosts: 'shunt.hosts/1',
  vips: 'shunt.vips/1',
  flows: 'shunt.flows/1',
  drops: 'shunt.drops/1',
  trace: 'shunt.trace/1',
  atoms: 'shunt.atoms/1',
  capture: 'shunt.capture/1',
  nodes: 'shunt.nodes/1',
  cluster: 'shunt.cluster/1',
  config: 'shunt.config/1',
  history: 'shunt.config-history/1',
  events: 'shunt.events/1',
  health: 'shunt.health/1',
  apps: 'shunt.apps/1',
} as const
export type Noun = keyof typeof SCHEMAS
/** Schema names of the answers to orders (POST), by the last part of their path. */
export const ORDER_SCHEMAS = {
  statements: 'shunt.submit/1',
  tokens: 'shunt.token/1',
  leave: 'shunt.leave/1',
  failover: 'shunt.failover/1',
} as const
export type Order = keyof typeof ORDER_SCHEMAS
export const ERROR_SCHEMA = 'shunt.error/1'

export interface Envelope<T = unknown> {
  schema: string
  /** Name of the node that answers. */
  node: string
  /** ISO 8601, UTC. */
  time: string
  data: T
}

/** Errors of the control API itself, append-only. */
export type ControlErrorCode =
  | 'not_found'
  | 'method_not_allowed'
  | 'bad_query'
  | 'too_large'
  | 'busy'
  | 'internal'
  | 'conflict'
  | 'refused'
  | 'unreachable'
  | 'unsupported_media'
  | 'timeout'

/** The body of an answer that is not 200, and what a command with --json prints when it fails. */
export interface ErrorEnvelope {
  schema: typeof ERROR_SCHEMA
  error: { code: ControlErrorCode | ErrorCode; message: string }
}
