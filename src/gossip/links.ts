/**
 * Kept streams to all peers (architecture decisions 7 and 9): the shell around liveness.ts. It owns the libp2p node,
 * one link a peer, one timer for all, and says what came in and who is alive.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { Logger } from 'pino'
import type { PeerConfig, Role } from '../config/schema.ts'
import { errorText, ShuntError } from '../errors.ts'
import { abortConnection } from './abort.ts'
import { type Admission, createGater } from './admission.ts'
import { Alarm } from './alarm.ts'
import type { BusOptions } from './bus.ts'
import { isAtomFrame } from './frame-atoms.ts'
import { type DecodedFrame, LENGTH_BYTES } from './frame-format.ts'
import { type GreetingRules, VERSIONS } from './greeting.ts'
import { loadIdentity } from './identity.ts'
import { Joins } from './joins.ts'
import { Link } from './link.ts'
import { type LinkCounter, newCounters } from './link-counters.ts'
import { Inbox, mayHaveAtoms, speaks } from './link-inbox.ts'
import { Voice } from './link-voice.ts'
import type { PeerLinks, PeerLinksOptions } from './links-api.ts'
import { listenError } from './listen-error.ts'
import { Listeners } from './listeners.ts'
import { LIVENESS, type LivenessAction, type LivenessEvent, startLiveness, step } from './liveness.ts'
import { checkNetworkKeys, dialKeyAt } from './network-keys.ts'
import { createLinkNode, type LinkNode } from './node.ts'
import { deadOf, intervalTo, type Peer, type PeerState, stateOf } from './peer.ts'
import { PeerTable } from './peer-table.ts'
import { Questions, type RequestHandler } from './questions.ts'
import { StrangerLog } from './stranger-log.ts'

export type { JoinHook, JoinSession } from './joins.ts'
export type { PeerLinks, PeerLinksOptions } from './links-api.ts'
export type { PeerState } from './peer.ts'

const DIAL_TIMEOUT_MS = 3000

/** Throws SHUNT_ERR_IDENTITY if the identity or the secret is unusable, SHUNT_ERR_CONFIG if a peer has our own id. */
export const createPeerLinks = (options: PeerLinksOptions): PeerLinks => new Links(options)

class Links implements PeerLinks {
  readonly id: string
  readonly #options: PeerLinksOptions
  readonly #rules: GreetingRules
  readonly #log: Logger
  readonly #node: LinkNode
  readonly #peers: PeerTable
  readonly #counters = newCounters()
  readonly #count = (what: LinkCounter, amount = 1): void => {
    this.#counters[what] += amount
  }
  readonly #alarm = new Alarm(lateMs => this.#wake(lateMs))
  readonly #dialing = new AbortController()
  readonly #questions: Questions
  readonly #voice: Voice
  readonly #inbox: Inbox
  readonly #changes: Listeners<[peer: PeerState]>
  readonly #published: Listeners<[peer: string, payload: Uint8Array]>
  #phase: 'new' | 'running' | 'leaving' | 'stopped' = 'new'
  #keys: readonly Uint8Array[]

  constructor(options: PeerLinksOptions) {
    this.#options = options
    this.#rules = { versions: options.versions ?? VERSIONS, checkRoles: options.checkRoles ?? true }
    this.#log = options.log.child({ role: 'links' })
    this.#questions = new Questions(this.#log, this.#count)
    const { name, roles, epoch } = options
    this.#voice = new Voice({ name, versions: this.#rules.versions, self: { roles, epoch } }, this.#count)
    this.#inbox = new Inbox(
      this.#rules,
      this.#voice,
      {
        count: this.#count,
        drive: (peer, event) => this.#drive(peer, event),
        lost: (peer, link) => this.#onClosed(peer, link, undefined),
      },
      this.#log,
    )
    this.#changes = new Listeners(this.#log)
    this.#published = new Listeners(this.#log)
    this.#keys = checkNetworkKeys(options.networkKeys)
    const privateKey = loadIdentity(options.identityFile)
    this.id = peerIdFromPrivateKey(privateKey).toString()
    const self = options.peers.find(({ id }) => id === this.id)
    if (self !== undefined)
      throw new ShuntError(
        'SHUNT_ERR_CONFIG',
        `peer ${self.name} has this node's own id ${this.id}; list only the other nodes, each with its own identity`,
      )
    this.#peers = new PeerTable(this.id)
    this.#peers.replace(options.peers, performance.now())
    const isPeer = (id: string): boolean => this.#peers.has(id)
    const strangers = new StrangerLog(this.#log, this.#rules.checkRoles)
    const gater: Admission = createGater({
      ownId: this.id,
      isPeer,
      closing: () => this.#phase !== 'running',
      count: this.#count,
      onStranger: (id, address) => strangers.add(id, address),
      // One connection a pair: gossipsub, too, takes up the new one only after the old one has gone.
      onAdmitted: id => this.#node.disconnect(id),
    })
    this.#node = createLinkNode({
      privateKey,
      keys: {
        dialKey: id => dialKeyAt(this.#keys, this.#peers.get(id)?.dialFailures ?? 0),
        accepted: () => this.#keys,
        joins: options.joins && new Joins(options.joins, this.#count),
        onWrongKey: () => this.#count('inbound_wrong_network_key'),
        onJoin: connection => gater.release(connection),
      },
      listen: options.listen,
      gater,
      onStream: (stream, connection) => this.#onInbound(stream, connection),
      onAsk: (stream, connection) =>
        void this.#questions.answer(this.#peers.get(connection.remotePeer.toString()), stream, connection),
      bus: options.topic === undefined ? undefined : this.#busOptions(options.topic),
    })
  }

  #busOptions(topic: string): BusOptions {
    return {
      topic,
      ownId: this.id,
      isPeer: id => this.#peers.has(id),
      count: this.#count,
      onMessage: (id, payload) => {
        const name = this.#peers.get(id)?.config.name
        if (name !== undefined && this.#phase === 'running') this.#published.tell(name, payload)
      },
    }
  }

  async start(): Promise<void> {
    if (this.#phase !== 'new') return
    this.#phase = 'running'
    const { address, port } = this.#options.listen
    try {
      await this.#node.start()
    } catch (error) {
      this.#phase = 'stopped'
      throw listenError(address, port, error)
    }
    if (this.#phase !== 'running') return this.#node.stop()
    const nowMs = performance.now()
    for (const peer of this.#peers.all()) {
      peer.live = startLiveness(peer.live.dials, nowMs)
      this.#drive(peer, { on: 'wake' })
    }
  }

  async stop(): Promise<void> {
    if (this.#phase === 'stopped') return
    this.#phase = 'stopped'
    this.#alarm.stop()
    this.#dialing.abort()
    for (const peer of this.#peers.all()) {
      peer.link?.close('stopped')
      peer.link = undefined
    }
    await this.#node.stop()
  }

  async goodbye(reason: string): Promise<void> {
    if (this.#phase !== 'running') return
    this.#phase = 'leaving'
    this.#dialing.abort()
    const closing: Promise<void>[] = []
    for (const peer of this.#peers.all()) {
      const { link } = peer
      if (link === undefined) continue
      this.#voice.goodbye(link, reason)
      peer.link = undefined
      closing.push(link.finish())
      this.#count('links_closed')
      this.#drive(peer, { on: 'closed' })
    }
    await Promise.all(closing)
  }

  states(): PeerState[] {
    const nowMs = performance.now()
    return this.#peers.all().map(peer => stateOf(peer, nowMs))
  }

  setDraining(draining: boolean): void {
    if (this.#voice.setDraining(draining)) this.#news()
  }

  setPeers(configs: PeerConfig[]): void {
    const nowMs = performance.now()
    const { added, removed, moved, renamed, changed } = this.#peers.replace(configs, nowMs)
    for (const peer of removed) {
      this.#drop(peer, 'no longer a peer')
      this.#node.disconnect(peer.config.id)
    }
    for (const peer of moved) {
      this.#drop(peer, 'another address')
      this.#drive(peer, { on: 'closed' })
      const { dials, status, draining, heardAtMs } = peer.live
      // Whatever was failing has to do with the former address: try the new one now.
      peer.live = { ...startLiveness(dials, nowMs), status, draining, heardAtMs }
    }
    for (const peer of [...added, ...moved]) this.#drive(peer, { on: 'wake' })
    for (const peer of removed)
      if (peer.live.status !== 'dead') this.#changes.tell(deadOf(stateOf(peer, nowMs)))
    for (const { peer, before } of renamed)
      if (peer.live.status !== 'dead') this.#changes.tell(deadOf(stateOf({ ...peer, config: before }, nowMs)))
    for (const peer of changed) this.#changes.tell(stateOf(peer, nowMs))
  }

  reachable(name: string): void {
    const peer = this.#peers.named(name)
    if (peer !== undefined) this.#drive(peer, { on: 'reachable' })
  }

  setNetworkKeys(keys: readonly Uint8Array[]): void {
    this.#keys = checkNetworkKeys(keys)
  }

  setSelf(self: { roles: Role[]; epoch: number }): void {
    this.#voice.setSelf(self)
  }

  setDigest(digest: bigint, revision: number): void {
    if (this.#voice.setKnowledge({ digest, revision })) this.#news()
  }

  onDigest(callback: (peer: string, digest: bigint, revision: number) => void): void {
    this.#inbox.digests.add(callback)
  }

  publish(payload: Uint8Array): boolean {
    return this.#phase === 'running' && this.#node.bus?.publish(payload) === true
  }

  onPublished(callback: (peer: string, payload: Uint8Array) => void): void {
    this.#published.add(callback)
  }

  request(name: string, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    return this.#questions.ask(name, this.#peers.named(name), body, signal)
  }

  onRequest(handler: RequestHandler): void {
    this.#questions.answerWith(handler)
  }

  send(name: string, frame: Uint8Array): boolean {
    const peer = this.#peers.named(name)
    if (peer?.link === undefined || peer.live.phase !== 'alive') {
      this.#count('send_dropped_down')
      return false
    }
    if (!speaks(peer, frame[LENGTH_BYTES]!)) {
      this.#count('send_dropped_version')
      return false
    }
    if (isAtomFrame(frame) && !mayHaveAtoms(peer)) {
      this.#count('send_dropped_role')
      return false
    }
    if (this.#voice.write(peer.link, frame)) return true
    this.#count('send_dropped_full')
    return false
  }

  backlog(name: string): number {
    return this.#peers.named(name)?.link?.queuedBytes ?? 0
  }

  onFrame(callback: (peer: string, frame: DecodedFrame) => void): void {
    this.#inbox.frames.add(callback)
  }

  onChange(callback: (peer: PeerState) => void): void {
    this.#changes.add(callback)
  }

  counters(): Record<string, number> {
    return { ...this.#counters }
  }

  /** The one place where a peer's state changes. */
  #drive(peer: Peer, event: LivenessEvent): void {
    if (this.#phase === 'new' || this.#phase === 'stopped' || !this.#peers.holds(peer)) return
    const { state, actions, wakeAtMs } = step(
      peer.live,
      event,
      performance.now(),
      Math.random(),
      LIVENESS,
      intervalTo(peer, this.#peers.size, this.#options.pace),
    )
    peer.live = state
    for (const action of actions) this.#act(peer, action)
    this.#alarm.notAfter(wakeAtMs)
  }

  #news(): void {
    for (const peer of this.#peers.all()) this.#drive(peer, { on: 'news' })
  }

  #wake(lateMs: number): void {
    const nowMs = performance.now()
    for (const peer of this.#peers.all()) {
      if (peer.live.wakeAtMs <= nowMs) this.#drive(peer, { on: 'wake', lateMs })
      else this.#alarm.notAfter(peer.live.wakeAtMs)
    }
  }

  #act(peer: Peer, action: LivenessAction): void {
    switch (action.do) {
      case 'dial':
        if (this.#phase === 'running') void this.#dial(peer)
        return
      case 'heartbeat':
        this.#voice.heartbeat(peer, action.sequence, action.wantsEcho)
        return
      case 'close': {
        const { link } = peer
        peer.link = undefined
        if (action.reason === 'silence') this.#count('links_silent')
        this.#count('links_closed')
        // A refusal has just been written: it has to get out. In all other cases there is nothing to wait for.
        if (action.reason === 'refused') void link?.finish()
        else link?.close(action.reason)
        return
      }
      case 'give up':
        peer.dialing?.abort()
        return
      case 'changed':
        this.#changed(peer)
    }
  }

  #changed(peer: Peer): void {
    const state = stateOf(peer, performance.now())
    if (state.state === 'alive') peer.complaint = undefined
    else peer.rttMs = null
    this.#log.debug({ peer: state.name, state: state.state, draining: state.draining }, 'link state')
    this.#changes.tell(state)
  }

  /** Closes the link, if there is one, without a word to the peer or to liveness. */
  #drop(peer: Peer, reason: string): void {
    const { link } = peer
    if (link === undefined) return
    peer.link = undefined
    this.#count('links_closed')
    link.close(reason)
  }

  async #dial(peer: Peer): Promise<void> {
    const { id, address } = peer.config
    const outdated = (): boolean => !this.#peers.holds(peer) || peer.config.address !== address
    this.#count('dials')
    const dialing = new AbortController()
    peer.dialing = dialing
    try {
      const signal = AbortSignal.any([
        this.#dialing.signal,
        dialing.signal,
        AbortSignal.timeout(DIAL_TIMEOUT_MS),
      ])
      const { stream, connection } = await this.#node.dial(id, address, this.#options.listen.port, signal)
      if (this.#phase === 'running' && peer.live.phase === 'dialing' && !outdated())
        this.#attach(peer, stream, connection)
      else abortConnection(connection, 'no longer wanted')
    } catch (error) {
      this.#count('dial_failures')
      if (outdated()) return
      peer.dialFailures++
      this.#log.debug({ peer: peer.config.name, error: errorText(error) }, 'dial failed')
      this.#drive(peer, { on: 'closed' })
    }
  }

  #onInbound(stream: Stream, connection: Connection): void {
    const peer = this.#peers.get(connection.remotePeer.toString())
    if (peer === undefined || this.#phase !== 'running') abortConnection(connection, 'not wanted')
    else this.#attach(peer, stream, connection)
  }

  #attach(peer: Peer, stream: Stream, connection: Connection): void {
    if (peer.link !== undefined) {
      peer.link.close('replaced')
      this.#count('links_closed')
    }
    this.#count('links_opened')
    const link: Link = new Link(stream, connection, {
      onFrames: frames => this.#inbox.take(peer, link, frames),
      onClosed: error => this.#onClosed(peer, link, error),
      onPaused: () => this.#count('inbound_paused'),
      onBytes: bytes => this.#count('bytes_in', bytes),
      onSkipped: frames => this.#count('frame_unknown_type', frames),
    })
    peer.link = link
    peer.probe = undefined
    this.#drive(peer, { on: 'opened' })
    this.#voice.hello(link)
  }

  #onClosed(peer: Peer, link: Link, error: unknown): void {
    if (error !== undefined) {
      this.#count('frame_invalid')
      this.#inbox.complain(peer, errorText(error))
    }
    if (peer.link !== link) return
    peer.link = undefined
    this.#count('links_closed')
    this.#drive(peer, { on: 'closed' })
  }
}
