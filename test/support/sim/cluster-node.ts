/** One simulated node of a cluster: the real ledger, replica and view, with what the agent does around them. */
import type { Ledger } from '../../../src/cluster/ledger.ts'
import { Replica, type ReplicaEvent, type ReplicaFrame } from '../../../src/cluster/replica.ts'
import type { ClusterView, Statement } from '../../../src/cluster/types.ts'
import { clusterView } from '../../../src/cluster/view.ts'
import type { Links } from './links.ts'
import type { Network } from './network.ts'
import type { Identity } from './operator.ts'

export type LinkMessage = { digest: bigint } | { frame: ReplicaFrame }
/** Flooded over the links' peers, each hop by the unreliable network; `origin` has signed it. */
export interface Gossip {
  number: number
  origin: string
  entries: Uint8Array[]
}

export interface Surroundings {
  network: Network<Gossip>
  links: Links<LinkMessage>
  makeLedger: () => Ledger
  /** Seeded bug: links to evicted nodes stay, and they are told what everyone is told. */
  servesEvicted: boolean
  /** Seeded bug: what a peer tells of its set is not looked at. */
  ignoresLists: boolean
  changed(node: ClusterNode, statements: Statement[]): void
  publish(node: ClusterNode, entries: Uint8Array[]): void
}

const HEARTBEAT_MS = 250

export class ClusterNode {
  readonly identity: Identity
  readonly #around: Surroundings
  /** What survives a crash. */
  #disk: Statement[]
  #running: { replica: Replica; heard: Set<number> } | null = null
  #cancelWake = () => {}
  view: ClusterView | null = null

  constructor(identity: Identity, around: Surroundings, disk: Statement[]) {
    this.identity = identity
    this.#around = around
    this.#disk = disk
  }

  get id(): string {
    return this.identity.id
  }
  get isUp(): boolean {
    return this.#running !== null
  }
  get ledger(): Ledger {
    if (this.#running === null) throw new Error(`${this.id} is not running`)
    return this.#running.replica.ledger
  }
  get isMember(): boolean {
    return this.isUp && this.view?.members.some(m => m.id === this.id) === true
  }

  start(): void {
    const ledger = this.#around.makeLedger()
    for (const statement of this.#disk) ledger.add(statement)
    this.#running = {
      replica: new Replica(ledger, {}, peer => (this.#around.servesEvicted ? 'anyone' : peer)),
      heard: new Set(),
    }
    this.view = clusterView(ledger)
    const { network, links } = this.#around
    network.attach(this.id, (from, gossip) => this.#hear(from, gossip))
    links.attach(this.id, {
      wants: peer => this.#around.servesEvicted || this.view?.members.some(m => m.id === peer) === true,
      up: peer => this.step({ on: 'up', peer }),
      down: peer => this.step({ on: 'down', peer }),
      receive: (peer, message) =>
        this.step(
          'frame' in message
            ? { on: 'frame', peer, frame: message.frame }
            : { on: 'digest', peer, digest: message.digest },
        ),
    })
    this.#beat(this.#running.replica)
  }

  crash(): void {
    this.#running = null
    this.#cancelWake()
    this.#around.links.detach(this.id)
    this.#around.network.detach(this.id)
  }

  step(event: ReplicaEvent): void {
    if (this.#running === null) return
    if (this.#around.ignoresLists && event.on === 'frame' && event.frame.type === 'ledger-list') return
    const { world } = this.#around.network
    const { actions, wakeAtMs } = this.#running.replica.step(event, world.nowMs, world.random())
    for (const action of actions) {
      if (action.do === 'send') this.#around.links.send(this.id, action.peer, { frame: action.frame })
      else if (action.do === 'publish') this.#around.publish(this, action.entries)
      else if (action.do === 'changed') this.#changed(action.statements)
    }
    this.#cancelWake()
    if (Number.isFinite(wakeAtMs))
      this.#cancelWake = world.after(wakeAtMs - world.nowMs, () => this.step({ on: 'wake' }))
  }

  /** Passes gossip on before anything in it is looked at, as the library does. */
  relay(gossip: Gossip): void {
    this.#running?.heard.add(gossip.number)
    for (const peer of this.#around.links.peers(this.id)) this.#around.network.datagram(this.id, peer, gossip)
  }

  #hear(from: string, gossip: Gossip): void {
    const isPeer = this.#around.links.isUp(this.id, from)
    if (!isPeer || this.#running?.heard.has(gossip.number)) return
    if (this.view?.members.some(m => m.id === gossip.origin) !== true) return
    this.relay(gossip)
    this.step({ on: 'published', peer: gossip.origin, entries: gossip.entries })
  }

  #changed(statements: Statement[]): void {
    this.#disk = this.ledger.statements()
    this.view = clusterView(this.ledger)
    this.#around.changed(this, statements)
    this.#around.links.check()
  }

  /** `replica`: of the life that this beat belongs to. */
  #beat(replica: Replica): void {
    if (this.#running?.replica !== replica) return
    for (const peer of this.#around.links.peers(this.id))
      this.#around.links.send(this.id, peer, { digest: replica.ledger.digest() })
    this.#around.network.world.after(HEARTBEAT_MS, () => this.#beat(replica))
  }
}
