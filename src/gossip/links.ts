/**
 * Kept streams to all peers (architecture decisions 7 and 9), as the rest of the agent has them: the libp2p node and who may connect to it,
 * what is said, and what is heard. link-keeper.ts makes the links and sees to it that they last.
 */
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import type { Logger } from 'pino'
import type { PeerConfig, Role } from '../config/schema.ts'
import { ShuntError } from '../errors.ts'
import { type Admission, createGater } from './admission.ts'
import type { BusOptions } from './bus.ts'
import { isAtomFrame } from './frame-atoms.ts'
import { type DecodedFrame, LENGTH_BYTES } from './frame-format.ts'
import { type GreetingRules, VERSIONS } from './greeting.ts'
import { loadIdentity } from './identity.ts'
import { Joins } from './joins.ts'
import { type LinkCounter, newCounters } from './link-counters.ts'
import { Inbox, mayHaveAtoms, speaks } from './link-inbox.ts'
import { Keeper, type LinksPhase } from './link-keeper.ts'
import { Voice } from './link-voice.ts'
import type { PeerLinks, PeerLinksOptions } from './links-api.ts'
import { listenError } from './listen-error.ts'
import { Listeners } from './listeners.ts'
import { checkNetworkKeys, dialKeyAt } from './network-keys.ts'
import { createLinkNode, type LinkNode } from './node.ts'
import { type PeerState, stateOf } from './peer.ts'
import { PeerTable } from './peer-table.ts'
import { Questions, type RequestHandler } from './questions.ts'
import { StrangerLog } from './stranger-log.ts'

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
  readonly #questions: Questions
  readonly #voice: Voice
  readonly #inbox: Inbox
  readonly #keeper: Keeper
  readonly #published: Listeners<[peer: string, payload: Uint8Array]>
  #phase: LinksPhase = 'new'
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
        drive: (peer, event) => this.#keeper.drive(peer, event),
        lost: (peer, link) => this.#keeper.lost(peer, link, undefined),
      },
      this.#log,
    )
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
    this.#keeper = new Keeper({
      peers: this.#peers,
      voice: this.#voice,
      inbox: this.#inbox,
      count: this.#count,
      log: this.#log,
      pace: options.pace,
      port: options.listen.port,
      node: () => this.#node,
      phase: () => this.#phase,
    })
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
      onStream: (stream, connection) =>
        this.#keeper.attach(this.#peers.get(connection.remotePeer.toString()), stream, connection),
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
    this.#keeper.start()
  }

  async stop(): Promise<void> {
    if (this.#phase === 'stopped') return
    this.#phase = 'stopped'
    this.#keeper.stop()
    await this.#node.stop()
  }

  async goodbye(reason: string): Promise<void> {
    if (this.#phase !== 'running') return
    this.#phase = 'leaving'
    await this.#keeper.goodbye(reason)
  }

  states(): PeerState[] {
    const nowMs = performance.now()
    return this.#peers.all().map(peer => stateOf(peer, nowMs))
  }

  setDraining(draining: boolean): void {
    if (this.#voice.setDraining(draining)) this.#keeper.news()
  }

  setPeers(configs: PeerConfig[]): void {
    this.#keeper.setPeers(configs)
  }

  reachable(name: string): void {
    const peer = this.#peers.named(name)
    if (peer !== undefined) this.#keeper.drive(peer, { on: 'reachable' })
  }

  setNetworkKeys(keys: readonly Uint8Array[]): void {
    this.#keys = checkNetworkKeys(keys)
  }

  setSelf(self: { roles: Role[]; epoch: number }): void {
    this.#voice.setSelf(self)
  }

  setDigest(digest: bigint, revision: number): void {
    if (this.#voice.setKnowledge({ digest, revision })) this.#keeper.news()
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
    this.#keeper.changes.add(callback)
  }

  counters(): Record<string, number> {
    return { ...this.#counters }
  }
}
