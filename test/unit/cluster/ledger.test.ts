import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Ledger } from '../../../src/cluster/ledger.ts'
import { signStatement, statementHash } from '../../../src/cluster/statement.ts'
import type { NodeFacts, Statement } from '../../../src/cluster/types.ts'
import { clusterView } from '../../../src/cluster/view.ts'
import { RememberingLedger } from '../../support/sim/cluster-run.ts'
import * as op from '../../support/sim/operator.ts'

const it = suite('ledger and view')
const ids = [0, 1, 2, 3, 4].map(n => op.identity(`node ${n}`))
const leave = (n: number, atMs = 5): Statement =>
  signStatement(op.CLUSTER, ids[n]!.id, { kind: 'remove', id: ids[n]!.id, reason: 'left', atMs }, ids[n]!)
const evict = (n: number, atMs = 5): Statement =>
  op.order({ kind: 'remove', id: ids[n]!.id, reason: 'evicted', atMs })
const roles = (n: number, revision: number, atMs = 1): Statement =>
  op.order({ kind: 'roles', id: ids[n]!.id, roles: ['host'], revision, atMs })
const token = op.tokenFor(ids[0]!, 'ledger', 2, 1_000)
const redeemed = (n: number, slot: number): Statement =>
  op.redeem(ids[0]!, token, slot, ids[n]!, op.factsOf(n), n)
const base = [op.genesis(), op.secret(1), op.admit(op.factsOf(0), 1)]
const ledgerOf = (statements: Statement[]): RememberingLedger => {
  const ledger = new RememberingLedger(op.CLUSTER)
  for (const statement of statements) ledger.add(statement)
  return ledger
}
const viewOf = (...more: Statement[]) => clusterView(ledgerOf([...base, ...more]))!

it('says what became of a statement', () => {
  const ledger = new Ledger(op.CLUSTER)
  assert.is(ledger.add(roles(1, 2)), 'new')
  assert.is(ledger.add(roles(1, 2)), 'known')
  assert.is(ledger.add(roles(1, 1)), 'stale')
  assert.is(ledger.add(roles(1, 3)), 'new')
  assert.is(ledger.hashes().length, 1)
  assert.type(ledger.add({ ...roles(2, 1), signature: roles(2, 2).signature }), 'object')
  assert.type(ledger.add({} as Statement), 'object')
})

it('holds the same whatever the order, also when gathered in parts', () => {
  const configs = Array.from({ length: 40 }, (_, i) => op.config(1 + (i >> 1), '', i))
  const secrets = Array.from({ length: 20 }, (_, i) =>
    op.secret(1 + (i >> 1), i === 3 ? [ids[2]!.id] : [], 1, i % 3),
  )
  const all = [
    ...[...base, ...configs, ...secrets, op.genesis(2), op.admit(op.factsOf(0, { name: 'other' }), 3)],
    ...[1, 2, 3].flatMap(n => [redeemed(n, 1), redeemed(n, 2), roles(n, 1), roles(n, 1, 2), roles(n, 2)]),
    ...[evict(1), evict(1, 6), evict(2)],
    ...['*', 'web'].flatMap(app => [1, 2].map(n => op.directive(ids[0]!.id, app, 'draining', n))),
    op.directive(ids[0]!.id, 'web', 'inactive', 2),
  ]
  const expected = ledgerOf(all)
  fc.assert(
    fc.property(fc.shuffledSubarray(all, { minLength: all.length }), fc.nat(all.length), (order, cut) => {
      const parts = [order.slice(0, cut), order.slice(cut)].map(ledgerOf)
      const joined = ledgerOf(parts.flatMap(part => part.statements()).reverse())
      assert.equal(joined.hashes(), expected.hashes())
      assert.is(joined.digest(), expected.digest())
      assert.equal(clusterView(joined), clusterView(expected))
    }),
    { numRuns: 50 },
  )
})

it('what it gives out fills another ledger to the same', () => {
  const ledger = ledgerOf([...base, redeemed(1, 1), leave(1), op.secret(2)])
  assert.is(ledgerOf(ledger.statements()).digest(), ledger.digest())
})

it('keeps 32 revisions and 8 secrets, and no more of an evil issuer than three a place', () => {
  const many = Array.from({ length: 50 }, (_, i) => [op.config(i + 1, '', i), op.secret(i + 1)]).flat()
  const ledger = ledgerOf(many)
  assert.is(ledger.hashes().length, 40)
  const twins = ledgerOf([1, 2, 3, 4].map(n => redeemed(n, 1)))
  assert.is(twins.hashes().length, 3)
})

it('keeps a secret that excludes a node until its removal is known', () => {
  const later = Array.from({ length: 20 }, (_, i) => op.secret(i + 2))
  const excluding = op.secret(1, [ids[1]!.id])
  const ledger = ledgerOf([excluding, ...later])
  assert.ok(ledger.has(statementHash(excluding)))
  assert.ok(ledger.removed(ids[1]!.id))
  ledger.add(evict(1))
  assert.not.ok(ledger.has(statementHash(excluding)))
  assert.ok(ledger.removed(ids[1]!.id))
  assert.is(ledger.add(excluding), 'stale')
})

it('a leave counts only beside an admission, so that strangers cannot fill the ledger', () => {
  const ledger = new Ledger(op.CLUSTER)
  assert.is(ledger.add(leave(1)), 'stale')
  ledger.add(op.admit(op.factsOf(1), 1))
  assert.is(ledger.add(leave(1)), 'new')
})

it('there is no view before a genesis and a secret', () => {
  assert.is(clusterView(ledgerOf([op.genesis()])), null)
  assert.is(clusterView(ledgerOf([op.secret(1)])), null)
  assert.equal(
    viewOf().members.map(m => m.name),
    ['n0'],
  )
})

it('the earlier of two with one name or address is the member', () => {
  const late = op.admit(op.factsOf(1, { name: 'n0' }), 2)
  assert.match(viewOf(late).conflicts[0]!.why, /n0 has the name n0/)
  const crossed = op.admit(op.factsOf(1, { address: '10.1.0.0' }), 2)
  assert.match(viewOf(crossed).conflicts[0]!.why, /address 10.1.0.0/)
  assert.equal(
    viewOf(late, evict(0)).members.map(m => m.id),
    [ids[1]!.id],
    'free again after an eviction',
  )
})

it('a place of a token is for one', () => {
  const view = viewOf(redeemed(1, 1), redeemed(2, 1), redeemed(3, 2))
  assert.equal(
    view.conflicts.map(c => c.id),
    [ids[2]!.id],
  )
  assert.match(view.conflicts[0]!.why, /^n0 gave the same place of a join token to n1 as well/)
  assert.is(view.members.length, 3)
})

it('a place is that of the first admission, whatever hashes an issuer makes up for later ones', () => {
  const honest = redeemed(1, 1)
  const later = Array.from({ length: 20 }, (_, i) =>
    op.redeem(ids[0]!, token, 1, ids[2 + (i & 1)]!, op.factsOf(2 + (i & 1)), 100 + i),
  )
  assert.ok(later.some(s => statementHash(s) < statementHash(honest)))
  for (const order of [
    [honest, ...later],
    [...later, honest],
  ])
    assert.ok(
      viewOf(...order).members.some(m => m.id === ids[1]!.id),
      'an honest member was erased',
    )
})

it('a token displaces nobody who was admitted before it was made', () => {
  const old = op.tokenFor(ids[0]!, 'old', 2, 1_000, 100)
  const late = op.tokenFor(ids[3]!, 'late', 2, 1_000, 200)
  const twin = (facts: Partial<NodeFacts>, atMs: number): Statement =>
    op.redeem(ids[3]!, late, 1, op.identity('impostor'), { ...op.factsOf(9, facts), ...impostor }, atMs)
  const impostor = { id: op.identity('impostor').id }
  const members = [
    // The operator's own, whose time is later than that of both tokens, and one by the earlier token, as late as that allows.
    op.admit(op.factsOf(1), 5_000),
    op.redeem(ids[0]!, old, 1, ids[2]!, op.factsOf(2), 999),
  ]
  for (const [n, victim] of [1, 2].entries())
    for (const facts of [
      { name: `n${victim}` },
      { address: op.factsOf(victim).address },
      { tunnel: op.factsOf(victim).tunnel! },
      { address: op.factsOf(victim).tunnel! },
    ]) {
      const view = viewOf(...members, twin(facts, 200))
      assert.equal(
        view.conflicts.map(c => c.id),
        [impostor.id],
        `${n} ${JSON.stringify(facts)}`,
      )
      assert.is(view.members.length, 3)
    }
  const backdated = twin({ name: 'n1' }, 199)
  const ledger = ledgerOf(base)
  assert.equal(ledger.add(backdated), { refused: 'the token was not made yet' })
  assert.equal(ledger.add(twin({ name: 'n1' }, 1_000)), { refused: 'the token had expired' })
})

it('IPv6 addresses are facts of a member, and one node has each alone', () => {
  const six = { address6: 'fd00::1', tunnel6: 'fd01::1' }
  const first = op.admit(op.factsOf(1, six), 2)
  const { members } = viewOf(first)
  assert.equal(
    members.map(({ name, address6, tunnel6 }) => [name, address6, tunnel6]),
    [
      ['n0', undefined, undefined],
      ['n1', 'fd00::1', 'fd01::1'],
    ],
  )
  for (const claim of [
    { address6: 'fd00::1' },
    { address6: 'fd01::1' },
    { address6: 'fd00::2', tunnel6: 'fd00::1' },
  ]) {
    const view = viewOf(first, op.admit(op.factsOf(2, claim), 3))
    assert.equal(
      view.conflicts.map(({ name }) => name),
      ['n2'],
      JSON.stringify(claim),
    )
  }
  for (const address6 of ['fe80::1', 'FD00::1', 'fd00::1%eth0', '10.0.0.1', '::'])
    assert.throws(() => op.admit(op.factsOf(2, { address6 }), 3), /not a valid statement: body.node.address6/)
})

it('members go for ever, by the operator, by themselves or by exclusion', () => {
  const admits = [1, 2, 3].map(n => op.admit(op.factsOf(n), n + 1))
  const view = viewOf(...admits, leave(1), evict(2, 7), op.secret(2, [ids[3]!.id], 9))
  assert.equal(
    view.departed.map(d => [d.name, d.reason, d.atMs]),
    [
      ['n1', 'left', 5],
      ['n2', 'evicted', 7],
      ['n3', 'evicted', 9],
    ],
  )
  assert.is(viewOf(...admits, leave(1), evict(1)).departed[0]!.reason, 'evicted')
})

it('roles: the highest revision, and no forwarder without a tunnel', () => {
  const { tunnel: _, ...facts } = op.factsOf(1)
  const view = viewOf(op.admit(facts, 2), roles(0, 1))
  assert.equal(
    view.members.map(m => [m.roles, m.rolesRevision]),
    [
      [['host'], 1],
      [['classifier', 'host'], 0],
    ],
  )
})

it('of two secrets of one number the one that keeps out more is in force', () => {
  for (const salt of [0, 1, 2, 3]) {
    const shutting = op.secret(2, [ids[1]!.id], 1, salt)
    assert.is(viewOf(op.secret(2, [], 1, 50), shutting).secrets[0]!.hash, statementHash(shutting))
  }
})

it('the newest revision that parses is in force; its parents are past, others lost', () => {
  const first = op.config(1, '', 1)
  const [left, right] = [op.config(2, statementHash(first), 2), op.config(2, statementHash(first), 3)]
  const broken = op.config(3, statementHash(right), 4, 'version: 99')
  const view = viewOf(first, left, right, broken)
  assert.equal(
    view.revisions.map(r => [r.revision, r.atMs, r.state]),
    [
      [3, 4, 'lost'],
      [2, 3, 'current'],
      [2, 2, 'lost'],
      [1, 1, 'past'],
    ],
  )
  assert.is(view.document?.services[0]?.port, 2)
})

it('of the orders about an application of a host the newest is in force; only the operator gives them', () => {
  const id = ids[0]!.id
  const view = viewOf(
    op.directive(id, 'web', 'active', 2),
    op.directive(id, 'web', 'draining', 1),
    op.directive(id, '*', 'draining', 1),
    op.directive(ids[1]!.id, '*', 'draining', 1),
  )
  assert.equal(view.members[0]!.directives, [
    { app: '*', state: 'draining', revision: 1 },
    { app: 'web', state: 'active', revision: 2 },
  ])
  const ledger = ledgerOf(base)
  const forged = signStatement(
    op.CLUSTER,
    id,
    { kind: 'directive', id, app: '*', state: 'draining', revision: 1, atMs: 1 },
    ids[0]!,
  )
  assert.match((ledger.add(forged) as { refused: string }).refused, /operator/)
})

it.run()
