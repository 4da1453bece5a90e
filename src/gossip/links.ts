/**
 * Kept streams to all peers (architecture decisions 7 and 9): the shell around liveness.ts. It owns the libp2p node,
 * one link a peer, one timer for all, and says what came in and who is alive.
 */
import type { Connection, Stream } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { Logger } from 'pino'
import { errorText, ShuntError } from '../errors.ts'
import { createGater, dialsTo } from './admission.ts'
import { Alarm } from './alarm.ts'
import { encodeGoodbye, encodeHeartbeat, encodeHeartbeatEcho, encodeHello } from './frame-encode.ts'
import {
  type BatchFrame,
  type DecodedFrame,
  type EchoFrame,
  type HeartbeatEcho,
  type HeartbeatFrame,
  type HelloFrame,
  MAX_VERSION,
  MIN_VERSION,
  SENDER_ROLE,
} from './frame-format.ts'
import { refusalOf } from './greeting.ts'
import { loadIdentity } from './identity.ts'
import { networkKey } from './keys.ts'
import { Link } from './link.ts'
import { type LinkCounter, newCounters } from './link-counters.ts'
import type { PeerLinks, PeerLinksOptions } from './links-api.ts'
import { type LivenessAction, type LivenessEvent, step } from './liveness.ts'
import { createLinkNode, type LinkNode } from './node.ts'
import { newPeer, type Peer, type PeerState, stateOf } from './peer.ts'
import { roleMask } from './roles.ts'

export type { PeerLinks, PeerLinksOptions } from './links-api.ts'
export type { PeerState } from './peer.ts'

const DIAL_TIMEOUT_MS = 3000
const STRANGER_LOG_MS = 10_000

/** Throws SHUNT_ERR_IDENTITY if the identity or the secret is unusable, SHUNT_ERR_CONFIG if a peer has our own id. */
export const createPeerLinks = (options: PeerLinksOptions): PeerLinks => new Links(options)

class Links implements PeerLinks {
  readonly id: string
  readonly #options: PeerLinksOptions
  readonly #log: Logger
  readonly #node: LinkNode
  readonly #byId = new Map<string, Peer>()
  readonly #byName = new Map<string, Peer>()
  readonly #counters = newCounters()
  readonly #alarm = new Alarm(() => this.#wake())
  readonly #dialing = new AbortController()
  readonly #frameCallbacks: ((peer: string, frame: DecodedFrame) => void)[] = []
  readonly #changeCallbacks: ((peer: PeerState) => void)[] = []
  #phase: 'new' | 'running' | 'leaving' | 'stopped' = 'new'
  #draining = false
  #strangerLoggedMs = Number.NEGATIVE_INFINITY

  constructor(options: PeerLinksOptions) {
    this.#options = options
    this.#log = options.log.child({ role: 'links' })
    const privateKey = loadIdentity(options.identityFile)
    this.id = peerIdFromPrivateKey(privateKey).toString()
    for (const config of options.peers) {
      if (config.id === this.id)
        throw new ShuntError(
          'SHUNT_ERR_CONFIG',
          `peer ${config.name} has this node's own id ${this.id}; list only the other nodes, each with its own identity`,
        )
      const peer = newPeer(config, dialsTo(this.id, config.id), performance.now())
      this.#byId.set(config.id, peer)
      this.#byName.set(config.name, peer)
    }
    this.#node = createLinkNode({
      privateKey,
      networkKey: networkKey(options.secret),
      listen: options.listen,
      gater: createGater({
        ownId: this.id,
        isPeer: id => this.#byId.has(id),
        closing: () => this.#phase !== 'running',
        count: what => this.#count(what),
        onStranger: (id, address) => this.#onStranger(id, address),
      }),
      onStream: (stream, connection) => this.#onInbound(stream, connection),
    })
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
    for (const peer of this.#byId.values()) {
      peer.live = newPeer(peer.config, peer.live.dials, nowMs).live
      this.#drive(peer, { on: 'wake' })
    }
  }

  async stop(): Promise<void> {
    if (this.#phase === 'stopped') return
    this.#phase = 'stopped'
    this.#alarm.stop()
    this.#dialing.abort()
    for (const peer of this.#byId.values()) {
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
    for (const peer of this.#byId.values()) {
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
    return Array.from(this.#byId.values(), peer => stateOf(peer, nowMs))
  }

  setDraining(draining: boolean): void {
    this.#draining = draining
  }

  send(name: string, frame: Uint8Array): boolean {
    const peer = this.#byName.get(name)
    if (peer?.link === undefined || peer.live.phase !== 'alive') {
      this.#count('send_dropped_down')
      return false
    }
    if (this.#write(peer.link, frame)) return true
    this.#count('send_dropped_full')
    return false
  }

  onFrame(callback: (peer: string, frame: DecodedFrame) => void): void {
    this.#frameCallbacks.push(callback)
  }

  onChange(callback: (peer: PeerState) => void): void {
    this.#changeCallbacks.push(callback)
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
    if (this.#phase === 'new' || this.#phase === 'stopped') return
    const { state, actions, wakeAtMs } = step(peer.live, event, performance.now(), Math.random())
    peer.live = state
    for (const action of actions) this.#act(peer, action)
    this.#alarm.notAfter(wakeAtMs)
  }

  #wake(): void {
    const nowMs = performance.now()
    for (const peer of this.#byId.values()) {
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
    for (const callback of this.#changeCallbacks) this.#guarded(() => callback(state))
  }

  /** What the users of this module throw is theirs: it must not tear a link down. */
  #guarded(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.#log.error({ err: error }, 'a link callback failed')
    }
  }

  #heartbeat(peer: Peer, sequence: number, wantsEcho: boolean): void {
    const sentMs = performance.now()
    if (wantsEcho) peer.probe = { sequence, atMs: sentMs }
    if (peer.link !== undefined)
      this.#write(peer.link, encodeHeartbeat({ sequence, sentMs, draining: this.#draining, wantsEcho }))
  }

  async #dial(peer: Peer): Promise<void> {
    const { id, address } = peer.config
    this.#count('dials')
    try {
      const signal = AbortSignal.any([this.#dialing.signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)])
      const { stream, connection } = await this.#node.dial(id, address, this.#options.listen.port, signal)
      if (this.#phase === 'running' && peer.live.phase === 'dialing') this.#attach(peer, stream, connection)
      else connection.abort(new Error('no longer wanted'))
    } catch (error) {
      this.#count('dial_failures')
      this.#log.debug({ peer: peer.config.name, error: errorText(error) }, 'dial failed')
      this.#drive(peer, { on: 'closed' })
    }
  }

  #onInbound(stream: Stream, connection: Connection): void {
    const peer = this.#byId.get(connection.remotePeer.toString())
    if (peer === undefined || this.#phase !== 'running') connection.abort(new Error('not wanted'))
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
    const { name, roles, epoch } = this.#options
    this.#write(
      link,
      encodeHello({ minVersion: MIN_VERSION, maxVersion: MAX_VERSION, name, roles: roleMask(roles), epoch }),
    )
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
    const refusal = refusalOf(hello, peer.config)
    if (refusal === undefined) {
      peer.epoch = hello.epoch
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

  #onGreeted(peer: Peer, link: Link, frame: HeartbeatFrame | EchoFrame | BatchFrame): void {
    if (frame.type === 'heartbeat') {
      if (frame.wantsEcho) this.#write(link, encodeHeartbeatEcho(frame))
      this.#drive(peer, { on: 'heard', draining: frame.draining })
      return
    }
    this.#drive(peer, { on: 'heard' })
    if (frame.type === 'heartbeat-echo') this.#onEcho(peer, frame)
    else if (!peer.config.roles.includes(SENDER_ROLE[frame.type])) this.#count('frame_wrong_role')
    else for (const callback of this.#frameCallbacks) this.#guarded(() => callback(peer.config.name, frame))
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
      'a node that knows the cluster secret is not configured here: list it in peers, or change the secret if it has left',
    )
  }
}

/** libp2p wraps the system's answer in advice about itself, over several lines with a stack. */
const listenFailure = (error: unknown): string =>
  /Error: (listen .*)/.exec(errorText(error))?.[1] ?? errorText(error)
