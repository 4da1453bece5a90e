import type { Logger } from 'pino'
import type { NodeConfig, PeerConfig } from '../config/schema.ts'
import {
  type DecodedFrame,
  encodeEnded,
  encodePlumb,
  type FlowRecord,
  MAX_BATCH_RECORDS,
} from '../gossip/frames.ts'
import type { PeerLinks } from '../gossip/links-api.ts'
import type { PeerState } from '../gossip/peer.ts'
import type { Dataplane } from './dataplane/dataplane.ts'
import type { Directory } from './dataplane/directory.ts'
import { BATCH_WORDS } from './dataplane/messages.ts'

/** Flat batch words (messages.ts) as the records of a frame. */
export const recordsOf = (words: Uint32Array): FlowRecord[] => {
  const records: FlowRecord[] = []
  for (let at = 0; at + BATCH_WORDS <= words.length; at += BATCH_WORDS) {
    records.push({ key: words.subarray(at, at + 10), host: words.subarray(at + 10, at + BATCH_WORDS) })
  }
  return records
}

/** The inverse of `recordsOf`. */
export const wordsOf = (records: readonly FlowRecord[]): Uint32Array<ArrayBuffer> => {
  const words = new Uint32Array(records.length * BATCH_WORDS)
  records.forEach(({ key, host }, i) => {
    words.set(key, i * BATCH_WORDS)
    words.set(host, i * BATCH_WORDS + 10)
  })
  return words
}

/**
 * Between the data plane and the kept streams: plumbed routes to forwarders, ended sessions to classifiers, and
 * the liveness of peers, agents and machines, to the packet path.
 */
export class RoutesExchange {
  readonly #links: PeerLinks
  readonly #own: string
  readonly #log: Logger
  #directory: Directory
  #peers: readonly PeerConfig[]
  #dead: ReadonlySet<string> = new Set()
  #dataplane: Dataplane | null = null

  constructor(parts: { links: PeerLinks; directory: Directory; config: NodeConfig; log: Logger }) {
    this.#links = parts.links
    this.#directory = parts.directory
    this.#peers = parts.config.peers
    this.#own = parts.config.node.name
    this.#log = parts.log
    this.#links.onFrame((peer, frame) => this.#frame(peer, frame))
    this.#links.onChange(peer => this.#changed(peer))
  }

  attach(dataplane: Dataplane): void {
    this.#dataplane = dataplane
    this.#announce()
  }

  /** After the data plane has taken the plan with this directory. */
  update(directory: Directory, peers: readonly PeerConfig[]): void {
    this.#directory = directory
    this.#peers = peers
    this.#announce()
  }

  /** Machines whose kernels no longer answer (decision 7): nothing is sent there, whatever was last heard of their agents. */
  machinesDead(names: ReadonlySet<string>): void {
    this.#dead = names
    this.#announce()
  }

  /** A batch from the classifier role of this node to a forwarder elsewhere. */
  plumb(forwarderIpv4: number, words: Uint32Array): void {
    const forwarder = this.#directory.forwarders.find(entry => entry.ipv4 === forwarderIpv4)
    if (forwarder !== undefined) this.#send(forwarder.name, words, encodePlumb)
  }

  /** Sessions that the forwarder role of this node purged. */
  ended(words: Uint32Array): void {
    for (const peer of this.#peers)
      if (peer.roles.includes('classifier')) this.#send(peer.name, words, encodeEnded)
  }

  #send(peer: string, words: Uint32Array, encode: (records: readonly FlowRecord[]) => Uint8Array): void {
    const records = recordsOf(words)
    for (let at = 0; at < records.length; at += MAX_BATCH_RECORDS) {
      this.#links.send(peer, encode(records.slice(at, at + MAX_BATCH_RECORDS)))
    }
  }

  #frame(_peer: string, frame: DecodedFrame): void {
    if (!('records' in frame)) return
    const { type } = frame
    const words = wordsOf(frame.records)
    this.#dataplane?.send({ type, words }, [words.buffer])
  }

  #changed(peer: PeerState): void {
    this.#log.info({ peer: peer.name, state: peer.state, draining: peer.draining }, 'peer changed')
    this.#announce()
  }

  #announce(): void {
    const states = new Map(this.#links.states().map(peer => [peer.name, peer]))
    const usable = (name: string): boolean =>
      name === this.#own || (states.get(name)?.state === 'alive' && !this.#dead.has(name))
    this.#dataplane?.send({
      type: 'hosts',
      states: this.#directory.hosts.map(({ index, name, leaving }) => ({
        index,
        live: usable(name),
        draining: leaving || (states.get(name)?.draining ?? false),
      })),
    })
    const live = this.#directory.classifiers.filter(({ name }) => usable(name)).map(({ name }) => name)
    this.#dataplane?.send({ type: 'classifiers', live })
  }
}
