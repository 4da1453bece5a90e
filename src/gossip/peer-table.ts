/** The peers of this node, by id and by name, as they come and go. */
import type { PeerConfig } from '../config/schema.ts'
import { dialsTo } from './admission.ts'
import { newPeer, type Peer } from './peer.ts'

export interface PeerChanges {
  added: Peer[]
  removed: Peer[]
  /** Another address. */
  moved: Peer[]
  /** Another name, with the former one. */
  renamed: { peer: Peer; before: PeerConfig }[]
  /** Another name, address or other roles. */
  changed: Peer[]
}

export class PeerTable {
  readonly #ownId: string
  readonly #byId = new Map<string, Peer>()
  #byName = new Map<string, Peer>()

  constructor(ownId: string) {
    this.#ownId = ownId
  }

  get size(): number {
    return this.#byId.size
  }
  has(id: string): boolean {
    return this.#byId.has(id)
  }
  get(id: string): Peer | undefined {
    return this.#byId.get(id)
  }
  named(name: string): Peer | undefined {
    return this.#byName.get(name)
  }
  /** Whether this is still one of them, and not one of the same id that was made after it. */
  holds(peer: Peer): boolean {
    return this.#byId.get(peer.config.id) === peer
  }
  all(): Peer[] {
    return [...this.#byId.values()]
  }

  /** Makes these the peers; those with known ids are kept with what they hold. Our own id is skipped. */
  replace(configs: readonly PeerConfig[], nowMs: number): PeerChanges {
    const changes: PeerChanges = { added: [], removed: [], moved: [], renamed: [], changed: [] }
    const wanted = new Map(configs.map(config => [config.id, config]))
    wanted.delete(this.#ownId)
    for (const [id, peer] of this.#byId) {
      if (wanted.has(id)) continue
      this.#byId.delete(id)
      changes.removed.push(peer)
    }
    for (const [id, config] of wanted) {
      const peer = this.#byId.get(id)
      if (peer !== undefined) update(peer, config, changes)
      else {
        const added = newPeer(config, dialsTo(this.#ownId, id), nowMs)
        this.#byId.set(id, added)
        changes.added.push(added)
      }
    }
    this.#byName = new Map(Array.from(this.#byId.values(), peer => [peer.config.name, peer]))
    return changes
  }
}

const update = (peer: Peer, config: PeerConfig, changes: PeerChanges): void => {
  const before = peer.config
  peer.config = config
  const moved = before.address !== config.address
  const renamed = before.name !== config.name
  if (moved) changes.moved.push(peer)
  if (renamed) changes.renamed.push({ peer, before })
  if (moved || renamed || !sameSet(before.roles, config.roles)) changes.changed.push(peer)
}

const sameSet = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every(one => b.includes(one))
