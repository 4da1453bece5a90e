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
import { encodeGoodbye, encodeHeartbeat, encodeHeartbeatEcho, encodeHello } from './frame-encode.ts'
import {
  type BatchFrame,
  type DecodedFrame,
  DIGEST_VERSION,
  type EchoFrame,
  HEALTH_VERSION,
  type HealthFrame,
  type HeartbeatEcho,
  type HeartbeatFrame,
  type HelloFrame,
  type Knowledge,
  type LedgerFrame,
  SENDER_ROLE,
} from './frame-format.ts'
import { isHealthFrame } from './frame-health.ts'
import { type GreetingRules, negotiated, refusalOf, VERSIONS } from './greeting.ts'
import { loadIdentity } from './identity.ts'
import { Joins } from './joins.ts'
import { Link } from './link.ts'
import { type LinkCounter, newCounters } from './link-counters.ts'
import type { PeerLinks, PeerLinksOptions } from './links-api.ts'
import { Listeners } from './listeners.ts'
import { type LivenessAction, type LivenessEvent, startLiveness, step } from './liveness.ts'
import { checkNetworkKeys, dialKeyAt } from './network-keys.ts'
import { createLinkNode, type LinkNode } from './node.ts'
import { type Peer, type PeerState, stateOf } from './peer.ts'
import { PeerTable } from './peer-table.ts'
import { Questions, type RequestHandler } from './questions.ts'
import { roleMask } from './roles.ts'

export type { JoinHook, JoinSession } from './joins.ts'
export type { PeerLinks, PeerLinksOptions } from './links-api.ts'
export type { PeerState } from './peer.ts'

const DIAL_TIMEOUT_MS = 3000
const STRANGER_LOG_MS = 10_000

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
  readonly #alarm = new Alarm(() => this.#wake())
  readonly #dialing = new AbortController()
  readonly #questions: Questions
  readonly #frames: Listeners<[peer: string, frame: DecodedFrame]>
  readonly #changes: Listeners<[peer: PeerState]>
  readonly #digests: Listeners<[peer: string, digest: bigint, revision: number]>
  readonly #published: Listeners<[peer: string, payload: Uint8Array]>
  #phase: 'new' | 'running' | 'leaving' | 'stopped' = 'new'
  #keys: readonly Uint8Array[]
  #self: { roles: Role[]; epoch: number }
  #draining = false
  #knowledge: Knowledge | undefined
  #strangerLoggedMs = Number.NEGATIVE_INFINITY

  constructor(options: PeerLinksOptions) {
    this.#options = options
    this.#rules = { versions: options.versions ?? VERSIONS, checkRoles: options.checkRoles ?? true }
    this.#log = options.log.child({ role: 'links' })
    this.#questions = new Questions(this.#log, what => this.#count(what))
    this.#frames = new Listeners(this.#log)
    this.#changes = new Listeners(this.#log)
    this.#digests = new Listeners(this.#log)
    this.#published = new Listeners(this.#log)
    this.#keys = checkNetworkKeys(options.networkKeys)
    this.#self = { roles: [...options.roles], epoch: options.epoch }
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
    const count = (what: LinkCounter): void => this.#count(what)
    const isPeer = (id: string): boolean => this.#peers.has(id)
    const gater: Admission = createGater({
      ownId: this.id,
      isPeer,
      closing: () => this.#phase !== 'running',
      count,
      onStranger: (id, address) => this.#onStranger(id, address),
      // One connection a pair: gossipsub, too, takes up the new one only after the old one has gone.
      onAdmitted: id => this.#node.disconnect(id),
    })
    this.#node = createLinkNode({
      privateKey,
      keys: {
        dialKey: id => dialKeyAt(this.#keys, this.#peers.get(id)?.dialFailures ?? 0),
        accepted: () => this.#keys,
        joins: options.joins && new Joins(options.joins, count),
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
      count: what => this.#count(what),
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
      throw new ShuntError(
        'SHUNT_ERR_OS',
        `cannot listen for peers on ${address} port ${port} (${listenFailure(error)}); is addresses.cluster an address of this machine, and the port free?`,
        { cause: error },
      )
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
    const frame = encodeGoodbye(reason)
    const closing: Promise<void>[] = []
    for (const peer of this.#peers.all()) {
      const { link } = peer
      if (link === undefined) continue
      this.#write(link, frame)
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
    this.#draining = draining
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
      if (peer.live.status !== 'dead') this.#changes.tell(dead(stateOf(peer, nowMs)))
    for (const { peer, before } of renamed)
      if (peer.live.status !== 'dead') this.#changes.tell(dead(stateOf({ ...peer, config: before }, nowMs)))
    for (const peer of changed) this.#changes.tell(stateOf(peer, nowMs))
  }

  setNetworkKeys(keys: readonly Uint8Array[]): void {
    this.#keys = checkNetworkKeys(keys)
  }

  setSelf({ roles, epoch }: { roles: Role[]; epoch: number }): void {
    this.#self = { roles: [...roles], epoch }
  }

  setDigest(digest: bigint, revision: number): void {
    this.#knowledge = { digest, revision }
  }

  onDigest(callback: (peer: string, digest: bigint, revision: number) => void): void {
    this.#digests.add(callback)
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
    if (isHealthFrame(frame) && !speaksHealth(peer)) {
      this.#count('send_dropped_version')
      return false
    }
    if (this.#write(peer.link, frame)) return true
    this.#count('send_dropped_full')
    return false
  }

  onFrame(callback: (peer: string, frame: DecodedFrame) => void): void {
    this.#frames.add(callback)
  }

  onChange(callback: (peer: PeerState) => void): void {
    this.#changes.add(callback)
  }

  counters(): Record<string, number> {
    return { ...this.#counters }
  }

  #count(what: LinkCounter, amount = 1): void {
    this.#counters[what] += amount
  }

  #write(link: Link, frame: Uint8Array): boolean {
    if (!link.send(frame)) return false
    this.#count('frames_out')
    this.#count('bytes_out', frame.length)
    return true
  }

  /** The one place where a peer's state changes. */
  #drive(peer: Peer, event: LivenessEvent): void {
    if (this.#phase === 'new' || this.#phase === 'stopped' || !this.#peers.holds(peer)) return
    const { state, actions, wakeAtMs } = step(peer.live, event, performance.now(), Math.random())
    peer.live = state
    for (const action of actions) this.#act(peer, action)
    this.#alarm.notAfter(wakeAtMs)
  }

  #wake(): void {
    const nowMs = performance.now()
    for (const peer of this.#peers.all()) {
      if (peer.live.wakeAtMs <= nowMs) this.#drive(peer, { on: 'wake' })
      else this.#alarm.notAfter(peer.live.wakeAtMs)
    }
  }

  #act(peer: Peer, action: LivenessAction): void {
    switch (action.do) {
      case 'dial':
        if (this.#phase === 'running') void this.#dial(peer)
        return
      case 'heartbeat':
        this.#heartbeat(peer, action.sequence, action.wantsEcho)
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

  #heartbeat(peer: Peer, sequence: number, wantsEcho: boolean): void {
    const sentMs = performance.now()
    if (wantsEcho) peer.probe = { sequence, atMs: sentMs }
    if (peer.link === undefined) return
    const heartbeat = { sequence, sentMs, draining: this.#draining, wantsEcho }
    const told = this.#knowledge !== undefined && (peer.version ?? 0) >= DIGEST_VERSION
    this.#write(peer.link, encodeHeartbeat(told ? { ...heartbeat, knowledge: this.#knowledge! } : heartbeat))
  }

  async #dial(peer: Peer): Promise<void> {
    const { id, address } = peer.config
    const outdated = (): boolean => !this.#peers.holds(peer) || peer.config.address !== address
    this.#count('dials')
    try {
      const signal = AbortSignal.any([this.#dialing.signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)])
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
      onFrames: frames => this.#onFrames(peer, link, frames),
      onClosed: error => this.#onClosed(peer, link, error),
      onPaused: () => this.#count('inbound_paused'),
      onBytes: bytes => this.#count('bytes_in', bytes),
      onSkipped: frames => this.#count('frame_unknown_type', frames),
    })
    peer.link = link
    peer.probe = undefined
    this.#drive(peer, { on: 'opened' })
    const { min: minVersion, max: maxVersion } = this.#rules.versions
    const { roles, epoch } = this.#self
    const { name } = this.#options
    this.#write(link, encodeHello({ minVersion, maxVersion, name, roles: roleMask(roles), epoch }))
  }

  #onClosed(peer: Peer, link: Link, error: unknown): void {
    if (error !== undefined) {
      this.#count('frame_invalid')
      this.#complain(peer, errorText(error))
    }
    if (peer.link !== link) return
    peer.link = undefined
    this.#count('links_closed')
    this.#drive(peer, { on: 'closed' })
  }

  #onFrames(peer: Peer, link: Link, frames: DecodedFrame[]): void {
    for (const frame of frames) {
      // An earlier frame may have ended the link.
      if (peer.link !== link) return
      this.#count('frames_in')
      const greeting = peer.live.phase === 'greeting'
      if (frame.type === 'goodbye') this.#onGoodbye(peer, frame.reason)
      else if (greeting && frame.type === 'hello') this.#onHello(peer, link, frame)
      else if (greeting || frame.type === 'hello') {
        this.#count('frame_out_of_turn')
        link.close('frame out of turn')
        this.#onClosed(peer, link, undefined)
      } else this.#onGreeted(peer, link, frame)
    }
  }

  #onHello(peer: Peer, link: Link, hello: HelloFrame): void {
    const refusal = refusalOf(hello, peer.config, this.#rules)
    if (refusal === undefined) {
      peer.epoch = hello.epoch
      peer.version = negotiated(this.#rules.versions, hello)
      peer.knowledge = null
      peer.dialFailures = 0
      this.#drive(peer, { on: 'hello' })
      return
    }
    this.#count('hello_refused')
    this.#complain(peer, refusal)
    this.#write(link, encodeGoodbye(refusal))
    this.#drive(peer, { on: 'refused' })
  }

  #onGoodbye(peer: Peer, reason: string): void {
    this.#count('goodbyes_in')
    if (peer.live.phase === 'alive') this.#log.info({ peer: peer.config.name, reason }, 'peer said goodbye')
    else this.#complain(peer, `it refused this node: ${reason}`)
    this.#drive(peer, { on: 'goodbye' })
  }

  #onGreeted(
    peer: Peer,
    link: Link,
    frame: HeartbeatFrame | EchoFrame | BatchFrame | LedgerFrame | HealthFrame,
  ): void {
    if (frame.type === 'heartbeat') this.#onHeartbeat(peer, link, frame)
    else {
      this.#drive(peer, { on: 'heard' })
      if (frame.type === 'heartbeat-echo') this.#onEcho(peer, frame)
      else if ('records' in frame && !peer.config.roles.includes(SENDER_ROLE[frame.type]))
        this.#count('frame_wrong_role')
      else if (frame.type === 'health' && !speaksHealth(peer)) this.#count('frame_wrong_version')
      else this.#frames.tell(peer.config.name, frame)
    }
  }

  #onHeartbeat(peer: Peer, link: Link, heartbeat: HeartbeatFrame): void {
    const { knowledge } = heartbeat
    const told = knowledge !== undefined && (peer.version ?? 0) >= DIGEST_VERSION
    if (told) peer.knowledge = knowledge
    if (heartbeat.wantsEcho) this.#write(link, encodeHeartbeatEcho(heartbeat))
    this.#drive(peer, { on: 'heard', draining: heartbeat.draining })
    if (told) this.#digests.tell(peer.config.name, knowledge.digest, knowledge.revision)
  }

  /** The time is our own note of when we asked: what the echo says of it is the peer's word. */
  #onEcho(peer: Peer, { sequence }: HeartbeatEcho): void {
    if (peer.probe?.sequence !== sequence) return
    peer.rttMs = performance.now() - peer.probe.atMs
    peer.probe = undefined
  }

  #complain(peer: Peer, complaint: string): void {
    if (peer.complaint === complaint) return
    peer.complaint = complaint
    this.#log.warn({ peer: peer.config.name, complaint }, 'link to peer refused')
  }

  #onStranger(id: string, address: string): void {
    const nowMs = performance.now()
    if (nowMs - this.#strangerLoggedMs < STRANGER_LOG_MS) return
    this.#strangerLoggedMs = nowMs
    this.#log.warn(
      { id, address },
      this.#rules.checkRoles
        ? 'a node that knows the cluster secret is not configured here: list it in peers, or change the secret if it has left'
        : 'a node that knows the cluster secret is no member here; if it was not just admitted, change the secret with shunt keys rotate',
    )
  }
}

const dead = (state: PeerState): PeerState => ({ ...state, state: 'dead', rttMs: null, version: null })

const speaksHealth = ({ version }: Peer): boolean => (version ?? 0) >= HEALTH_VERSION

/** libp2p wraps the system's answer in advice about itself, over several lines with a stack. */
const listenFailure = (error: unknown): string =>
  /Error: (listen .*)/.exec(errorText(error))?.[1] ?? errorText(error)
