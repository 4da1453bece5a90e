/** What a change of the cluster means to an agent: what it takes from an operator, what it tells, what it runs by. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Situations } from '../../../src/agent/cluster/situation.ts'
import { checkSubmit, MAX_SUBMIT } from '../../../src/agent/cluster/submit-check.ts'
import { viewEvents } from '../../../src/agent/cluster/view-events.ts'
import { Ledger } from '../../../src/cluster/ledger.ts'
import { statementHash } from '../../../src/cluster/statement.ts'
import type { ClusterView, Statement } from '../../../src/cluster/types.ts'
import { clusterView } from '../../../src/cluster/view.ts'
import { parseNodeFile } from '../../../src/config/load.ts'
import { ShuntError } from '../../../src/errors.ts'
import * as op from '../../support/sim/operator.ts'

const it = suite('what a change of the cluster means to an agent')

const first = [op.genesis(), op.secret(1), op.admit(op.factsOf(0), 1), op.admit(op.factsOf(1), 2)]
const one = op.config(1, '', 10)
const viewOf = (...more: Statement[]): ClusterView => {
  const ledger = new Ledger(op.CLUSTER)
  for (const statement of [...first, ...more]) ledger.add(statement)
  return clusterView(ledger)!
}
const id = (n: number): string => op.identity(`node ${n}`).id
const roles = (n: number, revision: number, ...to: ('forwarder' | 'classifier' | 'host')[]): Statement =>
  op.order({ kind: 'roles', id: id(n), roles: to, revision, atMs: 20 })
const evict = (n: number): Statement => op.order({ kind: 'remove', id: id(n), reason: 'evicted', atMs: 30 })
const tells = (before: ClusterView, now: ClusterView): string[] =>
  viewEvents(before, now).map(
    ({ kind, severity, subject, text }) => `${kind} ${severity} ${subject}: ${text}`,
  )

it('takes what was made against what is held here, and nothing else', () => {
  const view = viewOf(one)
  const submit = (statements: Statement[], known: Statement[] = []): string => {
    try {
      checkSubmit(view, statements, s => known.includes(s))
      return 'taken'
    } catch (error) {
      assert.instance(error, ShuntError)
      return `${(error as ShuntError).code} ${(error as ShuntError).message}`
    }
  }
  const hash = statementHash(one)
  assert.is(submit([op.config(2, hash, 11)]), 'taken')
  assert.match(submit([op.config(2, '', 11)]), /^SHUNT_ERR_CONFLICT the document in force is revision 1 \(/)
  assert.match(submit([op.config(3, hash, 11)]), /^SHUNT_ERR_CONFLICT/)
  assert.match(
    submit([op.config(2, hash, 11, 'version: 1\nservices: 7\n')]),
    /^SHUNT_ERR_STATEMENT document:2:11/,
  )
  assert.is(submit([roles(0, 1, 'host')]), 'taken')
  assert.match(submit([roles(0, 2, 'host')]), /^SHUNT_ERR_CONFLICT the roles of n0 were changed meanwhile/)
  assert.match(submit([roles(7, 1, 'host')]), /^SHUNT_ERR_STATEMENT no member has the id/)
  assert.is(submit([op.secret(2)]), 'taken')
  assert.match(submit([op.secret(3)]), /^SHUNT_ERR_CONFLICT the newest secret is 1/)
  assert.match(submit([op.genesis(9)]), /the cluster exists already/)
  assert.match(
    submit([{ ...roles(0, 1, 'host'), signature: roles(0, 1).signature }]),
    /signature does not hold/,
  )
  // All or none; what is known already needs no place.
  assert.match(submit([roles(0, 1, 'host'), roles(1, 5)]), /^SHUNT_ERR_CONFLICT/)
  assert.is(submit([one], [one]), 'taken')
  assert.match(submit([]), /1 to 64 statements/)
  assert.match(submit(Array.from({ length: MAX_SUBMIT + 1 }, () => one)), /not 65/)
})

it('takes a removal of a member or of one that clashes with a member, and no former member back', () => {
  const clash = op.admit(op.factsOf(2, { name: 'n0' }), 5)
  const view = viewOf(clash, evict(1))
  assert.not.throws(() => checkSubmit(view, [evict(2)], () => false))
  assert.throws(() => checkSubmit(view, [evict(3)], () => false), /no member/)
  assert.throws(() => checkSubmit(view, [op.admit(op.factsOf(1), 40)], () => false), /needs a new identity/)
})

it('tells each change once, in words', () => {
  const before = viewOf(one)
  assert.equal(tells(before, before), [])
  const two = op.config(2, statementHash(one), 11)
  const lost = op.config(2, statementHash(one), 9)
  const now = viewOf(one, two, lost, op.admit(op.factsOf(2), 3), roles(1, 1, 'host'), evict(0), op.secret(2))
  const said = tells(before, now)
  assert.is(said.length, 6)
  assert.match(said[0]!, 'member.roles info n1: roles of n1 are now host (were forwarder, classifier, host)')
  assert.match(said[1]!, 'member.joined info n2: n2 joined at 10.0.0.2')
  assert.match(said[2]!, 'member.evicted warning n0: n0 was evicted')
  assert.match(said[3]!, 'config.applied info -: revision 2 of the cluster document')
  assert.match(said[4]!, /^config.lost warning -: revision 2, [0-9a-f]{8}, lost against another/)
  assert.match(said[5]!, 'keys.rotated info -: cluster secret 2 replaces 1')
  assert.match(
    tells(before, viewOf(one, op.admit(op.factsOf(2, { address: '10.0.0.0' }), 3)))[0]!,
    /^member.conflict error n2: .* n0 has the address 10.0.0.0/,
  )
})

const FILE = parseNodeFile(
  `version: 1
node: {name: n0, identityFile: /x, stateDir: /x, controlSocket: /x/c, appSocket: /x/a}
interfaces: {uplink: [eth0], cluster: [eth0]}
addresses: {cluster: 10.0.0.0, tunnel: 10.1.0.0}
`,
  'n0',
)
const READY = { allSynced: true, ready: () => true }

it('runs by the document for members that are hosts; one that lost its role is kept for what it carries', () => {
  const situations = new Situations(FILE, id(0))
  const text = op.documentText(80).replace('{name: n0}', '{name: n0}, {name: n1}, {name: n9}')
  const document = op.config(1, '', 10, text)
  const start = situations.step(viewOf(document), READY, 0).situation
  assert.equal(start.config.roles, ['forwarder', 'classifier', 'host'])
  assert.equal(
    start.config.peers.map(peer => peer.name),
    ['n1'],
  )
  assert.equal(
    start.config.services.map(s => s.hosts.map(h => h.name)),
    [['n0', 'n1']],
  )
  assert.is(start.revision, 1)
  assert.is(start.leaving.size, 0)
  const { situation, wakeAtMs } = situations.step(viewOf(document, roles(1, 1, 'classifier')), READY, 1_000)
  assert.equal([...situation.leaving], ['n1'])
  assert.ok(situation.config.peers[0]!.roles.includes('host'), 'its host role is kept for its flows')
  assert.ok(wakeAtMs > 1_000 && Number.isFinite(wakeAtMs))
  const later = situations.step(viewOf(document, roles(1, 1, 'classifier')), READY, wakeAtMs).situation
  assert.is(later.leaving.size, 0)
  assert.equal(later.config.peers[0]!.roles, ['classifier'])
  assert.equal(
    later.config.services.map(s => s.hosts.map(h => h.name)),
    [['n0']],
  )
})

it('the network keys of the last secrets open the door, the one that signs first', () => {
  const situations = new Situations(FILE, id(0))
  situations.step(viewOf(), READY, 0)
  const rotated = viewOf(...[2, 3, 4, 5, 6].map(n => op.secret(n)))
  const { situation } = situations.step(rotated, { allSynced: false, ready: () => false }, 10)
  const numbers = situation.network.map(secret => secret.number)
  assert.is(numbers[0], situation.secrets[0]!.secret.number)
  assert.is(new Set(numbers).size, numbers.length)
  for (const n of [3, 4, 5, 6]) assert.ok(numbers.includes(n))
})

it.run()
