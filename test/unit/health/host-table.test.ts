import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { verifyToken } from '../../../src/health/chain.ts'
import { decodeHealth, encodeHealth } from '../../../src/health/codec.ts'
import { chunkOf, tableDigests } from '../../../src/health/digest.ts'
import type { HealthMessage } from '../../../src/health/types.ts'
import {
  applyOperations,
  appOf,
  byId,
  endpointOf,
  HOST,
  HostRig,
  keyOf,
  START_MS,
} from '../../support/health-host.ts'

const it = suite('health host: table')

const get = (rig: HostRig, from: string, chunks: readonly number[] = []) => {
  rig.sent = []
  rig.step({ on: 'message', from, message: { type: 'get-snapshot', host: HOST, request: 5, chunks } })
  return rig.take('send-snapshot', from)[0]?.message
}

it('adds, updates and deletes rows as endpoints come, change and go', () => {
  const rig = new HostRig()
  const { instance } = rig.host.version
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80), endpointOf(81)] })
  const [added] = rig.take('row-change', 'u1')
  assert.equal(added!.message.version, { instance, generation: 2 })
  assert.equal(
    added!.message.operations.map(o => (o.operation === 'add' ? o.row.app : null)),
    [appOf(80), appOf(81)],
  )
  assert.equal([rig.row(80).health, rig.row(80).load, rig.row(80).capacity], ['unknown', 0, 50])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(81, 20)] })
  const [changed] = rig.take('row-change', 'u1')
  assert.equal(
    changed!.message.operations.map(({ operation }) => operation),
    ['delete', 'update'],
  )
  assert.is(rig.row(81).capacity, 20)
  rig.step({ on: 'endpoints', endpoints: [endpointOf(81, 20)] })
  rig.step({ on: 'health', app: keyOf(80), health: 'failing' })
  assert.is(rig.take('row-change').length, 0, 'nothing changed')
  assert.is(rig.host.version.generation, 3)
})

it('gives each address one row however it is written', () => {
  const rig = new HostRig()
  const endpoints = ['fd00::1', 'fd00:0:0:0::1'].map(vip => ({
    ...endpointOf(80, 1),
    app: appOf(80, { vip, physical: 'fd00::2' }),
  }))
  rig.step({ on: 'endpoints', endpoints })
  assert.is(rig.host.rows().length, 1)
})

it('refuses endpoints that have no encoding, and those beyond what one message holds', () => {
  const rig = new HostRig()
  const bad = [
    { ...endpointOf(80, 1), app: appOf(80, { vip: 'nowhere' }) },
    endpointOf(80, 100),
    { ...endpointOf(81, 1), app: appOf(81, { specific: 'x'.repeat(201) }) },
  ]
  rig.actions = []
  rig.step({ on: 'endpoints', endpoints: [...bad, endpointOf(82)] })
  const refused = rig.actions.filter(a => a.do === 'refused')
  assert.is(refused.length, 1)
  assert.match(refused[0]!.why, /nowhere.*and 2 more/)
  assert.is(rig.host.rows().length, 1)

  const long = Array.from({ length: 2000 }, (_, i) => ({
    ...endpointOf(i + 1, 9),
    app: appOf(i + 1, { specific: `${i}/${'é'.repeat(97)}` }),
  }))
  rig.actions = []
  rig.step({ on: 'endpoints', endpoints: [...long, endpointOf(82)] })
  assert.match(rig.actions.find(a => a.do === 'refused')!.why, /get no row: a host has at most/)
  assert.is(rig.row(82).app.specific, '', 'what has a row keeps it')
  assert.ok(rig.host.rows().length > 900)
  rig.sent = []
  const snapshot = get(rig, 'u1')!
  assert.equal(decodeHealth(encodeHealth(snapshot)), snapshot)
})

it('sends at most 4096 rows, and every message fits the wire', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: Array.from({ length: 5000 }, (_, i) => endpointOf(i + 1)) })
  assert.is(rig.host.rows().length, 4096)
  const held = new Map()
  for (const { message } of rig.take('row-change')) {
    assert.equal(decodeHealth(encodeHealth(message)), message)
    applyOperations(held, message.operations)
  }
  assert.equal(byId(held.values()), byId(rig.host.rows()))
})

it('tells linked units at once, the others nothing', () => {
  const rig = new HostRig()
  rig.step({ on: 'link', unit: 'u2', up: false })
  rig.step({ on: 'link', unit: 'no unit', up: true })
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  assert.equal(
    rig.take('row-change').map(({ to }) => to),
    ['u1'],
  )
  const own = new HostRig({}, null)
  own.step({ on: 'units', units: ['h1'] })
  own.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  assert.is(own.take('row-change', 'h1').length, 1, 'a unit on this node has no link')
})

it('puts changes of a storm together', () => {
  const rig = new HostRig({}, ['u1'])
  const ports = Array.from({ length: 200 }, (_, i) => i + 1)
  rig.step({ on: 'endpoints', endpoints: ports.map(port => endpointOf(port)) })
  rig.pass(500)
  const { generation } = rig.host.version
  for (const port of ports) rig.step({ on: 'health', app: keyOf(port), health: 'healthy' })
  rig.pass(50)
  assert.ok(rig.host.rows().every(({ health }) => health === 'healthy'))
  assert.ok(rig.host.version.generation - generation < 12, `${rig.host.version.generation - generation}`)
  const { generation: calm } = rig.host.version
  rig.step({ on: 'health', app: keyOf(1), health: 'failing' })
  rig.step({ on: 'health', app: keyOf(1), health: 'healthy' })
  rig.pass(1000)
  assert.ok(rig.host.version.generation - calm <= 2)
})

it('answers snapshots with the chunks that differ', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: Array.from({ length: 40 }, (_, i) => endpointOf(i + 1)) })
  const all = get(rig, 'u1')!
  assert.equal([all.request, all.host, all.beatMs, all.leaseBeats], [5, HOST, 1000, 3])
  assert.equal(all.version, rig.host.version)
  assert.is(all.chunks.length, 16, 'empty ones too: the asker may hold rows that are no more')
  assert.equal(byId(all.chunks.flatMap(({ rows }) => rows)), byId(rig.host.rows()))
  const digests = tableDigests(rig.host.rows())
  assert.equal(get(rig, 'u1', digests)!.chunks, [])
  const { id } = rig.row(7)
  rig.step({ on: 'health', app: keyOf(7), health: 'healthy' })
  const some = get(rig, 'u2', digests)!
  assert.equal(
    some.chunks.map(({ index }) => index),
    [chunkOf(id)],
  )
  assert.ok(some.chunks[0]!.rows.some(row => row.id === id && row.health === 'healthy'))
})

it('says in a snapshot which beat is the first that has not happened', () => {
  const rig = new HostRig()
  assert.is(get(rig, 'u1')!.beat, 1, 'at the very moment of beat 1')
  rig.pass(1)
  assert.is(get(rig, 'u1')!.beat, 2)
  rig.pass(999)
  assert.is(get(rig, 'u1')!.beat, 2)
})

it('bounds what one asker may ask', () => {
  const rig = new HostRig()
  for (let i = 0; i < 4; i++) assert.ok(get(rig, 'u1'))
  rig.actions = []
  assert.is(get(rig, 'u1'), undefined)
  assert.equal(rig.actions, [{ do: 'refused', from: 'u1', why: 'asks for snapshots too often' }])
  assert.ok(get(rig, 'u2'))
  rig.pass(250)
  assert.ok(get(rig, 'u1'))
})

it('answers who asks before this node knows that it is a unit as soon as that is told', () => {
  const rig = new HostRig()
  assert.is(get(rig, 'u3'), undefined, 'nobody would wait for what it does with the rows')
  rig.step({ on: 'units', units: ['u1', 'u2'] })
  assert.is(rig.take('send-snapshot').length, 0)
  rig.step({ on: 'units', units: ['u1', 'u2', 'u3'] })
  assert.equal(
    rig.take('send-snapshot').map(({ to }) => to),
    ['u3'],
  )
  rig.step({ on: 'units', units: ['u1', 'u2', 'u3'] })
  assert.is(rig.take('send-snapshot').length, 0, 'once')
})

it('refuses messages that are not for it', () => {
  const rig = new HostRig()
  rig.actions = []
  const message: HealthMessage = { type: 'claim', host: 1, group: 0, generation: 1 }
  rig.step({ on: 'message', from: 'u1', message })
  assert.equal(rig.actions, [{ do: 'refused', from: 'u1', why: "claim is not for a host's table" }])
})

it('beats once a beat, with the next token of the state it announced', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  const [change] = rig.take('row-change')
  assert.is(change!.message.anchorBeat, 1)
  let known = { token: change!.message.anchor, position: 0 }
  rig.pass(4000)
  const beats = rig.take('heartbeat')
  assert.equal(
    beats.map(({ atMs, message }) => [atMs - START_MS, message.entries[0]!.beat, message.entries[0]!.hello]),
    [
      [1000, 2, true],
      [2000, 3, true],
      [3000, 4, false],
      [4000, 5, false],
    ],
  )
  for (const { message } of beats) {
    const [{ token, beat }] = message.entries as [(typeof message.entries)[0]]
    const position = beat - change!.message.anchorBeat
    assert.ok(verifyToken(known, token, position))
    known = { token, position }
  }
})

it('never lets out a token of a state that is over', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.pass(1500)
  const [before] = rig.take('row-change')
  rig.step({ on: 'order', app: '*', state: 'draining' })
  const [after] = rig.take('row-change')
  assert.is(after!.message.anchorBeat, 2)
  rig.step({ on: 'leader', leader: 'h2' })
  assert.is(rig.take('heartbeat').length, 0, 'the last beat was of the state before')
  rig.pass(1000)
  const [beat] = rig.take('heartbeat', 'u1')
  const { token } = beat!.message.entries[0]!
  assert.ok(verifyToken({ token: after!.message.anchor, position: 0 }, token, 1))
  assert.not.ok(verifyToken({ token: before!.message.anchor, position: 0 }, token, 2))
})

it('does not make up for beats that it slept through', () => {
  const rig = new HostRig({}, ['u1'])
  rig.sent = []
  rig.nowMs += 5300
  rig.step({ on: 'tick' })
  assert.equal(
    rig.take('heartbeat').map(({ message }) => message.entries[0]!.beat),
    [6],
  )
  rig.pass(700)
  assert.equal(
    rig.take('heartbeat').map(({ message }) => message.entries[0]!.beat),
    [7],
  )
})

it('begins a new generation when the chain ends, even when it slept through the end', () => {
  for (const sleepMs of [0, 900_000]) {
    const rig = new HostRig({}, ['u1'])
    rig.nowMs += sleepMs
    rig.sent = []
    rig.pass(520_000)
    let known: { token: string; beat: number } | null = null
    let changes = 0
    for (const { message } of rig.sent) {
      if (message.type === 'row-change') {
        assert.equal(message.operations, [])
        known = { token: message.anchor, beat: message.anchorBeat }
        changes++
      }
      if (message.type !== 'heartbeat' || known === null) continue
      const { token, beat } = message.entries[0]!
      assert.ok(verifyToken({ token: known.token, position: 0 }, token, beat - known.beat))
    }
    assert.ok(changes === 1 || (sleepMs > 0 && changes === 2), `${changes}`)
    assert.is(
      rig.sent.filter(({ message }) => message.type === 'heartbeat').length,
      520 + (sleepMs > 0 ? 1 : 0),
    )
  }
})

it('beats to the leader if there is one, and tells a new one the last beat', () => {
  const rig = new HostRig()
  const receivers = () => rig.take('heartbeat').map(({ to }) => to)
  rig.pass(1000)
  assert.equal([...new Set(receivers())], ['u1', 'u2'])
  rig.step({ on: 'leader', leader: 'h2' })
  assert.equal(receivers(), ['h2'])
  rig.step({ on: 'leader', leader: 'h2' })
  assert.equal(receivers(), [])
  rig.step({ on: 'leader', leader: 'h1' })
  assert.equal(receivers(), ['h1'])
  rig.pass(1000)
  assert.equal(receivers(), ['h1'])
})

it('leaders that change without end cost a few heartbeats, and the last one gets the next beat', () => {
  const rig = new HostRig()
  rig.pass(1000)
  rig.sent = []
  for (let i = 0; i < 1000; i++) rig.step({ on: 'leader', leader: i % 2 === 0 ? 'h2' : null })
  assert.is(rig.take('heartbeat').length, 2 + 2 * 2, 'two to the leader, and two to each of two units')
  rig.step({ on: 'leader', leader: 'h3' })
  rig.pass(1000)
  assert.equal(
    rig.take('heartbeat').map(({ to }) => to),
    ['h3'],
  )
})

it('beats to the leader and straight to the units when the table changed since the last beat', () => {
  const rig = new HostRig()
  rig.step({ on: 'leader', leader: 'u2' })
  rig.pass(1000)
  rig.sent = []
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.pass(1000)
  assert.equal(
    rig.take('heartbeat').map(({ to }) => to),
    ['u1', 'u2'],
  )
  rig.pass(1000)
  assert.equal(
    rig.take('heartbeat').map(({ to }) => to),
    ['u2'],
  )
})

it('asks to be passed on every so many beats, and after a change or a snapshot', () => {
  const rig = new HostRig({ forwardEvery: 5 }, ['u1'])
  const forwarded = (beats: number) => {
    rig.pass(beats * 1000)
    const all = rig.take('heartbeat').map(({ message }) => message.entries[0]!)
    return all.filter(({ forward }) => forward).map(({ beat }) => beat)
  }
  assert.equal(forwarded(11), [5, 10])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  assert.equal(forwarded(5), [13, 14, 15])
  get(rig, 'u1')
  assert.equal(forwarded(3), [18, 19, 20])
})

it('says its DNS name every so many beats', () => {
  const rig = new HostRig({ dnsEvery: 3 }, ['u1'])
  rig.pass(6000)
  assert.equal(
    rig.take('heartbeat').map(({ message }) => message.entries[0]!.dnsName),
    ['', '', 'h1.example', '', '', 'h1.example'],
  )
})

it('keeps its pace with a clock of fractions', () => {
  const rig = new HostRig({ beatMs: 333 }, ['u1'])
  rig.nowMs += 0.1
  rig.step({ on: 'tick' })
  rig.sent = []
  rig.pass(333 * 300)
  const beats = rig.take('heartbeat').map(({ message }) => message.entries[0]!.beat)
  assert.is(new Set(beats).size, beats.length)
  assert.is(beats.length, 300)
})

it('says goodbye once, and nothing after it', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.sent = []
  rig.step({ on: 'goodbye', reason: 'restarts' })
  assert.equal(
    rig.sent.map(({ to, message }) => ({ to, message })),
    ['u1', 'u2'].map(to => ({ to, message: { type: 'goodbye', host: HOST, reason: 'restarts' } })),
  )
  assert.is(rig.wakeAtMs, Number.POSITIVE_INFINITY)
  rig.sent = []
  rig.step({ on: 'endpoints', endpoints: [] })
  rig.step({ on: 'goodbye', reason: 'again' })
  assert.equal(rig.sent, [])
})

it('keeps a bounded number of orders', () => {
  const rig = new HostRig()
  rig.actions = []
  for (let i = 0; i < 8193; i++) rig.step({ on: 'order', app: `app ${i}`, state: 'draining' })
  const refused = rig.actions.filter(a => a.do === 'refused')
  assert.is(refused.length, 1)
  assert.match(refused[0]!.why, /too many; withdraw/)
})

it.run()
