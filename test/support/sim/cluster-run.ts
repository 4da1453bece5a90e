/**
 * A simulated cluster and its operator: random orders at random nodes, tokens, evictions, crashes, partitions, and one member
 * that lies. Invariants hold at every change of every ledger; at the end everyone agrees.
 */
import * as assert from 'uvu/assert'
import { Ledger } from '../../../src/cluster/ledger.ts'
import type { Entry } from '../../../src/cluster/precedence.ts'
import { signStatement, statementHash } from '../../../src/cluster/statement.ts'
import type { Member, Statement } from '../../../src/cluster/types.ts'
import { clusterView } from '../../../src/cluster/view.ts'
import { ROLES } from '../../../src/config/schema.ts'
import { ClusterNode, type Gossip, type LinkMessage, type Surroundings } from './cluster-node.ts'
import { Liar } from './liar.ts'
import { Links } from './links.ts'
import { Network } from './network.ts'
import * as op from './operator.ts'
import { World } from './world.ts'

const verdicts = new Map<string, string | undefined>()
/** Verdicts do not depend on the run: a signature is checked once for all nodes. */
export class RememberingLedger extends Ledger {
  protected override verify(entry: Entry): string | undefined {
    if (!verdicts.has(entry.hash)) verdicts.set(entry.hash, super.verify(entry))
    return verdicts.get(entry.hash)
  }
}

export type Bugs = Partial<Pick<Surroundings, 'makeLedger' | 'servesEvicted' | 'ignoresLists'>>

export class ClusterRun {
  readonly world: World
  readonly nodes = new Map<string, ClusterNode>()
  readonly #network: Network<Gossip>
  readonly #links: Links<LinkMessage>
  readonly #around: Surroundings
  /** Everything that was ever validly signed. */
  readonly #said = new Set<string>()
  /** Peer ids that must never hold a secret, by its hash. */
  readonly #keptFrom = new Map<string, Set<string>>()
  readonly #accepted = new Set<string>()
  /** Nodes that do not give orders: they may turn out to be no members. */
  readonly #doubtful = new Set<string>()
  /** Those whom nothing but the operator or themselves can take out: the operator admitted them. */
  readonly #founders = new Set<string>()
  readonly #liar: Liar
  #gossips = 0
  #numbers = 0
  #signedMs: number

  constructor(seed: number, bugs: Bugs = {}) {
    this.world = new World(seed)
    const { world } = this
    this.#signedMs = world.nowMs
    this.#network = new Network(world, {
      minDelayMs: 1,
      maxDelayMs: 1 + world.integer(150),
      loss: world.random() * 0.4,
      duplication: 0.1,
    })
    this.#links = new Links(this.#network)
    this.#around = {
      network: this.#network,
      links: this.#links,
      makeLedger: () => new RememberingLedger(op.CLUSTER),
      servesEvicted: false,
      ignoresLists: false,
      ...bugs,
      changed: (node, statements) => this.#check(node, statements),
      publish: (node, entries) => node.relay({ number: this.#gossips++, origin: node.id, entries }),
    }
    const facts = Array.from({ length: 2 + world.integer(7) }, () => op.factsOf(this.#numbers++))
    const liar = op.factsOf(this.#numbers++)
    const first = [op.genesis(), op.secret(1), ...[...facts, liar].map(f => op.admit(f, this.#atMs()))]
    for (const statement of first) this.#say(statement)
    for (const { id } of facts) this.#founders.add(id)
    for (const [i] of facts.entries()) this.#addNode(op.identity(`node ${i}`), first)
    const ends = world.nowMs * 2
    const token = op.tokenFor(op.identity(`node ${facts.length}`), `liar ${seed}`, 4, ends, world.nowMs)
    this.#liar = new Liar(op.identity(`node ${facts.length}`), this.#around, token, s => this.#say(s))
    this.#liar.start()
  }

  /** So much trouble, then peace, then everyone must agree. */
  play(orders: number): void {
    const { world } = this
    for (let i = 0; i < orders; i++) {
      world.after(0, () => this.#anything())
      world.run(world.integer(700))
    }
    this.#network.heal()
    this.#network.faults = { ...this.#network.faults, loss: 0.2 }
    for (const node of this.nodes.values()) if (!node.isUp) node.start()
    world.run(6_000)
    this.#liar.stop()
    world.run(6_000)
    this.#agree()
  }

  #addNode(identity: op.Identity, statements: Statement[]): void {
    const node = new ClusterNode(identity, this.#around, statements)
    this.nodes.set(identity.id, node)
    node.start()
  }

  #say(statement: Statement): Statement {
    this.#said.add(statementHash(statement))
    return statement
  }

  /** The operator's clock; no two statements of one instant, so that names have one first owner. */
  #atMs(): number {
    this.#signedMs = Math.max(this.#signedMs + 1, this.world.nowMs)
    return this.#signedMs
  }

  #submit(node: ClusterNode, statements: Statement[]): void {
    for (const statement of statements) this.#say(statement)
    for (const statement of statements) {
      if (statement.body.kind !== 'secret') continue
      const keptFrom = [...this.nodes.keys(), this.#liar.id].filter(
        id => node.ledger.removed(id) || statements.some(s => s.body.kind === 'remove' && s.body.id === id),
      )
      this.#keptFrom.set(statementHash(statement), new Set(keptFrom))
    }
    node.step({ on: 'submit', statements })
  }

  #anything(): void {
    const { world } = this
    const dice = world.integer(100)
    if (dice < 12) return this.#trouble(dice)
    const members = [...this.nodes.values()].filter(n => n.isMember && !this.#doubtful.has(n.id))
    if (members.length === 0) return
    const node = world.pick(members)
    if (dice < 40) this.#applyConfig(node)
    else if (dice < 55) this.#changeRoles(node)
    else if (dice < 70) this.#admit(node)
    else if (dice < 82) this.#rotate(node, [])
    else if (dice < 92) this.#rotate(node, [world.pick(node.view!.members).id])
    else if (dice < 95 && members.length > 2) this.#leave(node)
    else this.#liar.equivocate()
  }

  #trouble(dice: number): void {
    const { world } = this
    const ids = world.shuffled([...this.nodes.keys(), this.#liar.id])
    if (dice < 4) this.#network.partition(ids.slice(0, ids.length >> 1), ids.slice(ids.length >> 1))
    else if (dice < 7) this.#network.heal()
    else if (dice < 9) this.#links.cut(ids[0]!, ids[1]!)
    else {
      const node = world.pick([...this.nodes.values()])
      if (!node.isUp) return node.start()
      node.crash()
      world.after(world.integer(3_000), () => node.isUp || node.start())
    }
  }

  #applyConfig(node: ClusterNode): void {
    const current = node.view!.revisions.find(r => r.state === 'current')
    const revision = (current?.revision ?? 0) + 1
    const text = op.documentText(1 + this.world.integer(9))
    const statement = op.config(revision, current?.hash ?? '', this.#atMs(), text)
    this.#submit(node, [statement])
    this.#accepted.add(statementHash(statement))
  }

  #changeRoles(node: ClusterNode): void {
    const { id, rolesRevision } = this.world.pick(node.view!.members)
    if (this.world.chance(0.4)) return this.#direct(node, this.world.pick(node.view!.members))
    const roles = ROLES.filter(() => this.world.chance(0.6))
    this.#submit(node, [
      op.order({ kind: 'roles', id, roles, revision: rolesRevision + 1, atMs: this.#atMs() }),
    ])
  }

  #direct(node: ClusterNode, { id, directives }: Member): void {
    const app = this.world.pick(['*', 'web'])
    const revision = (directives.find(order => order.app === app)?.revision ?? 0) + 1
    const state = this.world.pick(['active', 'draining', 'inactive'] as const)
    this.#submit(node, [op.directive(id, app, state, revision, this.#atMs())])
  }

  /** Sometimes by a token, sometimes with a name that is taken. */
  #admit(node: ClusterNode): void {
    const { world } = this
    if (this.#numbers >= 12) return
    const n = this.#numbers++
    const joiner = op.identity(`node ${n}`)
    const isTwin = world.chance(0.2)
    const facts = op.factsOf(n, isTwin ? { name: `n${world.integer(n)}` } : {})
    if (isTwin) this.#doubtful.add(joiner.id)
    const token = op.tokenFor(node.identity, `${node.id} ${n}`, 1, world.nowMs * 2, this.#atMs())
    // The operator's own admissions come before all others: a twin by its own hand would take the name.
    const statement =
      !isTwin && world.chance(0.5)
        ? op.admit(facts, this.#atMs())
        : op.redeem(node.identity, token, 1, joiner, facts, this.#atMs())
    this.#submit(node, [statement])
    this.#addNode(joiner, node.ledger.statements())
  }

  #rotate(node: ClusterNode, evicted: string[]): void {
    if (evicted.includes(node.id)) return
    const number = node.view!.secrets[0]!.number + 1
    const removes = evicted.map(id => op.order({ kind: 'remove', id, reason: 'evicted', atMs: this.#atMs() }))
    this.#submit(node, [...removes, op.secret(number, evicted, this.#atMs(), this.world.integer(9))])
  }

  #leave(node: ClusterNode): void {
    const body = { kind: 'remove', id: node.id, reason: 'left', atMs: this.#atMs() } as const
    this.#submit(node, [signStatement(op.CLUSTER, node.id, body, node.identity)])
  }

  #check(node: ClusterNode, statements: Statement[]): void {
    for (const statement of statements) {
      const hash = statementHash(statement)
      assert.ok(this.#said.has(hash), `a forged statement (${statement.body.kind}) entered`)
      assert.not.ok(
        this.#keptFrom.get(hash)?.has(node.id),
        'a secret came to a node that was evicted before it',
      )
    }
    for (const id of this.#founders)
      if (!node.ledger.removed(id))
        assert.ok(
          node.view?.members.some(m => m.id === id) !== false,
          'a token took out a member of the operator',
        )
    assert.ok(node.ledger.hashes().length <= 400, 'the ledger grows without bound')
  }

  /**
   * Those who can speak to each other, directly or through others, hold the same. They are one group, except that a node whose
   * admission was known only to nodes that have been removed meanwhile is a stranger to the rest, and has to join again.
   */
  #agree(): void {
    const staying = [...this.nodes.values()].filter(n => !n.ledger.removed(n.id) && !this.#doubtful.has(n.id))
    const groups = components(staying, (a, b) => knows(a, b) && knows(b, a))
    for (const group of groups) this.#agreeIn(group)
    if (staying.some(n => staying.some(other => other.ledger.removed(n.id)))) return
    if (staying.length + this.#doubtful.size < this.nodes.size) return
    assert.ok(groups.length <= 1, 'nobody was removed, and yet there are strangers')
    if (this.#accepted.size >= 32) return
    const kept = staying[0]?.view?.revisions.map(r => r.hash) ?? []
    for (const hash of this.#accepted) assert.ok(kept.includes(hash), 'an accepted revision is forgotten')
  }

  #agreeIn(group: ClusterNode[]): void {
    const all = new RememberingLedger(op.CLUSTER)
    const statements = this.world.shuffled(group.flatMap(n => n.ledger.statements()))
    // Twice: a leave may come before its admission in that order.
    for (const statement of [...statements, ...statements]) all.add(statement)
    const view = clusterView(all)
    for (const node of group) {
      assert.is(node.ledger.digest(), all.digest(), `${node.id} holds another set`)
      assert.equal(node.view, view, `${node.id} sees another cluster`)
    }
  }
}

const knows = (a: ClusterNode, b: ClusterNode): boolean => a.view?.members.some(m => m.id === b.id) === true

const components = <T>(items: T[], joined: (a: T, b: T) => boolean): T[][] => {
  const left = new Set(items)
  const groups: T[][] = []
  for (const first of items) {
    if (!left.delete(first)) continue
    const group = [first]
    for (const a of group)
      for (const b of left)
        if (joined(a, b)) {
          left.delete(b)
          group.push(b)
        }
    groups.push(group)
  }
  return groups
}
