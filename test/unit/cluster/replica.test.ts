import { createHash } from 'node:crypto'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { canonical } from '../../../src/cluster/canonical.ts'
import { Replica, type ReplicaAction, type ReplicaEvent } from '../../../src/cluster/replica.ts'
import { REPLICA_DEFAULTS } from '../../../src/cluster/replica-peer.ts'
import { encodeStatement, signStatement, statementHash } from '../../../src/cluster/statement.ts'
import type { Statement } from '../../../src/cluster/types.ts'
import { RememberingLedger } from '../../support/sim/cluster-run.ts'
import * as op from '../../support/sim/operator.ts'

const it = suite('replica')
const A = op.identity('node 0').id
const B = op.identity('node 1').id
const base = [op.genesis(), op.secret(1), op.admit(op.factsOf(0), 1), op.admit(op.factsOf(1), 2)]

const start = (statements: Statement[] = base) => {
  const ledger = new RememberingLedger(op.CLUSTER)
  for (const statement of statements) ledger.add(statement)
  const replica = new Replica(ledger)
  let now = 0
  let wake = Number.POSITIVE_INFINITY
  const step = (event: ReplicaEvent, atMs = now): ReplicaAction[] => {
    now = atMs
    const { actions, wakeAtMs } = replica.step(event, now, 0)
    wake = wakeAtMs
    return actions
  }
  return { ledger, step, wakeAtMs: () => wake }
}
const sent = (actions: ReplicaAction[]) => actions.flatMap(a => (a.do === 'send' ? [a.frame] : []))
const types = (actions: ReplicaAction[]): string[] =>
  actions.map(a => (a.do === 'send' ? a.frame.type : a.do))
const entries = (actions: ReplicaAction[]): Uint8Array[] =>
  sent(actions).flatMap(f => (f.type === 'ledger-entries' ? f.entries : []))
const forged = (revision: number): Uint8Array =>
  encodeStatement(
    signStatement(
      op.CLUSTER,
      'operator',
      { kind: 'roles', id: A, roles: [], revision, atMs: 1 },
      op.identity('liar'),
    ),
  )

it('tells its list to a new peer, sends what that lacks and wants what it has', () => {
  const { ledger, step } = start()
  assert.equal(sent(step({ on: 'up', peer: A })), [{ type: 'ledger-list', hashes: ledger.hashes() }])
  const unknown = 'ab'.repeat(32)
  const answer = step({
    on: 'frame',
    peer: A,
    frame: { type: 'ledger-list', hashes: [unknown, ledger.hashes()[0]!] },
  })
  assert.equal(types(answer), ['ledger-entries', 'ledger-want'])
  assert.is(entries(answer).length, base.length - 1)
  assert.equal(sent(answer)[1], { type: 'ledger-want', hashes: [unknown] })
})

it('publishes what is submitted, once, and nothing that it learns', () => {
  const { step } = start()
  step({ on: 'up', peer: A })
  const statement = op.config(1, '', 1)
  assert.equal(types(step({ on: 'submit', statements: [statement] })), ['publish', 'changed'])
  const learnt = op.config(2, '', 2)
  const frame = { type: 'ledger-entries' as const, entries: [encodeStatement(learnt)] }
  assert.equal(types(step({ on: 'frame', peer: A, frame })), ['changed'])
  assert.equal(step({ on: 'published', peer: A, entries: frame.entries }), [])
})

it('secrets go over links only, after the removals, and never to whom they exclude', () => {
  const { step } = start()
  step({ on: 'up', peer: A })
  step({ on: 'up', peer: B })
  const remove = op.order({ kind: 'remove', id: B, reason: 'evicted', atMs: 3 })
  const secret = op.secret(2, [B])
  const actions = step({ on: 'submit', statements: [remove, secret] })
  const published = actions.flatMap(a => (a.do === 'publish' ? a.entries : []))
  assert.equal(published, [encodeStatement(remove)])
  assert.equal(
    actions.flatMap(a => (a.do === 'send' ? a.peer : [])),
    [A],
    'only A is told',
  )
  const held = base.map(statementHash)
  assert.equal(
    step({ on: 'frame', peer: B, frame: { type: 'ledger-want', hashes: [statementHash(secret)] } }),
    [],
  )
  assert.equal(step({ on: 'up', peer: B }), [])
  const answer = step({ on: 'frame', peer: A, frame: { type: 'ledger-list', hashes: held } })
  assert.equal(entries(answer), [remove, secret].map(encodeStatement))
})

it('lists again while digests differ: after a moment, then ever more rarely', () => {
  const { ledger, step, wakeAtMs } = start()
  step({ on: 'up', peer: A }, 0)
  step({ on: 'digest', peer: A, digest: ledger.digest() }, 0)
  assert.is(wakeAtMs(), Number.POSITIVE_INFINITY)
  step({ on: 'digest', peer: A, digest: 1n }, 10_000)
  const lists: number[] = []
  while (wakeAtMs() < 100_000) {
    const at = wakeAtMs()
    if (types(step({ on: 'wake' }, at)).includes('ledger-list')) lists.push(at - 10_000)
  }
  assert.equal(lists.slice(0, 5), [250, 1_250, 3_250, 7_250, 15_250])
  assert.ok(lists.length < 9, `${lists.length} lists`)
})

it('does not list when the difference goes away by itself', () => {
  const { ledger, step, wakeAtMs } = start()
  step({ on: 'up', peer: A }, 0)
  step({ on: 'digest', peer: A, digest: 1n }, 5_000)
  step({ on: 'digest', peer: A, digest: ledger.digest() }, 5_100)
  assert.is(wakeAtMs(), Number.POSITIVE_INFINITY)
})

it('a change in a cluster of 1,000 is followed by lists to nobody but those that do not follow it', () => {
  const { ledger, step, wakeAtMs } = start()
  const peers = Array.from({ length: 1000 }, (_, i) => `peer ${i}`)
  for (const peer of peers) step({ on: 'up', peer }, 0)
  for (const peer of peers) step({ on: 'digest', peer, digest: ledger.digest() }, 0)
  step({ on: 'submit', statements: [op.config(1, '', 1)] }, 10_000)
  const listed: { peer: string; atMs: number }[] = []
  const runTo = (untilMs: number): void => {
    while (wakeAtMs() <= untilMs) {
      const atMs = wakeAtMs()
      for (const action of step({ on: 'wake' }, atMs))
        if (action.do === 'send' && action.frame.type === 'ledger-list')
          listed.push({ peer: action.peer, atMs })
    }
  }
  // Their heartbeats take up to a second (gossip/pace.ts); one does not come.
  for (const [i, peer] of peers.slice(1).entries()) {
    runTo(10_000 + i)
    step({ on: 'digest', peer, digest: ledger.digest() }, 10_000 + i)
  }
  runTo(11_500)
  assert.equal(listed, [{ peer: 'peer 0', atMs: 11_000 }])
})

it('sends a statement once in two seconds, however often it is asked', () => {
  const { ledger, step } = start()
  step({ on: 'up', peer: A }, 0)
  const ask = { on: 'frame', peer: A, frame: { type: 'ledger-want', hashes: ledger.hashes() } } as const
  assert.is(entries(step(ask, 1)).length, base.length)
  assert.equal(step(ask, 2), [])
  assert.is(entries(step(ask, 2_001)).length, base.length)
})

it('endless questions go unanswered', () => {
  const { step } = start()
  step({ on: 'up', peer: A }, 0)
  const frame = { type: 'ledger-list' as const, hashes: ['cd'.repeat(32)] }
  const answered = Array.from({ length: 1_000 }, () => step({ on: 'frame', peer: A, frame }, 1).length > 0)
  assert.is(answered.filter(Boolean).length, 16)
})

it('ignores the entries of a peer after too many bad ones, for a while', () => {
  const { ledger, step } = start()
  step({ on: 'up', peer: A }, 0)
  const bad = Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? forged(i + 1) : Buffer.from(`{"${i}":1}`)))
  const actions = step({ on: 'frame', peer: A, frame: { type: 'ledger-entries', entries: bad } }, 1)
  assert.equal(types(actions), ['refused'])
  assert.match((actions[0] as { why: string }).why, /and 64 more.*ignored/)
  const good = encodeStatement(op.config(1, '', 1))
  const frame = { type: 'ledger-entries' as const, entries: [good] }
  assert.equal(step({ on: 'frame', peer: A, frame }, 2), [])
  assert.equal(types(step({ on: 'frame', peer: A, frame }, 31_000)), ['changed'])
  assert.is(ledger.hashes().length, base.length + 1)
})

const ofNewKind = (text: string): Uint8Array =>
  Buffer.from(canonical({ ...op.config(1, '', 1), body: { kind: 'news', atMs: 1, text } }))
const USELESS_FRAMES = Math.ceil(REPLICA_DEFAULTS.uselessBurst / 180_000)

it('entries of no use are not free: after some megabytes a peer is ignored for a while', () => {
  const text = `${op.documentText(1)}# ${'x'.repeat(100_000)}\n`
  const old = op.config(1, '', 1, text)
  const newer = Array.from({ length: 40 }, (_, i) => op.config(i + 2, '', i + 2))
  const useless: [string, (i: number) => Uint8Array[]][] = [
    ['known', () => Array.from({ length: 700 }, () => encodeStatement(base[0]!))],
    ['superseded', () => [encodeStatement(old), encodeStatement(old)]],
    ['of a new kind', i => [ofNewKind(`${i}${'x'.repeat(180_000)}`)]],
  ]
  for (const [what, frame] of useless)
    for (const on of ['frame', 'published'] as const) {
      const { step, ledger } = start([...base, ...newer])
      if (on === 'frame') step({ on: 'up', peer: A }, 0)
      const send = (entries: Uint8Array[], atMs: number): string[] =>
        types(
          step(
            on === 'frame'
              ? { on, peer: A, frame: { type: 'ledger-entries', entries } }
              : { on, peer: A, entries },
            atMs,
          ),
        )
      assert.equal(send(frame(-1), 1), [], `${what}: a little is no fault`)
      const told = Array.from({ length: USELESS_FRAMES }, (_, i) => send(frame(i), 2)).flat()
      assert.equal(told, ['refused'], `${what} ${on}`)
      const good = encodeStatement(op.config(60, '', 60))
      assert.equal(send([good], 3), [], `${what}: ignored`)
      assert.equal(send([good], 40_000), ['changed'], `${what}: and taken again`)
      assert.ok(ledger.hashes().length > base.length)
    }
})

it('what is of an unknown kind is not asked for again', () => {
  const { step } = start()
  step({ on: 'up', peer: A }, 0)
  const entry = ofNewKind('something')
  const hashes = [createHash('sha256').update(entry).digest('hex')]
  const list = { on: 'frame', peer: A, frame: { type: 'ledger-list', hashes } } as const
  assert.ok(types(step(list, 1)).includes('ledger-want'))
  step({ on: 'frame', peer: A, frame: { type: 'ledger-entries', entries: [entry] } }, 2)
  assert.not.ok(types(step(list, 3)).includes('ledger-want'))
})

it('splits what is too long for one frame', () => {
  const text = `${op.documentText(1)}# ${'x'.repeat(100_000)}\n`
  const configs = [1, 2, 3].map(n => op.config(n, '', n, text))
  const { step } = start([...base, ...configs])
  step({ on: 'up', peer: A })
  const frames = sent(step({ on: 'frame', peer: A, frame: { type: 'ledger-list', hashes: [] } }))
  assert.is(frames.length, 3)
  for (const frame of frames) {
    const bytes =
      frame.type === 'ledger-entries' ? frame.entries.reduce((sum, e) => sum + e.length + 4, 2) : 0
    assert.ok(bytes > 0 && bytes < 200_000, `${bytes}`)
  }
})

it('what is submitted and refused is said', () => {
  const { step } = start()
  const good = op.config(1, '', 1)
  const actions = step({ on: 'submit', statements: [{ ...good, signature: op.config(2, '', 1).signature }] })
  assert.equal(types(actions), ['refused'])
})

it('peers may go by other names than their ids', () => {
  const ledger = new RememberingLedger(op.CLUSTER)
  for (const statement of base) ledger.add(statement)
  const replica = new Replica(ledger, {}, name => ({ a: A, b: B })[name])
  assert.is(replica.step({ on: 'up', peer: 'b' }, 0, 0).actions.length, 1)
  ledger.add(op.order({ kind: 'remove', id: B, reason: 'evicted', atMs: 3 }))
  assert.is(replica.step({ on: 'up', peer: 'b' }, 0, 0).actions.length, 0)
  assert.is(replica.step({ on: 'up', peer: 'stranger' }, 0, 0).actions.length, 0)
})

it.run()
