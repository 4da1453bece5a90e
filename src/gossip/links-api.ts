/** What the rest of the agent sees of the links to peers. */
import type { Logger } from 'pino'
import type { PeerConfig, Role } from '../config/schema.ts'
import type { DecodedFrame } from './frame-format.ts'
import type { PeerState } from './peer.ts'

export interface PeerLinksOptions {
  name: string
  identityFile: string
  /** The first cluster secret, 32 bytes. */
  secret: Uint8Array
  /** Where peers call; they are called at the same port of their own addresses. */
  listen: { address: string; port: number }
  roles: Role[]
  /** u32, told to peers. */
  epoch: number
  peers: PeerConfig[]
  log: Logger
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
  /** Heartbeats say from now on whether this node wants nothing new. */
  setDraining(draining: boolean): void
  /** Queues an encoded frame. False (and counted) if the peer is unknown or not alive, or more than 4 MB wait. */
  send(peer: string, frame: Uint8Array): boolean
  /** Frames that carry records, from peers with the role for them, in the order in which they were sent. */
  onFrame(callback: (peer: string, frame: DecodedFrame) => void): void
  /** A peer's state or draining has changed. A link that was replaced shows as dead, then alive: send again what it knew. */
  onChange(callback: (peer: PeerState) => void): void
  counters(): Record<string, number>
}
