/** Nodes on loopback addresses of their own, for links.test.ts. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import type { PeerConfig, Role } from '../../../src/config/schema.ts'
import type { DecodedFrame, FlowRecord } from '../../../src/gossip/frames.ts'
import { createIdentity, loadIdentity } from '../../../src/gossip/identity.ts'
import { networkKey } from '../../../src/gossip/keys.ts'
import { createPeerLinks } from '../../../src/gossip/links.ts'
import type { PeerLinks, PeerLinksOptions } from '../../../src/gossip/links-api.ts'
import { createLinkNode, type LinkNode, type LinkNodeOptions } from '../../../src/gossip/node.ts'
import type { PeerState } from '../../../src/gossip/peer.ts'
import type { Keyring } from '../../../src/gossip/protector.ts'

export const PORT = 6780
/** Far above what any step takes on a busy machine; a step that is done ends its wait at once. */
const PATIENCE_MS = 20_000
const POLL_MS = 5

/** Waits until a condition holds; throws with `what` if it does not come true in time. */
export const until = async (what: string, holds: () => boolean): Promise<void> => {
  const endMs = performance.now() + PATIENCE_MS
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`waited ${PATIENCE_MS} ms in vain until ${what}`)
    await new Promise(resolve => setTimeout(resolve, POLL_MS))
  }
}

/** What a raw node of a test's own needs of the private network. */
const keyring = (key: Uint8Array): Keyring => ({
  dialKey: () => key,
  accepted: () => [key],
  onWrongKey: () => {},
  onJoin: () => {},
})

export const flow = (number: number): FlowRecord => ({
  key: Uint32Array.of(0, 0, 0xffff, number, 0, 0, 0xffff, 0x0a630001, 0xc0010050, 6),
  host: Uint32Array.of(0, 0, 0xffff, 0x0a0a001f),
})
export const bare = (number: number): FlowRecord => ({ ...flow(number), host: new Uint32Array(4) })

export interface Node {
  name: string
  links: PeerLinks
  frames: { peer: string; frame: DecodedFrame }[]
  changes: PeerState[]
  logs: Record<string, unknown>[]
}

export class Bench {
  readonly dir = mkdtempSync(join(tmpdir(), 'shunt-links-'))
  readonly secret = new Uint8Array(32).fill(7)
  /** In ascending order of peer id, so that nodes[0] dials all others. */
  readonly peers: PeerConfig[] = []
  readonly #files = new Map<string, string>()
  readonly #nodes: Node[] = []
  readonly #children: ChildProcess[] = []

  /** Identities with the given roles, one a node; addresses in a /24 of 127.0.0.0/8 that is this bench's alone. */
  static async make(roles: Role[][]): Promise<Bench> {
    const bench = new Bench()
    const made: { id: string; file: string }[] = []
    for (let i = 0; i < roles.length; i++) {
      const file = join(bench.dir, `${i}.key`)
      made.push({ id: await createIdentity(file), file })
    }
    made.sort((a, b) => (a.id < b.id ? -1 : 1))
    const byte = (): number => 1 + Math.floor(Math.random() * 250)
    const network = `127.${byte()}.${byte()}`
    made.forEach(({ id, file }, i) => {
      bench.peers.push({ name: `n${i}`, id, roles: roles[i]!, address: `${network}.${i + 1}` })
      bench.#files.set(`n${i}`, file)
    })
    return bench
  }

  options(index: number, changes: Partial<PeerLinksOptions> = {}): Omit<PeerLinksOptions, 'log'> {
    const { name, roles, address } = this.peers[index]!
    return {
      name,
      identityFile: this.#files.get(name)!,
      networkKeys: [networkKey(this.secret)],
      listen: { address, port: PORT },
      roles,
      epoch: 100 + index,
      peers: this.peers.filter((_, i) => i !== index),
      ...changes,
    }
  }

  async start(index: number, changes: Partial<PeerLinksOptions> = {}): Promise<Node> {
    const logs: Record<string, unknown>[] = []
    const log = pino({ level: 'info' }, { write: (line: string) => void logs.push(JSON.parse(line)) })
    const links = createPeerLinks({ ...this.options(index, changes), log })
    const node: Node = { name: this.peers[index]!.name, links, frames: [], changes: [], logs }
    links.onFrame((peer, frame) => node.frames.push({ peer, frame }))
    links.onChange(state => node.changes.push(state))
    this.#nodes.push(node)
    await links.start()
    return node
  }

  /** A libp2p node with this one's identity and no links of its own: a test says by it what it likes. Stopped by its test. */
  async startRaw(index: number, onStream: LinkNodeOptions['onStream'] = () => {}): Promise<LinkNode> {
    const { identityFile, listen } = this.options(index)
    const raw = createLinkNode({
      privateKey: loadIdentity(identityFile),
      keys: keyring(networkKey(this.secret)),
      listen,
      gater: {},
      onStream,
    })
    await raw.start()
    return raw
  }

  async startChild(index: number, changes: Partial<PeerLinksOptions> = {}): Promise<ChildProcess> {
    const { networkKeys, ...rest } = this.options(index, changes)
    const options = { ...rest, networkKeys: networkKeys.map(key => Buffer.from(key).toString('hex')) }
    const child = spawn(
      process.execPath,
      ['--no-warnings', join(import.meta.dirname, 'link-child.ts'), JSON.stringify(options)],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    )
    this.#children.push(child)
    await once(child, 'message')
    return child
  }

  async end(): Promise<void> {
    for (const child of this.#children)
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await Promise.all(this.#nodes.map(({ links }) => links.stop()))
    rmSync(this.dir, { recursive: true, force: true })
  }
}

export const peerOf = (node: Node, name: string): PeerState =>
  node.links.states().find(peer => peer.name === name)!
export const stateOf = (node: Node, name: string): string => peerOf(node, name).state
/** Links of this node that broke; a peer that is not there for its first three seconds is dead too, and none of them. */
export const broken = ({ changes }: Node): number =>
  changes.filter(
    ({ state, name }, i) =>
      state === 'dead' &&
      changes.slice(0, i).some(before => before.name === name && before.state === 'alive'),
  ).length
export const alive = (what: string, ...pairs: [Node, string][]): Promise<void> =>
  until(what, () => pairs.every(([node, name]) => stateOf(node, name) === 'alive'))
