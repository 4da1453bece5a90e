/** The agent's side of a managed cluster without an agent: what it does in a conflict, with a full disk, with peers that send nonsense. */
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pino from 'pino'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Managed } from '../../../src/agent/cluster/managed.ts'
import { Refusals } from '../../../src/agent/cluster/refusals.ts'
import { EventLog } from '../../../src/agent/events.ts'
import { signStatement } from '../../../src/cluster/statement.ts'
import { loadCluster, saveCluster } from '../../../src/cluster/store.ts'
import type { NodeFacts, Statement } from '../../../src/cluster/types.ts'
import { parseNodeFile } from '../../../src/config/load.ts'
import { ShuntError } from '../../../src/errors.ts'
import * as op from '../../support/sim/operator.ts'

const it = suite('agent/cluster/managed')
const dirs: string[] = []
const running: Managed[] = []
it.after.each(() => {
  for (const managed of running.splice(0)) managed.stop()
})
it.after(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
})
const AGAIN_MS = 20
const id = (n: number): string => op.identity(`node ${n}`).id
const issuer = op.identity('node 0')

/** n0 is the operator's, and n1 joined at it by a token. */
const token = op.tokenFor(issuer, 'managed', 4, 1_000, 100)
const joined = op.redeem(issuer, token, 1, op.identity('node 1'), op.factsOf(1), 500)
const first = [op.genesis(), op.secret(1), op.admit(op.factsOf(0), 1), joined]

/** The node n1, with what it has on its disk. */
const start = (dir?: string) => {
  const stateDir = dir ?? mkdtempSync(join(tmpdir(), 'shunt-managed-'))
  if (dir === undefined) {
    dirs.push(stateDir)
    saveCluster(stateDir, op.CLUSTER, first)
  }
  const file = parseNodeFile(
    `version: 1
node: {name: n1, identityFile: /x, stateDir: ${stateDir}, controlSocket: /x/c, appSocket: /x/a}
interfaces: {uplink: [eth0], cluster: [eth0]}
addresses: {cluster: 10.0.0.1, tunnel: 10.1.0.1}
`,
    'n1',
  )
  const events = new EventLog(undefined, Date.now)
  const log = pino({ level: 'silent' })
  const managed = new Managed({ file, ownId: id(1), log, events, saveAgainMs: AGAIN_MS })
  running.push(managed)
  const told = (kind: string): string[] =>
    events.query({ after: 0, limit: 1_000 }).events.flatMap(e => (e.kind === kind ? [e.text] : []))
  return { managed, stateDir, told }
}
/** The issuer, which is evil, lets in another one with what is n1's: before it, by the same token. */
const impostor = (slot: number, facts: Partial<NodeFacts>, atMs = 100, n = 9): Statement =>
  op.redeem(issuer, token, slot, op.identity(`node ${n}`), op.factsOf(n, facts), atMs)
const take = (managed: Managed, statements: Statement[]): void => void managed.submit(statements)
const names = (managed: Managed): string[] => managed.situation.config.peers.map(p => `${p.name} ${p.id}`)

it('a member whose admission comes into conflict goes on, says so, and is a member again after the eviction', () => {
  for (const facts of [{ name: 'n1' }, { address: '10.0.0.1' }, { tunnel: '10.0.0.1' }]) {
    const { managed, stateDir, told } = start()
    const before = managed.situation.config
    take(managed, [impostor(2, facts)])
    assert.is(managed.expelled(), undefined)
    assert.is(managed.standing.kind, 'conflict')
    assert.equal(managed.situation.config.roles, before.roles)
    assert.equal(names(managed), [`n0 ${id(0)}`], 'it keeps its links, and has none to the other one')
    assert.is(told('member.conflict').length, 1)
    managed.stop()

    const again = start(stateDir)
    assert.is(again.managed.expelled(), undefined, 'nor does it end at the next start')
    assert.equal(names(again.managed), [`n0 ${id(0)}`])
    assert.match(again.told('member.conflict')[0]!, /no member for now: .*evict/)
    take(again.managed, [op.order({ kind: 'remove', id: id(9), reason: 'evicted', atMs: 600 })])
    assert.is(again.managed.standing.kind, 'member')
    assert.equal(again.managed.situation.config.roles, before.roles)
    again.managed.stop()
  }
})

it('goes on also when its place of the token is given to others, or it is forced out of that', () => {
  const { managed, told } = start()
  take(managed, [impostor(1, {})])
  assert.is(managed.standing.kind, 'conflict')
  assert.match(told('member.conflict')[0]!, /n0 gave the same place of a join token to n9 as well/)
  take(managed, [impostor(1, {}, 101, 10), impostor(1, {}, 102, 11)])
  assert.is(managed.standing.kind, 'unknown')
  assert.is(managed.expelled(), undefined)
  assert.ok(told('member.conflict').some(text => text.startsWith('n1 ')))
  assert.ok(names(managed).includes(`n0 ${id(0)}`))
})

it('ends for an eviction and after its own leave, also when it was in conflict', () => {
  const leave = signStatement(
    op.CLUSTER,
    id(1),
    { kind: 'remove', id: id(1), reason: 'left', atMs: 600 },
    op.identity('node 1'),
  )
  for (const [statement, why] of [
    [leave, /has left/],
    [op.order({ kind: 'remove', id: id(1), reason: 'evicted', atMs: 600 }), /was evicted/],
  ] as const) {
    const { managed, stateDir } = start()
    take(managed, [impostor(2, { name: 'n1' })])
    take(managed, [statement])
    assert.match(managed.expelled()!, why)
    managed.stop()
    assert.throws(
      () => start(stateDir),
      (e: Error) => e instanceof ShuntError && e.code === 'SHUNT_ERR_STATE' && why.test(e.message),
    )
  }
})

it('what cannot be saved is not reported as accepted, is told once, and is saved when that works again', async () => {
  const { managed, stateDir, told } = start()
  const held = (): number => loadCluster(stateDir)!.statements.length
  const before = held()
  const away = `${stateDir}.away`
  dirs.push(away)
  renameSync(stateDir, away)
  const change = [op.config(1, '', 10)]
  const unsaved = (e: Error): boolean =>
    e instanceof ShuntError &&
    e.code === 'SHUNT_ERR_STATE' &&
    /could not be saved here: .*make room/.test(e.message)
  assert.throws(() => managed.submit(change), unsaved)
  assert.throws(() => managed.submit(change), unsaved, 'nor when it is said again')
  assert.is(managed.view.revisions.length, 1, 'it is in force all the same')
  await delay(5 * AGAIN_MS)
  assert.is(told('state.unsaved').length, 1)
  renameSync(away, stateDir)
  for (let waited = 0; held() === before && waited < 5_000; waited += AGAIN_MS) await delay(AGAIN_MS)
  assert.is(held(), before + 1)
  assert.is(told('state.saved').length, 1)
  assert.equal(managed.submit(change), { accepted: 0, known: 1 })
})

it('what comes in while the disk is full is saved at the end at the latest', () => {
  const { managed, stateDir } = start()
  const away = `${stateDir}.away`
  dirs.push(away)
  renameSync(stateDir, away)
  assert.throws(() => managed.submit([op.config(1, '', 10)]))
  renameSync(away, stateDir)
  managed.stop()
  assert.ok(loadCluster(stateDir)!.statements.some(s => s.body.kind === 'config'))
})

it('a statement that is not taken is not reported as accepted', () => {
  const { managed } = start()
  take(managed, [impostor(2, {}, 100, 9), impostor(2, {}, 101, 10), impostor(2, {}, 102, 11)])
  assert.throws(() => managed.submit([impostor(2, {}, 103, 12)]), /was not taken/)
})

it('of the refused statements of a peer one is told a minute, with a count', () => {
  const refusals = new Refusals()
  assert.is(refusals.refused('n1', 'why', 0), 'a statement from n1 was refused: why')
  for (let i = 1; i <= 5_000; i++) assert.is(refusals.refused('n1', 'why', i), undefined)
  assert.is(refusals.refused('n2', 'why', 10), 'a statement from n2 was refused: why')
  assert.match(refusals.refused('n1', 'other', 60_000)!, /refused \(and 5000 .* before it\): other/)
  assert.is(refusals.refused('n1', 'other', 60_001), undefined)
  assert.is(
    refusals.refused('n1', 'other', 200_000),
    'a statement from n1 was refused (and 1 list of statements before it): other',
  )
})

it.run()
