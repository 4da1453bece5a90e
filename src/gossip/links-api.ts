/** What the rest of the agent sees of the links to peers. */
import type { Logger } from 'pino'
import type { PeerConfig, Role } from '../config/schema.ts'
import type { DecodedFrame } from './frame-format.ts'
import type { JoinHook } from './joins.ts'
import type { Pace } from './pace.ts'
import type { PeerState } from './peer.ts'

export interface PeerLinksOptions {
  name: string
  identityFile: string
  /** As networkKey() of keys.ts derives them, 32 bytes each. First: dialled with and told; all: accepted. */
  networkKeys: readonly Uint8Array[]
  /** Where peers call; they are called at the same port of their own addresses. */
  listen: { address: string; port: number }
  roles: Role[]
  /** u32, told to peers. */
  epoch: number
  peers: PeerConfig[]
  log: Logger
  /** Static clusters (default true): a HELLO whose roles differ from the configuration is refused. Managed ones take roles from signed membership. */
  checkRoles?: boolean
  /** What HELLO says; default MIN_VERSION to MAX_VERSION. */
  versions?: { min: number; max: number }
  /** From how many peers on heartbeats come less often; default PACE. */
  pace?: Pace
  /** Serves machines that join; undefined: none can. */
  joins?: JoinHook
  /** Gossipsub topic, the same on all nodes; undefined: no gossipsub at all. */
  topic?: string
}

export interface PeerLinks {
  /** Rejects if the port cannot be listened on. */
  start(): Promise<void>
  /** Closes everything at once, so that nothing of it keeps the process alive. */
  stop(): Promise<void>
  /** Tells all peers that this node leaves, closes the links, and neither makes nor takes new ones. */
  goodbye(reason: string): Promise<void>
  /** Own peer id. */
  readonly id: string
  states(): PeerState[]
  /** Heartbeats say from now on whether this node wants nothing new; as with a digest, a change hurries the next one. */
  setDraining(draining: boolean): void
  /** Queues an encoded frame. False (and counted) if the peer is unknown, not alive, too old or without the role for it, or more than 4 MB wait. */
  send(peer: string, frame: Uint8Array): boolean
  /** Bytes that wait to be sent to a peer: what is not urgent waits for others to be through. */
  backlog(peer: string): number
  /** Frames that carry records and who owns what (from peers with the role for them), ledger hashes and entries, health messages, or atoms (from peers with a role for them), in the order in which they were sent. */
  onFrame(callback: (peer: string, frame: DecodedFrame) => void): void
  /**
   * A peer's state, draining, name, roles or address has changed. A link that was replaced shows as dead, then alive: send again what it
   * knew. A peer that was renamed shows as dead under its old name first; one that was taken out of the peers, as dead.
   */
  onChange(callback: (peer: PeerState) => void): void
  counters(): Record<string, number>

  /**
   * The peers from now on, known by their ids: new ones are linked; vanished ones are closed at once and refused from then on; name,
   * roles and tunnel of others are taken over, also a new address, for which the link is made anew. Our own id is skipped.
   */
  setPeers(peers: PeerConfig[]): void
  /** The machine of a peer answers again: a link to it that is awaited is tried at once, not when its turn comes. */
  reachable(peer: string): void
  /** As the option; existing links stay. Throws SHUNT_ERR_IDENTITY if there is none, or one is not 32 bytes. */
  setNetworkKeys(keys: readonly Uint8Array[]): void
  /** Told in the HELLO of links made from now on. */
  setSelf(self: { roles: Role[]; epoch: number }): void
  /** Told in heartbeats: digest of the ledger (u64), and the revision of the cluster document in force here (u32, 0: none). To each peer within a second, also where heartbeats come less often (pace.ts). */
  setDigest(digest: bigint, revision: number): void
  /** At every heartbeat that carries them (4 a second a peer; fewer with more than 50 peers), whether changed or not. */
  onDigest(callback: (peer: string, digest: bigint, revision: number) => void): void
  /** Sends a payload to all members that can be reached. False (and counted) without a topic, above 200,000 bytes, or above 4 a second (burst 32). */
  publish(payload: Uint8Array): boolean
  /** Payloads that current members have published, each once; `peer` is who published it, not who passed it on. */
  onPublished(callback: (peer: string, payload: Uint8Array) => void): void
  /** Asks a linked peer over a stream of its own: body at most 16 kB, answer at most 8 MB. Rejects with SHUNT_ERR_PEER. */
  request(peer: string, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array>
  /** Answers requests, at most 8 at once a peer; what the handler throws is told to the peer as text. */
  onRequest(handler: (peer: string, body: Uint8Array) => Promise<Uint8Array>): void
}
