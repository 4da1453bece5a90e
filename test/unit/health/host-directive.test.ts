import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { deriveDirective } from '../../../src/health/host/directive.ts'
import type { DirectiveState, Health, WhenFailing } from '../../../src/health/types.ts'
import { endpointOf, HostRig, keyOf } from '../../support/health-host.ts'

const it = suite('health host: directives')

const LEASE_MS = 3000
const HOLD_MS = 3500

it('takes the strictest, and lays it on health only when nobody asked for anything', () => {
  const derive = (
    health: Health,
    isOverloaded: boolean,
    isStopping: boolean,
    ...orders: DirectiveState[]
  ) => {
    const of = (whenFailing: WhenFailing): string => {
      const { target, cause } = deriveDirective({ health, whenFailing, isOverloaded, isStopping, orders })
      return `${target} ${cause}`
    }
    const [gentle, strict] = [of('draining'), of('inactive')]
    return gentle === strict ? gentle : `${gentle} / ${strict}`
  }
  assert.is(derive('unknown', false, false), 'active default')
  assert.is(derive('healthy', false, false, 'active'), 'active default')
  assert.is(derive('failing', false, false), 'draining health / inactive health')
  assert.is(derive('failing', true, false), 'draining health / inactive health')
  assert.is(derive('healthy', true, false), 'draining overload')
  assert.is(derive('healthy', false, true), 'draining stopping')
  assert.is(derive('failing', false, true), 'draining stopping / inactive stopping')
  assert.is(derive('failing', false, false, 'draining'), 'draining order / inactive order')
  assert.is(derive('failing', false, false, 'active'), 'draining health / inactive health')
  assert.is(derive('failing', false, false, 'inactive'), 'inactive order')
  assert.is(derive('healthy', true, true, 'active', 'inactive'), 'inactive order')
  assert.is(derive('healthy', false, false, 'draining', 'active'), 'draining order')
})

it('drains by row change, postulate, every answer, row change', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.pass(500)
  rig.sent = []
  rig.step({ on: 'order', app: keyOf(80), state: 'draining' })
  const [change] = rig.take('row-change', 'u1')
  assert.is(change!.message.operations.length, 1)
  const { target, current, cause } = rig.row(80)
  assert.equal([target, current, cause], ['draining', 'active', 'order'])
  rig.pass(99)
  assert.is(rig.take('postulate').length, 0, 'the caches get time first')
  rig.pass(1)
  const asked = rig.take('postulate')
  assert.equal(
    asked.map(({ to }) => to),
    ['u1', 'u2'],
  )
  assert.equal(asked[0]!.message.states, [{ id: rig.row(80).id, state: 'draining' }])
  assert.equal(asked[0]!.message.version, change!.message.version)
  rig.right('u1', asked[0]!)
  assert.is(rig.row(80).current, 'active')
  assert.equal(rig.host.pending()[0]!.waiting, [{ unit: 'u2', why: 'no answer yet' }])
  rig.actions = []
  rig.sent = []
  rig.right('u2', asked[1]!)
  assert.is(rig.row(80).current, 'draining')
  assert.equal(rig.take('row-change').length, 2)
  assert.equal(rig.host.pending(), [])
  assert.equal(
    rig.actions.filter(a => a.do === 'settled'),
    [{ do: 'settled', id: rig.row(80).id, state: 'draining' }],
  )
  rig.pass(5000)
  assert.is(rig.take('postulate').length, 0)
})

it('postulates again, to those that have not answered, and tells a wrong one the last change again', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.sent = []
  rig.step({ on: 'health', app: keyOf(80), health: 'failing' })
  const [change] = rig.take('row-change', 'u2')
  rig.pass(100)
  const [, second] = rig.take('postulate')
  rig.wrong('u2', second!)
  assert.equal(
    rig.take('row-change').map(({ to, message }) => ({ to, message })),
    [{ to: 'u2', message: change!.message }],
  )
  assert.equal(rig.host.pending()[0]!.waiting, [
    { unit: 'u1', why: 'no answer yet' },
    { unit: 'u2', why: 'differs' },
  ])
  rig.wrong('u2', second!)
  assert.is(rig.take('row-change').length, 0, 'a question is answered once')
  rig.pass(250)
  const again = rig.take('postulate')
  assert.equal(
    again.map(({ to }) => to),
    ['u1', 'u2'],
  )
  rig.right('u2', again[1]!)
  rig.pass(250)
  assert.equal(
    rig.take('postulate').map(({ to }) => to),
    ['u1'],
  )
})

it('says which rows of a wrong unit are held and wait for its data plane', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80), endpointOf(81)] })
  rig.step({ on: 'order', app: '*', state: 'draining' })
  rig.pass(100)
  const [asked] = rig.take('postulate')
  rig.wrong('u1', asked!, [rig.row(81).id])
  const why = new Map(rig.host.pending().map(({ id, waiting }) => [id, waiting[0]!.why]))
  assert.is(why.get(rig.row(80).id), 'not in force')
  assert.is(why.get(rig.row(81).id), 'differs')
})

it('calls a unit silent when its answer is overdue, or when it cannot be asked', () => {
  const rig = new HostRig()
  const why = (): Record<string, string> =>
    Object.fromEntries(rig.host.pending()[0]!.waiting.map(each => [each.unit, each.why]))
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.pass(200)
  rig.step({ on: 'link', unit: 'u2', up: false })
  rig.step({ on: 'order', app: '*', state: 'draining' })
  assert.equal(why(), { u1: 'no answer yet', u2: 'silent' }, 'u1 is not even asked yet')
  const askedMs = rig.nowMs + 100
  rig.pass(askedMs + 999 - rig.nowMs)
  rig.step({ on: 'tick' })
  assert.equal(why(), { u1: 'no answer yet', u2: 'silent' })
  rig.pass(1)
  rig.step({ on: 'tick' })
  assert.equal(why(), { u1: 'silent', u2: 'silent' })
  // A link that comes gives its unit as long, and so does one that comes back.
  for (const unit of ['u2', 'u1']) {
    rig.step({ on: 'link', unit, up: false })
    rig.pass(300)
    rig.step({ on: 'link', unit, up: true })
    rig.pass(300)
    assert.is(why()[unit], 'no answer yet')
  }
})

it('a unit that answered wrong is not silent before a lease has gone by without a word', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'order', app: '*', state: 'draining' })
  rig.pass(2100)
  rig.wrong('u1', rig.take('postulate').at(-1)!)
  rig.pass(LEASE_MS - 1)
  rig.step({ on: 'tick' })
  assert.is(rig.host.pending()[0]!.waiting[0]!.why, 'differs')
})

it('waits for a silent unit until its lease must be over, and not a millisecond less', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.pass(200)
  rig.step({ on: 'link', unit: 'u2', up: false })
  rig.step({ on: 'order', app: '*', state: 'inactive' })
  rig.pass(100)
  const asked = rig.take('postulate')
  assert.is(asked.length, 1, 'the unreachable one is not asked')
  rig.right('u1', asked[0]!)
  rig.pass(HOLD_MS - 101)
  assert.is(rig.row(80).current, 'active')
  rig.pass(1)
  assert.is(rig.row(80).current, 'inactive')
})

it('waits on for a unit that says wrong', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'order', app: '*', state: 'draining' })
  let lastWrongMs = 0
  for (let i = 0; i < 40; i++) {
    rig.pass(250)
    for (const asked of rig.take('postulate')) {
      rig.wrong('u1', asked)
      lastWrongMs = rig.nowMs
    }
  }
  assert.is(rig.row(80).current, 'active')
  rig.pass(lastWrongMs + LEASE_MS - rig.nowMs - 1)
  assert.is(rig.row(80).current, 'active')
  rig.pass(1)
  assert.is(rig.row(80).current, 'draining')
})

it('starts anew when the target changes back: earlier answers count no more', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'order', app: '*', state: 'draining' })
  rig.pass(100)
  const [early] = rig.take('postulate')
  rig.step({ on: 'order', app: '*', state: null })
  rig.right('u1', early!)
  assert.is(rig.row(80).target, 'active')
  assert.is(rig.host.pending().length, 1, 'the unit may hold that it drains')
  rig.pass(100)
  const [asked] = rig.take('postulate')
  assert.equal(asked!.message.states[0]!.state, 'active')
  rig.actions = []
  const { generation } = rig.host.version
  rig.right('u1', asked!)
  assert.equal(rig.actions.filter(({ do: what }) => what === 'settled').length, 1)
  assert.is(rig.host.version.generation, generation, 'nothing is new')
  assert.equal(rig.host.pending(), [])
})

it('starts rows as ordered, at once: no unit has ever held anything else', () => {
  const rig = new HostRig()
  rig.step({ on: 'order', app: keyOf(81), state: 'inactive' })
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80), endpointOf(81)] })
  assert.equal([rig.row(80).target, rig.row(80).current], ['active', 'active'])
  assert.equal(
    [rig.row(81).target, rig.row(81).current, rig.row(81).cause],
    ['inactive', 'inactive', 'order'],
  )
  assert.equal(rig.host.pending(), [])
  rig.step({ on: 'stopping' })
  rig.step({ on: 'endpoints', endpoints: [endpointOf(82)] })
  assert.equal(
    [rig.row(82).target, rig.row(82).current, rig.row(82).cause],
    ['draining', 'draining', 'stopping'],
  )
})

it('starts a row that was just deleted as what units may still do with it', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'endpoints', endpoints: [] })
  assert.equal(rig.host.pending(), [], 'a delete is not postulated')
  rig.step({ on: 'order', app: keyOf(80), state: 'draining' })
  rig.pass(HOLD_MS - 1)
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  assert.equal([rig.row(80).target, rig.row(80).current], ['draining', 'active'])
  assert.is(rig.host.pending().length, 1)
  rig.step({ on: 'endpoints', endpoints: [] })
  rig.pass(HOLD_MS)
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  assert.equal([rig.row(80).target, rig.row(80).current], ['draining', 'draining'])
})

it('starts rows as active ones after a restart, for as long as units may hold the old ones', () => {
  const rig = new HostRig({ isRestart: true })
  rig.step({ on: 'order', app: '*', state: 'draining' })
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  assert.equal([rig.row(80).target, rig.row(80).current], ['draining', 'active'])
  rig.pass(HOLD_MS)
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80), endpointOf(81)] })
  assert.equal([rig.row(81).target, rig.row(81).current], ['draining', 'draining'])
})

it('settles at once where there are no units, and by time where they are not known yet', () => {
  const drain = (rig: HostRig): HostRig => {
    rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
    rig.step({ on: 'order', app: '*', state: 'draining' })
    return rig
  }
  const alone = drain(new HostRig({}, []))
  alone.pass(1)
  assert.is(alone.row(80).current, 'draining')
  const early = drain(new HostRig({}, null))
  early.pass(HOLD_MS - 1)
  assert.is(early.row(80).current, 'active')
  early.pass(1)
  assert.is(early.row(80).current, 'draining')
})

it('asks units that come meanwhile', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'order', app: '*', state: 'draining' })
  rig.step({ on: 'units', units: ['u1', 'u2'] })
  rig.step({ on: 'link', unit: 'u2', up: true })
  rig.pass(100)
  const [first, second] = rig.take('postulate')
  rig.right('u1', first!)
  assert.equal(rig.host.pending()[0]!.waiting, [{ unit: 'u2', why: 'no answer yet' }])
  rig.right('u2', second!)
  assert.is(rig.row(80).current, 'draining')
})

it('waits out the lease of a unit that was removed from the cluster', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'order', app: '*', state: 'draining' })
  rig.step({ on: 'units', units: ['u1'] })
  rig.pass(100)
  rig.right('u1', rig.take('postulate')[0]!)
  assert.equal(rig.host.pending()[0]!.waiting, [{ unit: 'u2', why: 'silent' }])
  rig.pass(HOLD_MS)
  assert.is(rig.row(80).current, 'draining')
})

it('begins a generation that a removed unit does not get, so that no relayed heartbeat renews its lease', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  const { generation } = rig.host.version
  rig.sent = []
  rig.step({ on: 'units', units: ['u1', 'u3'] })
  assert.is(rig.host.version.generation, generation + 1)
  assert.equal(
    rig.take('row-change').map(({ to }) => to),
    ['u1'],
  )
  rig.step({ on: 'units', units: ['u3', 'u1'] })
  assert.is(rig.host.version.generation, generation + 1, 'nobody is gone')
})

it('after a restart waits out the leases of units that may have been removed meanwhile', () => {
  const rig = new HostRig({ isRestart: true }, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'order', app: keyOf(80), state: 'draining' })
  rig.pass(100)
  rig.right('u1', rig.take('postulate')[0]!)
  rig.pass(HOLD_MS - 101)
  assert.is(rig.row(80).current, 'active')
  rig.pass(1)
  assert.is(rig.row(80).current, 'draining')
})

it('what a failing application asks for may change while it fails: by the protocol, as long as it fails', () => {
  const rig = new HostRig({}, ['u1'])
  const say = (whenFailing: WhenFailing): void =>
    void rig.step({ on: 'endpoints', endpoints: [endpointOf(80, 50, whenFailing)] })
  const state = (): string => {
    const { target, current, cause } = rig.row(80)
    return `${current}>${target} (${cause})`
  }
  const answer = (): void => {
    rig.pass(100)
    rig.right('u1', rig.take('postulate')[0]!)
  }
  say('draining')
  rig.step({ on: 'health', app: keyOf(80), health: 'failing' })
  answer()
  assert.is(state(), 'draining>draining (health)')
  say('inactive')
  assert.is(state(), 'draining>inactive (health)')
  answer()
  assert.is(state(), 'inactive>inactive (health)')
  say('draining')
  assert.is(state(), 'inactive>draining (health)')
  answer()
  rig.step({ on: 'order', app: keyOf(80), state: 'draining' })
  assert.is(state(), 'draining>draining (order)')
  assert.is(rig.host.pending().length, 1, 'u1 may still use it for want of a better one')
  answer()
  rig.step({ on: 'order', app: keyOf(80), state: null })
  rig.step({ on: 'health', app: keyOf(80), health: 'healthy' })
  answer()
  say('inactive')
  assert.is(state(), 'active>active (default)')
})

it('an order about a row that is inactive for its health is followed only when all units hold it', () => {
  for (const order of [{ on: 'order', app: keyOf(80), state: 'inactive' }, { on: 'stopping' }] as const) {
    const rig = new HostRig({}, ['u1'])
    rig.step({ on: 'endpoints', endpoints: [endpointOf(80, 50, 'inactive')] })
    rig.step({ on: 'health', app: keyOf(80), health: 'failing' })
    rig.pass(HOLD_MS)
    assert.equal(rig.host.pending(), [])
    rig.take('postulate')
    rig.step(order)
    assert.is(rig.host.pending().length, 1, 'u1 may use it for want of a better one')
    rig.pass(100)
    rig.actions = []
    rig.right('u1', rig.take('postulate')[0]!)
    assert.equal(rig.host.pending(), [])
    assert.equal(
      rig.actions.filter(a => a.do === 'settled').map(a => a.do),
      ['settled'],
    )
    rig.step({ on: 'order', app: keyOf(80), state: null })
    if (order.on === 'order') assert.equal(rig.host.pending(), [], 'back to health: it may be used again')
  }
})

it('a row that was inactive for its health and comes back inactive by order is waited for', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80, 50, 'inactive')] })
  rig.step({ on: 'health', app: keyOf(80), health: 'failing' })
  rig.pass(HOLD_MS)
  rig.step({ on: 'endpoints', endpoints: [] })
  rig.step({ on: 'order', app: keyOf(80), state: 'inactive' })
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80, 50, 'inactive')] })
  assert.equal([rig.row(80).target, rig.row(80).current], ['inactive', 'active'])
})

it('a row that goes before all units hold an order about it, and comes back, is waited for', () => {
  const rig = new HostRig({}, ['u1'])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80, 50, 'inactive')] })
  rig.step({ on: 'health', app: keyOf(80), health: 'failing' })
  rig.pass(HOLD_MS)
  rig.step({ on: 'order', app: keyOf(80), state: 'inactive' })
  rig.step({ on: 'endpoints', endpoints: [] })
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80, 50, 'inactive')] })
  assert.equal([rig.row(80).cause, rig.row(80).current], ['order', 'active'])
  rig.pass(HOLD_MS)
  assert.is(rig.row(80).current, 'inactive')
})

it('believes answers only of the unit that was asked', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'order', app: '*', state: 'draining' })
  rig.pass(100)
  const [asked] = rig.take('postulate', 'u1')
  rig.right('u2', asked!)
  assert.is(rig.host.pending()[0]!.waiting.length, 2)
  rig.actions = []
  rig.right('stranger', asked!)
  assert.equal(rig.actions[0], {
    do: 'refused',
    from: 'stranger',
    why: 'postulate-right from a node that is no unit',
  })
})

it('asks of thousands of rows in messages that the wire takes', () => {
  const rig = new HostRig({}, ['u1'])
  const endpoints = Array.from({ length: 3000 }, (_, i) => endpointOf(i + 1))
  rig.step({ on: 'endpoints', endpoints })
  assert.equal(
    rig.take('row-change').map(({ message }) => message.operations.length),
    [1024, 1024, 952],
  )
  rig.step({ on: 'stopping' })
  rig.pass(100)
  const asked = rig.take('postulate')
  assert.equal(
    asked.map(({ message }) => message.states.length),
    [1024, 1024, 952],
  )
  for (const each of asked) rig.right('u1', each)
  rig.pass(100)
  assert.ok(rig.host.rows().every(({ current }) => current === 'draining'))
})

it.run()
