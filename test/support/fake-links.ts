/** Links between agents' parts in one process: frames go by their encoding, at the next turn, in order; links can be cut. */
import type { Role } from '../../src/config/schema.ts'
import { type DecodedFrame, decodeFrame, LENGTH_BYTES, MAX_VERSION } from '../../src/gossip/frames.ts'
import type { PeerLinks } from '../../src/gossip/links-api.ts'
import type { PeerState } from '../../src/gossip/peer.ts'

interface Node {
  roles: Role[]
  version: number
  readonly frames: ((peer: string, frame: DecodedFrame) => void)[]
  readonly changes: ((peer: PeerState) => void)[]
}

export class FakeLinks {
  readonly #nodes = new Map<string, Node>()
  readonly #cut = new Set<string>()
  /** Bytes from each to each: `a b`. */
  readonly bytes = new Map<string, number>()
  readonly frames = new Map<string, number>()

  /** The links of one node, to all that are made before and after it. */
  of(name: string, roles: Role[], version = MAX_VERSION): PeerLinks {
    const node: Node = { roles, version, frames: [], changes: [] }
    this.#nodes.set(name, node)
    const links = {
      id: `id of ${name}`,
      states: () =>
        [...this.#nodes.keys()].filter(peer => peer !== name).map(peer => this.#state(name, peer)),
      send: (peer: string, frame: Uint8Array) => this.#send(name, peer, frame),
      backlog: () => 0,
      onFrame: (callback: Node['frames'][number]) => node.frames.push(callback),
      onChange: (callback: Node['changes'][number]) => node.changes.push(callback),
    }
    return links as unknown as PeerLinks
  }

  /** Tells the others that it is there now. */
  up(name: string): void {
    for (const peer of this.#nodes.keys()) if (peer !== name) this.#tell(name, peer)
  }

  gone(name: string): void {
    const node = this.#nodes.get(name)!
    node.version = 0
    for (const [peer, { changes }] of this.#nodes)
      if (peer !== name) for (const change of changes) change(this.#state(peer, name))
    this.#nodes.delete(name)
  }

  cut(a: string, b: string, isCut = true): void {
    if (isCut) this.#cut.add([a, b].sort().join(' '))
    else this.#cut.delete([a, b].sort().join(' '))
    this.#tell(a, b)
  }

  /** A frame as `from` would send it, whatever its own program would say. */
  inject(from: string, to: string, frame: Uint8Array): void {
    this.#send(from, to, frame)
  }

  #tell(a: string, b: string): void {
    for (const change of this.#nodes.get(a)?.changes ?? []) change(this.#state(a, b))
    for (const change of this.#nodes.get(b)?.changes ?? []) change(this.#state(b, a))
  }

  #isUp(a: string, b: string): boolean {
    return (
      (this.#nodes.get(a)?.version ?? 0) > 0 &&
      (this.#nodes.get(b)?.version ?? 0) > 0 &&
      !this.#cut.has([a, b].sort().join(' '))
    )
  }

  #state(own: string, peer: string): PeerState {
    const { roles = [], version = 0 } = this.#nodes.get(peer) ?? {}
    const isUp = this.#isUp(own, peer)
    return {
      ...{ name: peer, id: `id of ${peer}`, roles, address: '', draining: false },
      state: isUp ? 'alive' : 'dead',
      version: isUp ? Math.min(version, this.#nodes.get(own)!.version) : null,
      ...{ lastHeardMs: 0, rttMs: null, epoch: 1, digest: null, revision: null },
    }
  }

  #send(from: string, to: string, frame: Uint8Array): boolean {
    if (!this.#isUp(from, to)) return false
    const way = `${from} ${to}`
    this.bytes.set(way, (this.bytes.get(way) ?? 0) + frame.length)
    this.frames.set(way, (this.frames.get(way) ?? 0) + 1)
    const decoded = decodeFrame(frame.slice(LENGTH_BYTES))
    if (decoded === undefined) return true
    queueMicrotask(() => {
      if (!this.#isUp(from, to)) return
      for (const callback of this.#nodes.get(to)?.frames ?? []) callback(from, decoded)
    })
    return true
  }
}
