/** What drain and undrain make of a target, and of what the host and its units say. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { timeoutOf } from '../../../src/cli/directive/flags.ts'
import { heldOf, heldText } from '../../../src/cli/directive/held.ts'
import { lastActiveOf } from '../../../src/cli/directive/last-active.ts'
import { outcomeText, progressOf, waitingText } from '../../../src/cli/directive/progress.ts'
import {
  checkTarget,
  nextDirective,
  otherOrders,
  parseTarget,
  withDirective,
} from '../../../src/cli/directive/target.ts'
import type { DirectiveOrder } from '../../../src/cluster/types.ts'
import type { CachedTable, EndpointRow, HostStatus, NodeRow, OwnRow } from '../../../src/control/types.ts'
import type { DirectiveState } from '../../../src/health/types.ts'
import { HEALTH, HOSTS, NODES } from '../../support/fake-view.ts'

const it = suite('cli/directive')

const H1 = NODES.nodes[1]!
const order = (app: string, state: DirectiveState, revision = 1): DirectiveOrder => ({ app, state, revision })
const row = (change: Partial<OwnRow> = {}): OwnRow => ({
  ...HEALTH.cache![0]!.rows[0]!,
  why: '',
  whenFailing: 'draining',
  waiting: null,
  ...change,
})
const waitingFor = (...units: NonNullable<OwnRow['waiting']>['units']): OwnRow['waiting'] => ({
  sinceMs: 5,
  atMostMs: 2500,
  units,
})

it('a target is a node, or a node and a service', () => {
  assert.equal(parseTarget('h1'), { node: 'h1', app: '*' })
  assert.equal(parseTarget('h1/web'), { node: 'h1', app: 'web' })
  for (const wrong of [
    '/',
    'h1/',
    '/web',
    'h1/web/x',
    'h1/*',
    '*',
    ' ',
    'h1 ',
    'h1,h2',
    'h1\u001b[31m',
    '-é',
  ])
    assert.throws(
      () => parseTarget(wrong),
      (error: Error) => error.message.startsWith(`${JSON.stringify(wrong)} is no target: write HOST, such`),
      wrong,
    )
  assert.throws(() => parseTarget(''), /^the target is empty: write HOST, such as h1, or HOST\/SERVICE/)
  assert.throws(
    () => parseTarget('/'.repeat(10_000)),
    (error: Error) => error.message.length < 300,
  )
})

it('it must be a host, and have the service', () => {
  assert.not.throws(() => checkTarget({ node: 'h1', app: '*' }, H1, []))
  assert.not.throws(() => checkTarget({ node: 'h1', app: 'web' }, H1, HOSTS.hosts))
  assert.throws(
    () => checkTarget({ node: 'h1', app: 'wbe' }, H1, HOSTS.hosts),
    /no host of a service wbe \(did you mean "web"\?\); it has: web, dns/,
  )
  assert.throws(() => checkTarget({ node: 'f1', app: '*' }, NODES.nodes[0]!, HOSTS.hosts), /f1 is no host/)
})

it('orders of one application are numbered by themselves; the same again is no order', () => {
  const next = (directives: DirectiveOrder[], app: string, state: DirectiveState) => {
    const made = nextDirective({ id: 'x', directives }, app, state, 7)
    return made && [made.app, made.state, made.revision]
  }
  assert.equal(next([], '*', 'draining'), ['*', 'draining', 1])
  assert.is(next([], '*', 'active'), null)
  const orders = [order('*', 'active', 4), order('web', 'draining', 2)]
  assert.equal(next(orders, '*', 'draining'), ['*', 'draining', 5])
  assert.is(next(orders, 'web', 'draining'), null)
  assert.equal(next(orders, 'web', 'inactive'), ['web', 'inactive', 3])
  assert.equal(next(orders, 'web', 'active'), ['web', 'active', 3])
  assert.equal(withDirective(orders, order('web', 'active', 3)), [
    order('*', 'active', 4),
    order('web', 'active', 3),
  ])
})

it('says which other orders still hold something back', () => {
  const orders = [order('*', 'draining'), order('dns', 'inactive'), order('web', 'active', 2)]
  assert.equal(otherOrders({ node: 'h1', app: '*' }, orders), [
    'h1/dns is ordered to be inactive all the same; shunt undrain h1/dns ends that',
  ])
  assert.equal(otherOrders({ node: 'h1', app: 'web' }, orders), [
    'h1 is ordered to be draining all the same; shunt undrain h1 ends that',
  ])
})

it('a drain is settled when each row of it is there and known to be', () => {
  const settled = (state: DirectiveState, ...rows: Partial<OwnRow>[]): boolean =>
    progressOf(rows.map(row), [order('*', state)], '*').settled
  const drained = { target: 'draining', current: 'draining', cause: 'order' } as const
  assert.ok(settled('draining', drained))
  assert.ok(settled('draining'), 'nothing listens')
  assert.not.ok(settled('draining', {}), 'the host does not follow yet')
  assert.not.ok(settled('draining', { ...drained, current: 'active' }), 'the units do not')
  assert.not.ok(settled('draining', drained, {}), 'another row')
  assert.not.ok(settled('inactive', drained), 'an earlier order')
  assert.not.ok(settled('draining', { ...drained, cause: 'overload' }), 'not by the order')
  const inactive = { ...drained, target: 'inactive', current: 'inactive' } as const
  assert.ok(settled('inactive', inactive))
  assert.not.ok(settled('draining', inactive), 'an earlier order that was stricter')
  const failing = { health: 'failing', whenFailing: 'inactive' } as const
  assert.ok(settled('draining', { ...inactive, ...failing }), 'as its service says')
  assert.not.ok(settled('draining', { ...drained, ...failing }))
  assert.ok(settled('draining', { ...drained, health: 'failing' }))
  assert.not.ok(settled('draining', { ...inactive, health: 'failing' }), 'an earlier order that was stricter')
})

it('an undrain is settled when no row is held back by it; rows of other orders are not its own', () => {
  const held = { target: 'draining', current: 'draining', cause: 'order' } as const
  const settled = (orders: DirectiveOrder[], app: string, ...rows: Partial<OwnRow>[]): boolean =>
    progressOf(rows.map(row), orders, app).settled
  const done = [order('*', 'active', 2)]
  assert.ok(settled(done, '*', {}))
  assert.not.ok(settled(done, '*', held))
  assert.not.ok(settled(done, '*', { target: 'active', current: 'draining' }))
  assert.ok(settled(done, '*', { target: 'inactive', current: 'inactive', cause: 'health' }))
  assert.ok(settled([...done, order('web', 'draining')], '*', held))
  assert.ok(settled(done, 'dns', held), 'another service')
  assert.not.ok(settled(done, '*', { ...held, service: null }))
})

it('names the units that are waited for, once each', () => {
  const { waiting } = progressOf(
    [
      row({ target: 'draining', waiting: waitingFor({ unit: 'f2', why: 'silent' }) }),
      row({
        target: 'draining',
        service: 'dns',
        waiting: waitingFor({ unit: 'f2', why: 'differs' }, { unit: 'c1', why: 'not in force' }),
      }),
      row({
        service: 'old',
        target: 'draining',
        current: 'draining',
        cause: 'order',
        waiting: waitingFor({ unit: 'x', why: 'silent' }),
      }),
    ],
    [order('*', 'draining')],
    '*',
  )
  assert.is(waitingText(waiting, 'h1'), 'c1 (not in force), f2 (silent), x (silent)')
  assert.is(waitingText([], 'h1'), 'h1 itself')
})

it('says what came of it', () => {
  const drained = row({ target: 'draining', current: 'draining', cause: 'order' })
  assert.is(
    outcomeText('h1', '*', 'draining', [drained], { left: '3 left' }),
    'h1: draining on all units; 3 left',
  )
  assert.is(outcomeText('h1/web', 'web', 'draining', []), 'h1/web: draining; nothing listens there now')
  assert.is(outcomeText('h1', '*', 'active', [row()]), 'h1: active on all units')
  assert.is(
    outcomeText('h1', '*', 'active', [row()], { held: 'dns is inactive (health)' }),
    'h1: the order is withdrawn on all units; dns is inactive (health)',
  )
})

it('says what still holds rows back when an order is withdrawn', () => {
  const all = { node: 'h1', app: '*' }
  const web = { node: 'h1', app: 'web' }
  const held = (...[target, orders, ...rows]: [typeof all, DirectiveOrder[], ...Partial<OwnRow>[]]) =>
    heldText(heldOf(target, rows.map(row), orders))
  const drained = { target: 'draining', current: 'draining', cause: 'order' } as const
  const [onWeb, onAll] = [order('web', 'draining'), order('*', 'inactive')]
  assert.is(held(all, [order('*', 'active', 2)], {}), '')
  assert.is(held(all, [order('*', 'active', 2)], drained), '', 'what was withdrawn is on its way')
  assert.is(held(all, [], { ...drained, target: 'active', cause: 'default' }), '')
  assert.is(held(all, [], { ...drained, cause: 'stopping' }), 'web is draining (stopping)')
  for (const target of ['draining', 'inactive'] as const)
    assert.is(
      held(all, [], { target, cause: 'health' }),
      'web is failing: it gets new connections only while no host of it is well',
    )
  assert.is(
    held(all, [], { ...drained, cause: 'overload' }),
    'web is overloaded: it gets new connections only while all hosts of it are, or fail',
  )
  assert.is(held(all, [onWeb], drained, { service: 'dns' }), 'web is draining (order h1/web)')
  assert.is(held(web, [onAll], { ...drained, service: 'dns' }, drained), 'web is inactive (order h1)')
  assert.is(held(web, [order('dns', 'draining')], {}), '', 'of another service')
  assert.is(held(all, [onWeb], { ...drained, target: 'inactive' }), 'web is inactive (order h1/web)')
  // Nothing listens there, or the host could not be asked.
  assert.is(held(all, [onWeb]), 'web is draining (order h1/web)')
  assert.is(held(web, [onAll]), 'web is inactive (order h1)')
  assert.equal(heldOf(all, [], [onWeb]), [
    { service: 'web', vip: null, state: 'draining', cause: 'order', order: 'h1/web' },
  ])
  assert.equal(heldOf(web, [row(drained)], [onAll]), [
    { service: 'web', vip: row().vip, state: 'inactive', cause: 'order', order: 'h1' },
  ])
  assert.equal(heldOf(web, [row({ ...drained, cause: 'overload' })], []), [
    { service: 'web', vip: row().vip, state: 'draining', cause: 'overload', order: null },
  ])
})

it('asks about the last host of a service that takes connections', () => {
  const host = (name: string, change: Partial<HostStatus> = {}): HostStatus => ({
    ...HOSTS.hosts[0]!,
    name,
    services: ['web'],
    ...change,
  })
  const node = (name: string, directives: DirectiveOrder[] = []): NodeRow => ({ ...H1, name, directives })
  const both = [host('h1'), host('h2')]
  const nodes = [node('h1'), node('h2')]
  const h1 = { node: 'h1', app: '*' }
  const web = { node: 'h1', app: 'web' }
  assert.equal(lastActiveOf(h1, { hosts: both, nodes, cache: null }), [])
  assert.equal(lastActiveOf(web, { hosts: [host('h1')], nodes, cache: null }), ['web'])
  assert.equal(lastActiveOf(h1, { hosts: [host('h1'), host('h2', { state: 'dead' })], nodes, cache: null }), [
    'web',
  ])
  for (const app of ['*', 'web']) {
    const drained = [node('h1'), node('h2', [order(app, 'draining')])]
    assert.equal(lastActiveOf(h1, { hosts: both, nodes: drained, cache: null }), ['web'])
  }
  const others = [node('h1'), node('h2', [order('dns', 'draining')])]
  assert.equal(lastActiveOf(h1, { hosts: both, nodes: others, cache: null }), [])
  // What is drained already takes nothing: it is not the last.
  const gone = [node('h1', [order('*', 'draining')])]
  assert.equal(lastActiveOf(h1, { hosts: [host('h1')], nodes: gone, cache: null }), [])
  // The cache knows better than the machine's state.
  const table = (name: string, leaseMs: number | null, change: Partial<EndpointRow> = {}): CachedTable => ({
    ...HEALTH.cache![0]!,
    host: name,
    leaseMs,
    rows: [row({ host: name, ...change })],
  })
  const last = (...cache: CachedTable[]): string[] => lastActiveOf(h1, { hosts: both, nodes, cache })
  assert.equal(last(table('h1', 2000), table('h2', 2000)), [])
  assert.equal(last(table('h1', 2000), table('h2', 0)), ['web'])
  assert.equal(last(table('h1', 2000), table('h2', 2000, { target: 'inactive', cause: 'health' })), ['web'])
  assert.equal(last(table('h1', 2000), table('h2', null, { target: 'inactive' })), [])
  // Used all the same, while there is none that is better off.
  const failing = { health: 'failing', target: 'draining', current: 'draining', cause: 'health' } as const
  const full = { target: 'draining', current: 'draining', cause: 'overload' } as const
  assert.equal(last(table('h1', 2000, failing), table('h2', 2000, failing)), [])
  assert.equal(last(table('h1', 2000, failing), table('h2', 2000)), [])
  assert.equal(last(table('h1', 2000, full), table('h2', 2000, failing)), ['web'])
  assert.equal(last(table('h1', 2000, failing), table('h2', 2000, { ...failing, cause: 'order' })), ['web'])
  assert.equal(last(table('h1', 2000, failing), table('h2', 0, failing)), ['web'])
  assert.equal(last(table('h1', 2000, failing), table('h2', 2000, { capacity: 0 })), ['web'])
})

it('a time-out has a unit, or is in milliseconds', () => {
  assert.is(timeoutOf('1500'), 1500)
  assert.is(timeoutOf('30s'), 30_000)
  for (const wrong of ['0', '99', '2d', 'soon', '-1']) assert.throws(() => timeoutOf(wrong), /--timeout/)
})

it.run()
