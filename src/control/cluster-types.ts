/** The part of the control API that speaks of the cluster: nodes, document, events, and what an operator orders. */
import type { DirectiveOrder, Statement, TokenBody } from '../cluster/types.ts'

/** Of the machine, by probes that its kernel answers (decision 7); `unknown` where it has never answered one. */
export type MachineState = 'alive' | 'suspect' | 'dead' | 'unknown'
/** Of the agent on it, by its heartbeats. */
export type AgentLiveness = 'alive' | 'dead' | 'connecting'

export interface NodeRow {
  name: string
  /** Peer id. */
  id: string
  address: string
  tunnel: string | null
  /** Of IPv6; null: it has none, and carries no IPv6 services. */
  address6: string | null
  tunnel6: string | null
  /** As the operator has given them; in a static cluster, as configured. */
  roles: string[]
  /** Taken from it, but still carried out for the flows that run, at most for the drain time-out. */
  retiring: string[]
  /** The node that answers. */
  self: boolean
  node: MachineState
  agent: AgentLiveness
  draining: boolean
  /** Round trip to its kernel, and to its agent; `null` when not measured. */
  probeRttMs: number | null
  agentRttMs: number | null
  lastHeardMs: number | null
  /** Revision of the cluster document that its agent has in force; `null` when not known. */
  revision: number | null
  /** Of the operator's last change of its roles, 0 for those that it joined with; the next change names the next one. */
  rolesRevision: number
  /** Operator's orders about its applications, in order of `app`; those that were withdrawn too (state active), for their revisions. */
  directives: DirectiveOrder[]
  /** VIPs announced by ARP that it holds, as far as the node that answers knows; `null`: that node is no forwarder, or there are none. */
  vips: string[] | null
  /** Whether it holds the same statements as the node that answers. */
  synced: boolean
  /** ISO 8601; `null` in a static cluster. */
  joinedAt: string | null
}
export interface NodesData {
  /** `static`: peers and services stand in each node's file; nothing of the cluster can be changed by commands. */
  mode: 'managed' | 'static'
  nodes: NodeRow[]
}

export interface ClusterData {
  mode: 'managed' | 'static'
  /** Operator's public key, base64url; `null` in a static cluster, like `name`. */
  cluster: string | null
  name: string | null
  node: { id: string; name: string; address: string; controlPort: number }
  /** Of the statements that this node holds, 16 hexadecimal digits, and how many they are. */
  digest: string
  statements: number
  secrets: { number: number; state: 'signing' | 'coming' | 'ending' }[]
  /** For an operator's next statements: highest secret number, and the hash of the document in force (or ''). */
  secretNumber: number
  configHash: string
  departed: { id: string; name: string; reason: 'left' | 'evicted'; at: string }[]
  conflicts: { id: string; name: string; why: string }[]
}

export interface ConfigData {
  /** 0 when no document was applied yet; then the other fields are empty. */
  revision: number
  hash: string
  parent: string
  /** YAML, as the operator wrote it. */
  text: string
  note: string
  /** ISO 8601, or ''. */
  appliedAt: string
  state: 'current' | 'past' | 'lost' | 'none'
  /** What each member has in force; `revision` null when its agent cannot be heard. */
  rollout: { node: string; revision: number | null }[]
  /** Not wrong, but worth knowing: a host that is no member, ... */
  warnings: string[]
}
export interface ConfigHistoryData {
  revisions: {
    revision: number
    hash: string
    parent: string
    note: string
    appliedAt: string
    state: 'current' | 'past' | 'lost'
    bytes: number
  }[]
}

/** Append-only. */
export type EventKind =
  | 'agent.up'
  | 'agent.down'
  | 'agent.draining'
  | 'node.alive'
  | 'node.suspect'
  | 'node.dead'
  | 'member.joined'
  | 'member.left'
  | 'member.evicted'
  | 'member.roles'
  | 'directive.ordered'
  | 'directive.settled'
  | 'directive.followed'
  | 'app.health'
  | 'app.lost'
  | 'app.back'
  | 'group.leader'
  | 'member.conflict'
  | 'config.applied'
  | 'config.lost'
  | 'config.failed'
  | 'keys.rotated'
  | 'token.issued'
  | 'token.used'
  | 'statement.refused'
  | 'agent.started'
  | 'agent.adopted'
  | 'agent.stopping'
  | 'state.unsaved'
  | 'state.saved'
  | 'vip.held'
  | 'vip.released'
  | 'vip.moved'

export interface EventRow {
  /** Counts from 1 since the agent started. */
  sequence: number
  /** ISO 8601, UTC. */
  time: string
  kind: EventKind
  severity: 'info' | 'warning' | 'error'
  /** Node that it is about; '-' for the whole cluster. */
  subject: string
  /** A sentence. */
  text: string
}
export interface EventsData {
  /** Number of the newest event; ask for what comes `after` it. */
  last: number
  /** True when events after the one asked for are not here: dropped from the ring, of an earlier run, or beyond `limit` (the newest are kept). */
  missed: boolean
  events: EventRow[]
}

export interface ConfigQuery {
  /** A revision number or the first 8 or more digits of its hash; undefined: the one in force. */
  revision?: string
}
export interface EventsQuery {
  after: number
  limit: number
}
export const DEFAULT_EVENTS = 100
export const MAX_EVENTS = 1_000

export interface SubmitData {
  /** Statements that changed something, and those that were known already. */
  accepted: number
  known: number
}
export interface SubmitBody {
  statements: Statement[]
}
export interface TokenRegistration {
  cluster: string
  body: TokenBody
  /** Operator's, base64. */
  signature: string
  /** 32 bytes, base64: what the one who joins must know. */
  secret: string
}
