/**
 * Keeps one link a peer: tells liveness.ts what happens, and carries out what it decides. One timer for all peers.
 */
import type { Connection, Stream } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { PeerConfig } from '../config/schema.ts'
import { errorText } from '../errors.ts'
import { abortConnection } from './abort.ts'
import { Alarm } from './alarm.ts'
import { Dialler } from './dialler.ts'
import { Link } from './link.ts'
import type { LinkCounter } from './link-counters.ts'
import type { Inbox } from './link-inbox.ts'
import type { Voice } from './link-voice.ts'
import { Listeners } from './listeners.ts'
import { LIVENESS, type LivenessAction, type LivenessEvent, startLiveness, step } from './liveness.ts'
import type { LinkNode } from './node.ts'
import type { Pace } from './pace.ts'
import { deadOf, intervalTo, type Peer, type PeerState, stateOf } from './peer.ts'
import type { PeerTable } from './peer-table.ts'

/** Of the links as a whole. Leaving: what runs ends, and nothing new begins. */
export type LinksPhase = 'new' | 'running' | 'leaving' | 'stopped'

export interface KeeperParts {
  peers: PeerTable
  voice: Voice
  inbox: Inbox
  count(what: LinkCounter, amount?: number): void
  log: Logger
  pace: Pace | undefined
  /** Where peers are called. */
  port: number
  /** Asked for when there is something to do. */
  node(): Pick<LinkNode, 'dial' | 'disconnect'>
  phase(): LinksPhase
}

export class Keeper {
  readonly changes: Listeners<[peer: PeerState]>
  readonly #parts: KeeperParts
  readonly #peers: PeerTable
  readonly #alarm = new Alarm(lateMs => this.#wake(lateMs))
  readonly #dialler: Dialler

  constructor(parts: KeeperParts) {
    const { count, log, node, peers, port } = parts
    this.#parts = parts
    this.#peers = peers
    this.changes = new Listeners(log)
    this.#dialler = new Dialler(
      {
        count,
        connect: (id, address, signal) => node().dial(id, address, port, signal),
        holds: peer => peers.holds(peer),
        opened: (peer, stream, connection) => this.attach(peer, stream, connection),
        failed: peer => this.drive(peer, { on: 'closed' }),
      },
      log,
    )
  }

  start(): void {
    const nowMs = performance.now()
    for (const peer of this.#peers.all()) {
      peer.live = startLiveness(peer.live.dials, nowMs)
      this.drive(peer, { on: 'wake' })
    }
  }

  /** Closes all links at once, without a word. */
  stop(): void {
    this.#alarm.stop()
    this.#dialler.stop()
    for (const peer of this.#peers.all()) {
      peer.link?.close('stopped')
      peer.link = undefined
    }
  }

  /** Closes all links once the peers have been told why. */
  async goodbye(reason: string): Promise<void> {
    this.#dialler.stop()
    const closing: Promise<void>[] = []
    for (const peer of this.#peers.all()) {
      const { link } = peer
      if (link === undefined) continue
      this.#parts.voice.goodbye(link, reason)
      peer.link = undefined
      closing.push(link.finish())
      this.#parts.count('links_closed')
      this.drive(peer, { on: 'closed' })
    }
    await Promise.all(closing)
  }

  setPeers(configs: PeerConfig[]): void {
    const nowMs = performance.now()
    const { added, removed, moved, renamed, changed } = this.#peers.replace(configs, nowMs)
    for (const peer of removed) {
      this.#drop(peer, 'no longer a peer')
      this.#parts.node().disconnect(peer.config.id)
    }
    for (const peer of moved) {
      this.#drop(peer, 'another address')
      this.drive(peer, { on: 'closed' })
      const { dials, status, draining, heardAtMs } = peer.live
      // Whatever was failing has to do with the former address: try the new one now.
      peer.live = { ...startLiveness(dials, nowMs), status, draining, heardAtMs }
    }
    for (const peer of [...added, ...moved]) this.drive(peer, { on: 'wake' })
    for (const peer of removed)
      if (peer.live.status !== 'dead') this.changes.tell(deadOf(stateOf(peer, nowMs)))
    for (const { peer, before } of renamed)
      if (peer.live.status !== 'dead') this.changes.tell(deadOf(stateOf({ ...peer, config: before }, nowMs)))
    for (const peer of changed) this.changes.tell(stateOf(peer, nowMs))
  }

  /** Heartbeats have something new to say. */
  news(): void {
    for (const peer of this.#peers.all()) this.drive(peer, { on: 'news' })
  }

  /** The one place where a peer's state changes. */
  drive(peer: Peer, event: LivenessEvent): void {
    const phase = this.#parts.phase()
    if (phase === 'new' || phase === 'stopped' || !this.#peers.holds(peer)) return
    const { state, actions, wakeAtMs } = step(
      peer.live,
      event,
      performance.now(),
      Math.random(),
      LIVENESS,
      intervalTo(peer, this.#peers.size, this.#parts.pace),
    )
    peer.live = state
    for (const action of actions) this.#act(peer, action)
    this.#alarm.notAfter(wakeAtMs)
  }

  #wake(lateMs: number): void {
    const nowMs = performance.now()
    for (const peer of this.#peers.all()) {
      if (peer.live.wakeAtMs <= nowMs) this.drive(peer, { on: 'wake', lateMs })
      else this.#alarm.notAfter(peer.live.wakeAtMs)
    }
  }

  #act(peer: Peer, action: LivenessAction): void {
    switch (action.do) {
      case 'dial':
        if (this.#parts.phase() === 'running') void this.#dialler.dial(peer)
        return
      case 'heartbeat':
        this.#parts.voice.heartbeat(peer, action.sequence, action.wantsEcho)
        return
      case 'close': {
        const { link } = peer
        peer.link = undefined
        if (action.reason === 'silence') this.#parts.count('links_silent')
        this.#parts.count('links_closed')
        // A refusal has just been written: it has to get out. In all other cases there is nothing to wait for.
        if (action.reason === 'refused') void link?.finish()
        else link?.close(action.reason)
        return
      }
      case 'give up':
        this.#dialler.giveUp(peer)
        return
      case 'changed':
        this.#changed(peer)
    }
  }

  #changed(peer: Peer): void {
    const state = stateOf(peer, performance.now())
    if (state.state === 'alive') peer.complaint = undefined
    else peer.rttMs = null
    this.#parts.log.debug({ peer: state.name, state: state.state, draining: state.draining }, 'link state')
    this.changes.tell(state)
  }

  /** Closes the link, if there is one, without a word to the peer or to liveness. */
  #drop(peer: Peer, reason: string): void {
    const { link } = peer
    if (link === undefined) return
    peer.link = undefined
    this.#parts.count('links_closed')
    link.close(reason)
  }

  /** The link to a peer from now on, dialled by us or by the peer. Undefined: it is none of the peers. */
  attach(peer: Peer | undefined, stream: Stream, connection: Connection): void {
    if (peer === undefined || this.#parts.phase() !== 'running')
      return abortConnection(connection, 'not wanted')
    const { count, inbox, voice } = this.#parts
    if (peer.link !== undefined) {
      peer.link.close('replaced')
      count('links_closed')
    }
    count('links_opened')
    const link: Link = new Link(stream, connection, {
      onFrames: frames => inbox.take(peer, link, frames),
      onClosed: error => this.lost(peer, link, error),
      onPaused: () => count('inbound_paused'),
      onBytes: bytes => count('bytes_in', bytes),
      onSkipped: frames => count('frame_unknown_type', frames),
    })
    peer.link = link
    peer.probe = undefined
    this.drive(peer, { on: 'opened' })
    voice.hello(link)
  }

  /** A link has ended; `error`: of the peer's bytes, which are to be complained of. */
  lost(peer: Peer, link: Link, error: unknown): void {
    const { count, inbox } = this.#parts
    if (error !== undefined) {
      count('frame_invalid')
      inbox.complain(peer, errorText(error))
    }
    if (peer.link !== link) return
    peer.link = undefined
    count('links_closed')
    this.drive(peer, { on: 'closed' })
  }
}
