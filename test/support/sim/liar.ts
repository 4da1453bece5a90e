/** A member of the simulated cluster that lies: garbage, forgeries, replays, endless questions, false digests, tokens used twice. */
import { canonical } from '../../../src/cluster/canonical.ts'
import type { ReplicaFrame } from '../../../src/cluster/replica.ts'
import { decodeStatement, encodeStatement, signStatement } from '../../../src/cluster/statement.ts'
import type { Statement } from '../../../src/cluster/types.ts'
import type { LinkMessage, Surroundings } from './cluster-node.ts'
import * as op from './operator.ts'

/** Made once, as signing is slow. */
const forgeries = new Map<string, Statement>()
const EVERY_MS = 250

/** No secrets: nothing keeps a member from giving away what it knows, and the run is about what honest nodes give away. */
const isOfUse = (bytes: Uint8Array): boolean => {
  try {
    return decodeStatement(bytes).body.kind !== 'secret'
  } catch {
    return false
  }
}

export class Liar {
  readonly identity: op.Identity
  readonly #around: Surroundings
  readonly #token: op.Token
  readonly #say: (statement: Statement) => Statement
  #heard: Uint8Array[] = []
  #isActive = true
  #slot = 0

  /** `say`: told of what it signs validly. */
  constructor(
    identity: op.Identity,
    around: Surroundings,
    token: op.Token,
    say: (s: Statement) => Statement,
  ) {
    this.identity = identity
    this.#around = around
    this.#token = token
    this.#say = say
  }

  get id(): string {
    return this.identity.id
  }

  start(): void {
    const { network, links } = this.#around
    network.attach(this.id, (_from, gossip) => this.#keep(gossip.entries))
    links.attach(this.id, {
      wants: () => true,
      up: () => {},
      down: () => {},
      receive: (_peer, message) => {
        if ('frame' in message && message.frame.type === 'ledger-entries') this.#keep(message.frame.entries)
      },
    })
    this.#lie()
  }

  stop(): void {
    this.#isActive = false
    this.#around.links.detach(this.id)
    this.#around.network.detach(this.id)
  }

  /** One place of its token for two nodes, told to different peers; one goes by a founder's name and address, and is as old as can be. */
  equivocate(): void {
    if (this.#slot === this.#token.body.uses) return
    const slot = ++this.#slot
    const { world } = this.#around.network
    for (const twin of [0, 1]) {
      const n = 100 + 2 * slot + twin
      const joiner = op.identity(`node ${n}`)
      const { name, address } = op.factsOf(world.integer(2))
      const facts = op.factsOf(n, twin === 0 ? { name, address } : {})
      const atMs = twin === 0 ? this.#token.body.issuedMs : world.nowMs
      const statement = op.redeem(this.identity, this.#token, slot, joiner, facts, atMs)
      this.#say(statement)
      this.#tell({ type: 'ledger-entries', entries: [encodeStatement(statement)] })
    }
  }

  #keep(entries: Uint8Array[]): void {
    for (const entry of entries) if (isOfUse(entry)) this.#heard.push(entry)
    this.#heard = this.#heard.slice(-64)
  }

  #tell(frame: ReplicaFrame): void {
    const message: LinkMessage = { frame }
    const { network, links } = this.#around
    const peers = links.peers(this.id)
    if (peers.length > 0) links.send(this.id, network.world.pick(peers), message)
  }

  #forged(): Statement {
    const { world } = this.#around.network
    const n = 200 + world.integer(2)
    const bodies: Statement['body'][] = [
      { kind: 'roles', id: op.identity('node 0').id, roles: [], revision: 1_000, atMs: 1 },
      { kind: 'remove', id: op.identity('node 0').id, reason: 'evicted', atMs: 1 },
      { kind: 'admit', node: op.factsOf(n), atMs: 0 },
      { kind: 'config', revision: 1_000, parent: '', text: op.documentText(1), note: '', atMs: 1 },
      // A leave of a node that never was: validly signed, and yet of no use.
      { kind: 'remove', id: op.identity(`node ${n}`).id, reason: 'left', atMs: 1 },
    ]
    const body = world.pick(bodies)
    const isLeave = body.kind === 'remove' && body.reason === 'left'
    const signer = isLeave ? op.identity(`node ${n}`) : this.identity
    const key = `${this.id} ${n} ${bodies.indexOf(body)}`
    const made = forgeries.get(key) ?? signStatement(op.CLUSTER, isLeave ? body.id : 'operator', body, signer)
    forgeries.set(key, made)
    return made
  }

  /** Of an invented peer with a founder's name, from before its token was made. */
  #backdated(): Statement {
    const { world } = this.#around.network
    const { name, address } = op.factsOf(0)
    const n = 200 + world.integer(2)
    const key = `${this.id} ${this.#token.body.token} ${n} backdated`
    const facts = op.factsOf(n, { name, address })
    const made =
      forgeries.get(key) ?? op.redeem(this.identity, this.#token, 1, op.identity(`node ${n}`), facts, 0)
    forgeries.set(key, made)
    return made
  }

  #altered(): Uint8Array {
    const { world } = this.#around.network
    if (this.#heard.length === 0) return world.bytes(20)
    const statement = JSON.parse(Buffer.from(world.pick(this.#heard)).toString()) as Statement
    statement.body.atMs += 1
    return Buffer.from(canonical(statement))
  }

  #entry(): Uint8Array {
    const { world } = this.#around.network
    const dice = world.integer(5)
    if (dice === 0) return world.bytes(world.integer(200))
    if (dice === 1) return encodeStatement(this.#forged())
    if (dice === 2) return this.#altered()
    if (dice === 3) return encodeStatement(this.#backdated())
    return this.#heard.length > 0 ? world.pick(this.#heard) : new Uint8Array(0)
  }

  #lie(): void {
    if (!this.#isActive) return
    const { network, links } = this.#around
    const { world } = network
    const hashes = Array.from({ length: world.integer(5) }, () =>
      Buffer.from(world.bytes(32)).toString('hex'),
    )
    const entries = Array.from({ length: 1 + world.integer(3) }, () => this.#entry())
    const frames: ReplicaFrame[] = [
      { type: 'ledger-list', hashes },
      { type: 'ledger-want', hashes },
      { type: 'ledger-entries', entries },
    ]
    this.#tell(world.pick(frames))
    if (world.chance(0.3))
      this.#around.links.peers(this.id).forEach(peer => {
        links.send(this.id, peer, { digest: BigInt(world.integer(2 ** 30)) })
      })
    if (world.chance(0.2))
      for (const peer of links.peers(this.id))
        network.datagram(this.id, peer, { number: -world.integer(2 ** 30), origin: this.id, entries })
    world.after(EVERY_MS, () => this.#lie())
  }
}
