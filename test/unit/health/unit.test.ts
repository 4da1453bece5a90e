/** A unit's cache against one host whose messages come in time, one by one. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { HealthMessage } from '../../../src/health/types.ts'
import type { UnitAction, UnitEvent } from '../../../src/health/unit/types.ts'
import { HealthUnit } from '../../../src/health/unit/unit.ts'
import { heartbeat, ModelHost, modelRow } from '../../support/model-host.ts'

const it = suite('health/unit')
const AT = 50_000

const world = () => {
  const unit = new HealthUnit({ name: 'u1', retieMs: 300_000, askAgainMs: 1000, ageMs: 30_000 }, AT)
  const host = new ModelHost('h1', 7, AT, { links: 512 })
  let wakeAtMs = AT
  const step = (event: UnitEvent, nowMs: number): UnitAction[] => {
    const result = unit.step(event, nowMs)
    wakeAtMs = result.wakeAtMs
    return result.actions
  }
  const hear = (message: HealthMessage, nowMs: number, from = 'h1') =>
    step({ on: 'message', from, message }, nowMs)
  const question = (actions: UnitAction[]) =>
    actions.flatMap(a => (a.do === 'send' && a.message.type === 'get-snapshot' ? [a.message] : []))[0]
  /** Beats until `untilMs`; `loud`: they arrive. */
  const beats = (untilMs: number, loud = true): UnitAction[] => {
    const actions: UnitAction[] = []
    while (host.nextBeatMs <= untilMs) {
      const atMs = host.nextBeatMs
      const entry = host.beat()!
      actions.push(...(loud ? hear(heartbeat([entry]), atMs + 1) : step({ on: 'tick' }, atMs + 1)))
    }
    return actions
  }
  const start = () => {
    host.rows.set(16, modelRow(16))
    host.rows.set(33, modelRow(33))
    step({ on: 'hosts', hosts: [{ name: 'h1', host: 7 }, { name: 'h2', host: 8 }] }, AT) // biome-ignore format: one line
    const asked = question(step({ on: 'link', host: 'h1', up: true }, AT))!
    hear(host.answer(asked, AT + 5), AT + 5)
    step({ on: 'applied', host: 'h1', version: host.version }, AT + 6)
  }
  const applied = (nowMs: number) => step({ on: 'applied', host: 'h1', version: host.version }, nowMs)
  const state = () => unit.hosts()[0]!
  return { unit, host, step, hear, question, beats, start, applied, state, wakeAtMs: () => wakeAtMs }
}

const leases = (actions: UnitAction[]) => actions.flatMap(a => (a.do === 'lease' ? [a.untilMs] : []))
const sent = (actions: UnitAction[]) => actions.flatMap(a => (a.do === 'send' ? [a.message.type] : []))

it('a link that comes up brings the snapshot, and what is in force gets a lease', () => {
  const { unit, host, step, hear, question } = world()
  host.rows.set(16, modelRow(16))
  step({ on: 'hosts', hosts: [{ name: 'h1', host: 7 }] }, AT)
  const asked = question(step({ on: 'link', host: 'h1', up: true }, AT))!
  assert.equal(asked.chunks, [])
  const actions = hear(host.answer(asked, AT + 400), AT + 500)
  assert.equal(actions, [{ do: 'apply', host: 'h1', version: host.version, rows: [modelRow(16)] }])
  assert.is(unit.hosts()[0]!.leaseUntilMs, 0)
  // From when it was asked, not from when it was answered.
  assert.equal(leases(step({ on: 'applied', host: 'h1', version: host.version }, AT + 600)), [AT + 3000])
})

it('a link before the membership is asked over as well', () => {
  const { step, question } = world()
  assert.is(question(step({ on: 'link', host: 'h1', up: true }, AT)), undefined)
  assert.ok(question(step({ on: 'hosts', hosts: [{ name: 'h1', host: 7 }] }, AT)))
})

it('verified tokens renew the lease; a relay may bring them, a second time they give nothing', () => {
  const { host, hear, start, unit, state, beats } = world()
  start()
  beats(AT)
  const entry = host.beat()!
  hear(heartbeat([entry]), AT + 1010)
  const next = host.beat()!
  const before = state().leaseUntilMs
  const until = leases(hear(heartbeat([next], 3), AT + 2010, 'h2'))
  assert.is(until.length, 1)
  assert.ok(until[0]! > before && until[0]! <= host.timeOf(next.beat) + 3000)
  for (const replay of [next, entry]) assert.equal(leases(hear(heartbeat([replay], 3), AT + 2500, 'h2')), [])
  assert.is(unit.counters.beats_old, 2)
  assert.is(unit.counters.beats_verified, 3)
})

it('says by whom a host is vouched for: its leader, also right after a change, or itself', () => {
  const { host, hear, start, state } = world()
  start()
  const via = (nowMs: number, leader: number, from: string): string | null => {
    hear(heartbeat([host.beat()!], leader), nowMs, from)
    return state().via
  }
  assert.is(via(AT + 10, 0, 'h1'), null)
  assert.is(via(AT + 1010, 3, 'h2'), 'h2')
  assert.is(via(AT + 2010, 0, 'h1'), 'h2', 'the first token of a new state comes straight')
  assert.is(via(AT + 3010, 0, 'h1'), 'h2')
  assert.is(via(AT + 4020, 0, 'h1'), null)
  assert.is(via(AT + 5010, 3, 'h2'), 'h2')
  assert.is(via(AT + 6010, 3, 'h1'), null, 'it leads itself')
})

it('a true token that was held back for longer than a lease gives none', () => {
  const { host, hear, start, unit, beats } = world()
  start()
  beats(AT + 2000)
  const entry = host.beat()!
  assert.equal(leases(hear(heartbeat([entry], 1), AT + 3000 + 3001, 'h2')), [])
  assert.is(unit.counters.beats_late, 1)
})

it('a token for a beat that cannot have been yet costs no hash', () => {
  const { host, hear, start, unit } = world()
  start()
  const entry = host.beat()!
  hear(heartbeat([{ ...entry, beat: 4000 }], 1), AT + 10, 'h2')
  assert.is(unit.counters.beats_ahead, 1)
  assert.is(unit.counters.beats_wrong, undefined)
})

it('the first guess of when beats are becomes good within a few questions, and leases lose little by it', () => {
  const { host, step, hear, question, start, state, beats, unit } = world()
  start()
  for (let now = AT + 10; now < AT + 12_000; now += 50) {
    beats(now)
    const asked = question(step({ on: 'tick' }, now))
    if (asked !== undefined) hear(host.answer(asked, now + 2), now + 4)
  }
  const last = host.nextBeatMs - 1000
  assert.ok(state().leaseUntilMs > last + 3000 - 350, `${state().leaseUntilMs - last}`)
  assert.ok(state().leaseUntilMs <= last + 3000)
  assert.ok(unit.counters.snapshots_asked! <= 6)
})

it('a row change is taken in order; its generation renews only once it is in force', () => {
  const { host, hear, start, applied, beats, state, unit } = world()
  start()
  beats(AT + 1000)
  const before = state().leaseUntilMs
  const change = host.set(modelRow(16, { target: 'draining', cause: 'order' }))
  const actions = hear(change, AT + 1100)
  assert.equal(actions.map(a => a.do), ['apply']) // biome-ignore format: one line
  assert.equal(leases(beats(AT + 4000)), [])
  assert.is(state().leaseUntilMs, before)
  const [until] = leases(applied(AT + 4100))
  assert.ok(until! > before)
  assert.equal(state().inForce, host.version)
  // What was taken already is no news, and no reason to ask.
  assert.equal(sent(hear(change, AT + 4150)), [])
  assert.is(unit.counters.row_changes_unfit, undefined)
  // One that was put in force twice, or an earlier one, is no news.
  assert.equal(applied(AT + 4200), [])
})

it('a lost row change shows by the next token, and the unit asks for what differs', () => {
  const { host, hear, start, applied, state, question } = world()
  start()
  host.set(modelRow(16, { load: 60 }))
  const asked = question(hear(heartbeat([host.beat()!]), AT + 1001))!
  assert.is(asked.chunks.length, 16)
  const answer = host.answer(asked, AT + 1002)
  assert.is(answer.chunks.length, 1)
  hear(answer, AT + 1003)
  assert.equal(leases(applied(AT + 1004)), [AT + 1001 + 3000])
  assert.is(state().rows.find(r => r.id === 16)!.load, 60)
})

it('a row change after a lost one, and one that does not fit, change nothing and ask', () => {
  const { host, hear, start, unit, state, question } = world()
  start()
  const held = state()
  host.set(modelRow(1))
  const asked = question(hear(host.set(modelRow(2)), AT + 300))
  assert.ok(asked)
  assert.equal(state(), held)
  hear(host.answer(asked, AT + 301), AT + 301)
  const odd = { ...host.set(modelRow(1)), operations: [{ operation: 'delete', id: 999 }] } as HealthMessage
  assert.equal(hear(odd, AT + 302).map(a => a.do), ['refused']) // biome-ignore format: one line
  assert.is(unit.counters.row_changes_unfit, 2)
  assert.is(state().rows.length, 4)
})

it('a snapshot that was not asked for, or asked for in an earlier life, is not taken', () => {
  const { host, hear, start, state, unit } = world()
  start()
  const held = state()
  host.set(modelRow(1))
  const get = { type: 'get-snapshot', host: 7, request: 1, chunks: [] } as const
  assert.equal(hear(host.answer(get, AT + 20), AT + 20), [])
  assert.equal(state(), held)
  assert.is(unit.counters.snapshots_unasked, 1)
})

it('what an answer leaves out is not guessed when a row change came between', () => {
  const { host, hear, start, step, question, state } = world()
  start()
  // The host's table is back at what was asked about when it answers; of the two changes only the first has come.
  const asked = question(step({ on: 'link', host: 'h1', up: true }, AT + 100))!
  hear(host.set(modelRow(16, { load: 90 })), AT + 101)
  host.set(modelRow(16))
  hear(host.answer(asked, AT + 102), AT + 103)
  assert.is(state().rows.find(r => r.id === 16)!.load, 90)
  const again = question(step({ on: 'tick' }, AT + 500))!
  hear(host.answer(again, AT + 501), AT + 502)
  assert.is(state().rows.find(r => r.id === 16)!.load, 0)
})

it('snapshots whose chunks make no sense are refused whole', () => {
  const { host, hear, start, step, question, state } = world()
  start()
  const held = state()
  const row = modelRow(16)
  const nonsense = [
    [{ index: 1, rows: [row] }],
    [{ index: 16, rows: [] }],
    [{ index: 0, rows: [row, row] }],
    [0, 0].map(index => ({ index, rows: [] })),
    Array.from({ length: 16 }, (_, index) => ({
      index,
      rows: Array.from({ length: 300 }, (_, i) => modelRow(i * 16 + index)),
    })),
  ]
  for (const [i, chunks] of nonsense.entries()) {
    const now = AT + 1000 + i
    step({ on: 'link', host: 'h1', up: false }, now)
    const asked = question(step({ on: 'link', host: 'h1', up: true }, now))!
    assert.ok(hear({ ...host.answer(asked, now), chunks }, now).some(a => a.do === 'refused'))
    assert.equal(state(), held)
  }
})

it('a postulate is right only once the rows are in force, wrong where the cache differs or lacks them', () => {
  const { host, hear, start, applied } = world()
  start()
  const ask = (state: 'active' | 'draining', postulate: number, version = host.version) =>
    ({ type: 'postulate', host: 7, version, postulate, states: [{ id: 16, state }] }) as const
  const change = host.set(modelRow(16, { target: 'draining', cause: 'order' }))
  const lacking = hear(ask('draining', 1), AT + 400)
  assert.equal(sent(lacking), ['postulate-wrong', 'get-snapshot'])
  // The same again is not something new: no further question.
  assert.equal(sent(hear(ask('draining', 2), AT + 1200)), ['postulate-wrong'])
  hear(change, AT + 1300)
  assert.equal(sent(hear(ask('draining', 3), AT + 1301)), [])
  const right = applied(AT + 1302).filter(a => a.do === 'send')
  assert.equal(right, [{ do: 'send', to: 'h1', message: { type: 'postulate-right', host: 7, postulate: 3 } }])
  assert.equal(sent(hear(ask('draining', 4), AT + 1303)), ['postulate-right'])
  const wrong = hear(ask('active', 5), AT + 1304)
  assert.equal(wrong, [
    { do: 'send', to: 'h1', message: { type: 'postulate-wrong', host: 7, postulate: 5, differs: [16] } },
  ])
  // A later generation with the same states holds it too.
  const before = host.version
  hear(host.set(modelRow(33, { load: 3 })), AT + 1400)
  assert.equal(sent(hear(ask('draining', 6, before), AT + 1401)), ['postulate-right'])
})

it('a postulate is not right by rows that were in force before, or are no longer', () => {
  const { host, hear, start, applied } = world()
  start()
  const ask = (state: 'active' | 'draining', postulate: number, version = host.version) =>
    ({ type: 'postulate', host: 7, version, postulate, states: [{ id: 16, state }] }) as const
  hear(host.set(modelRow(16, { target: 'draining' })), AT + 100)
  hear(host.set(modelRow(16)), AT + 101)
  const back = host.version
  // Active, as it was at the start, which is still in force.
  assert.equal(sent(hear(ask('active', 1), AT + 200)), [])
  assert.equal(sent(applied(AT + 201)), ['postulate-right'])
  hear(host.set(modelRow(16, { target: 'draining' })), AT + 300)
  applied(AT + 301)
  hear(host.set(modelRow(16)), AT + 302)
  assert.equal(sent(hear(ask('active', 2, back), AT + 303)), [])
  assert.equal(sent(applied(AT + 304)), ['postulate-right'])
})

it('a snapshot with rows older than those held is refused', () => {
  const { host, hear, start, step, question, state } = world()
  start()
  const asked = question(step({ on: 'link', host: 'h1', up: true }, AT + 100))!
  const answer = host.answer(asked, AT + 101)
  hear(host.set(modelRow(16, { load: 9 })), AT + 102)
  const held = state()
  assert.ok(hear(answer, AT + 103).some(a => a.do === 'refused'))
  assert.equal(state(), held)
})

it('only the host itself says goodbye, and relays do not bring it back', () => {
  const { host, hear, start, step, unit, state, question } = world()
  start()
  const goodbye = { type: 'goodbye', host: 7, reason: 'stops' } as const
  assert.equal(hear(goodbye, AT + 20, 'h2').map(a => a.do), ['refused']) // biome-ignore format: one line
  assert.is(state().rows.length, 2)
  assert.equal(hear(goodbye, AT + 21), [{ do: 'drop', host: 'h1' }])
  assert.equal([state().rows, state().version, state().leaseUntilMs], [[], null, 0])
  assert.equal(hear(heartbeat([host.beat()!], 1), AT + 4000, 'h2'), [])
  assert.equal(step({ on: 'applied', host: 'h1', version: host.version }, AT + 4001), [])
  assert.ok(question(hear(heartbeat([host.beat()!]), AT + 4500)), 'it is here again')
  assert.ok(question(step({ on: 'link', host: 'h1', up: true }, AT + 5000)))
  assert.is(unit.counters.refused, 1)
})

it('a question from before a goodbye is answered by the table that began after it', () => {
  const { host, hear, start, step, state, question } = world()
  start()
  const asked = question(step({ on: 'link', host: 'h1', up: true }, AT + 100))!
  hear({ type: 'goodbye', host: 7, reason: 'no host any more' }, AT + 200)
  host.restart(AT + 200)
  hear(host.answer({ ...asked, chunks: [] }, AT + 201), AT + 201)
  // What it left out would have been of the table before: asked again, now for all.
  const again = question(step({ on: 'tick' }, AT + 1200))!
  assert.equal(again.chunks, [])
  hear(host.answer(again, AT + 1201), AT + 1201)
  assert.equal(state().version, host.version)
})

it('messages about another host, or of no host, are refused and change nothing', () => {
  const { host, hear, start, state } = world()
  start()
  const held = state()
  const change = host.set(modelRow(16, { target: 'inactive' }))
  const postulate = { type: 'postulate', host: 7, version: host.version, postulate: 1, states: [] } as const
  const snapshot = host.answer({ type: 'get-snapshot', host: 7, request: AT + 1, chunks: [] }, AT)
  for (const message of [change, postulate, snapshot])
    for (const from of ['h2', 'stranger'])
      assert.equal(hear(message, AT + 9, from).map(a => a.do), ['refused']) // biome-ignore format: one line
  assert.equal(hear(heartbeat([host.beat()!]), AT + 9, 'stranger').map(a => a.do), ['refused']) // biome-ignore format: one line
  assert.equal(state(), held)
})

it('false tokens are not hashed without bound for one sender, while the host itself is heard', () => {
  const { host, hear, start, beats, unit, state } = world()
  start()
  beats(AT + 2000)
  beats(AT + 20_000, false)
  // 18 hashes each: the host was not heard for so long.
  const forged = { ...host.beat()!, token: '0123456789abcdef' }
  for (let i = 0; i < 1000; i++) hear(heartbeat([forged], 1), AT + 21_001, 'h2')
  assert.ok(unit.counters.beats_wrong! < 400)
  assert.ok(unit.counters.beats_over_budget! > 600)
  const entry = host.beat()!
  hear(heartbeat([entry]), AT + 22_001)
  assert.ok(state().leaseUntilMs > AT + 22_001)
})

it('a leader that passes nothing on costs no lease: the host itself is asked in time', () => {
  const { host, hear, start, question, beats, state } = world()
  start()
  let lapses = 0
  for (let now = AT + 10; now < AT + 60_000; now += 50) {
    const asked = question(beats(now, false))
    if (asked !== undefined) hear(host.answer(asked, now + 2), now + 3)
    if (state().leaseUntilMs <= now) lapses++
  }
  assert.is(lapses, 0)
})

it('false tokens make the unit ask a host that answers once a second at most, and cost no lease', () => {
  const { host, hear, start, question, beats, state } = world()
  start()
  const askedAt: number[] = []
  for (let now = AT + 10; now < AT + 60_000; now += 100) {
    const actions = beats(now)
    const beat = Math.floor((now - AT) / 1000) + 2
    const forged = { host: 7, beat, token: '00'.repeat(8), hello: true, forward: true, dnsName: '' }
    const asked = question([...actions, ...hear(heartbeat([forged], 1), now + 1, 'h2')])
    if (asked === undefined) continue
    askedAt.push(now)
    hear(host.answer(asked, now + 2), now + 3)
  }
  // A few more in the beginning: those for the clock.
  assert.ok(askedAt.length <= 66, askedAt.join(' '))
  assert.ok(state().leaseUntilMs > AT + 60_000)
})

it('leaders who no longer hear a host make the shell check it, no more often than it asks', () => {
  const { hear, start, state } = world()
  start()
  const held = state()
  const gone = heartbeat([], 4, [7, 12345])
  const checks = (actions: UnitAction[]) => actions.filter(a => a.do === 'check')
  assert.equal(hear(gone, AT + 20, 'h2'), [{ do: 'check', host: 'h1' }])
  assert.equal(hear(gone, AT + 30, 'h2'), [])
  assert.equal(checks(hear(heartbeat([], 0, [7]), AT + 2000, 'h2')), [])
  assert.equal(checks(hear(gone, AT + 2000, 'h2')), [{ do: 'check', host: 'h1' }])
  assert.equal(state(), held)
})

it('no heartbeats: the unit asks at the end of the lease, and what is not answered ages out', () => {
  const { start, step, question, unit, state, wakeAtMs } = world()
  start()
  let now = AT + 6
  const askedAt: number[] = []
  const drops: number[] = []
  while (now < AT + 60_000) {
    assert.ok(wakeAtMs() > now, 'wakes at once again')
    now = wakeAtMs()
    const actions = step({ on: 'tick' }, now)
    if (question(actions) !== undefined) askedAt.push(now)
    if (actions.some(a => a.do === 'drop')) drops.push(now)
  }
  assert.equal(drops, [AT + 3000 + 30_000])
  assert.equal(state().rows, [])
  assert.is(unit.counters.leases_over, 1)
  assert.is(unit.counters.hosts_aged, 1)
  assert.ok(askedAt.length < 14 && askedAt.every((at, i) => i === 0 || at - askedAt[i - 1]! >= 1000))
  assert.ok(askedAt.at(-1)! - askedAt.at(-2)! >= 8000, askedAt.join(' '))
})

it('the tie to the clock is made new now and then; nothing is sent again for it', () => {
  const { start, host, step, question, hear, beats } = world()
  host.set(modelRow(5))
  start()
  const askedAt: number[] = []
  let now = AT + 6
  while (now < AT + 310_000) {
    const asked = question([...beats(now), ...step({ on: 'tick' }, now + 2)])
    if (asked !== undefined) {
      askedAt.push(now - AT)
      const answer = host.answer(asked, now)
      assert.equal(answer.chunks, [])
      hear(answer, now)
    }
    now += 100
  }
  const late = askedAt.filter(at => at > 20_000)
  assert.ok(late.length >= 1 && late[0]! >= 300_000, askedAt.join(' '))
})

it('a machine that was suspended ties the beats anew', () => {
  const { start, host, question, hear, beats, unit, state, applied } = world()
  start()
  beats(AT + 5000)
  // This node slept for 20 s of the host's time: by its own clock the host's beats now come too early.
  while (host.nextBeatMs < AT + 25_000) host.beat()
  const asked = question(hear(heartbeat([host.beat()!]), AT + 5100))!
  assert.is(unit.counters.beats_ahead, 1)
  hear({ ...host.answer(asked, AT + 25_000), beat: 27 }, AT + 5110)
  applied(AT + 5111)
  assert.is(state().leaseUntilMs, AT + 5100 + 3000)
  host.beat()
  hear(heartbeat([host.beat()!]), AT + 7100)
  assert.ok(Math.abs(state().leaseUntilMs - (AT + 6100 + 3000)) <= 2)
})

it('a machine that notices that it was suspended ends all leases at once, and asks anew', () => {
  const { start, host, step, question, hear, beats, state } = world()
  start()
  beats(AT + 5000)
  assert.ok(state().leaseUntilMs > AT + 6000)
  // Asked before it slept; the answer is as old as the sleep was long.
  const old = question(step({ on: 'link', host: 'h1', up: true }, AT + 5050))!
  const held = host.beat()!
  const actions = step({ on: 'stood-still' }, AT + 5100)
  assert.equal(leases(actions), [0])
  assert.is(state().leaseUntilMs, 0)
  assert.is(state().rows.length, 2)
  const asked = question(actions)!
  assert.equal(leases(hear(host.answer(old, AT + 5050), AT + 5101)), [])
  assert.equal(leases(hear(heartbeat([held]), AT + 5102)), [], 'a true beat, but nobody knows of when')
  assert.is(state().leaseUntilMs, 0)
  assert.equal(leases(hear(host.answer(asked, AT + 5110), AT + 5110)), [AT + 5100 + 3000])
  assert.equal(leases(step({ on: 'stood-still' }, AT + 9000)), [], 'there was no lease any more')
  hear({ type: 'goodbye', host: 7, reason: 'stops' }, AT + 9100)
  assert.equal(step({ on: 'stood-still' }, AT + 12_000), [], 'nobody asks a host that has said goodbye')
})

it('a host that claims a lease longer than the rules allow gets none', () => {
  const { host, step, hear, question, state, applied, unit } = world()
  step({ on: 'hosts', hosts: [{ name: 'h1', host: 7 }] }, AT)
  let asked = question(step({ on: 'link', host: 'h1', up: true }, AT))!
  let nowMs = AT
  const claims: [beatMs: number, leaseBeats: number][] = [
    [1000, 61],
    [60_001, 1],
    [0xffff_ffff, 0xff],
    [0, 3],
    [1000, 0],
    [-1, -3],
    [Number.NaN, 3],
    [Number.POSITIVE_INFINITY, 3],
  ]
  for (const [index, [beatMs, leaseBeats]] of claims.entries()) {
    const actions = hear({ ...host.answer(asked, nowMs), beatMs, leaseBeats }, nowMs + 1)
    assert.ok(
      actions.some(a => a.do === 'refused'),
      `${beatMs} ms × ${leaseBeats}`,
    )
    assert.is(unit.counters.snapshots_unfit, index + 1)
    assert.equal(leases(actions.concat(applied(nowMs + 2))), [])
    assert.equal([state().rows, state().version, state().leaseUntilMs], [[], null, 0])
    nowMs += 20_000
    asked = question(step({ on: 'tick' }, nowMs))!
  }
  hear({ ...host.answer(asked, nowMs), beatMs: 1000, leaseBeats: 60 }, nowMs + 1)
  assert.equal(leases(applied(nowMs + 2)), [nowMs + 60_000], 'the longest there is')
})

it('hosts that leave the membership are dropped at once; a changed number is taken', () => {
  const { start, step, unit, host, hear, state } = world()
  start()
  assert.equal(unit.ofType('tcp/10.99.0.2:80').map(r => [r.host, r.row.id]), [['h1', 16]]) // biome-ignore format: one line
  assert.equal(unit.ofType('tcp/10.99.0.9:80'), [])
  step({ on: 'hosts', hosts: [{ name: 'h1', host: 9 }] }, AT + 20)
  assert.is(state().rows.length, 2)
  assert.is(hear(host.set(modelRow(1)), AT + 21)[0]!.do, 'refused')
  assert.equal(step({ on: 'hosts', hosts: [] }, AT + 30), [{ do: 'drop', host: 'h1' }])
  assert.equal(unit.hosts(), [])
  assert.equal(unit.ofType('tcp/10.99.0.2:80'), [])
})

it.run()
