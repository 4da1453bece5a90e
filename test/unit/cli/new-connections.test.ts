/** New connections that wait or get nowhere: what an agent says of it, and what an operator is told. */
import * as assert from 'uvu/assert'
import { classifiersThere, holding } from '../../../src/agent/vip-facts.ts'
import { newConnectionTroubles } from '../../../src/cli/new-connections.ts'
import type { NodeState, VipStatus } from '../../../src/control/types.ts'
import { troubles } from '../../../src/tui/troubles.ts'
import { shunt } from '../../support/cli.ts'
import { controlSuite } from '../../support/control-suite.ts'
import { VIPS } from '../../support/fake-view.ts'
import { lookAt } from '../../support/tui.ts'

const it = controlSuite('cli/new-connections')

const rows = (...changes: Partial<VipStatus>[]) => ({
  vips: changes.map(change => ({ ...VIPS.vips[0]!, ...change })),
})
const held = { announce: 'arp', holder: 'f1', unattended: true } as const
const MOVE =
  'the agent of f1, which holds 10.99.0.1, is not heard: new connections may wait; shunt failover 10.99.0.1 moves it'
const NONE = 'no classifier is alive: no new connections'

it('each virtual IP once, and classifiers once', () => {
  assert.equal(newConnectionTroubles(rows({}, {})), [])
  assert.equal(newConnectionTroubles(rows(held, { ...held, port: 443 })), [MOVE])
  assert.equal(newConnectionTroubles(rows({ classifiers: 0 }, { classifiers: 0 })), [NONE])
  assert.equal(newConnectionTroubles(rows()), [])
  const { unattended: _, classifiers: __, ...older } = VIPS.vips[0]!
  assert.equal(newConnectionTroubles({ vips: [older as VipStatus] }), [])
})

it('shunt vips warns, with exit code 3; shunt top in its banner', async ctx => {
  ctx.view.data.vips = rows({ ...held, classifiers: 0 })
  const { code, stderr } = await shunt(['vips', '--socket', ctx.socket])
  assert.is(code, 3)
  assert.is(stderr, `warning: ${NONE}\nwarning: ${MOVE}\n`)
  const banner = troubles({ ...lookAt(0, { vips: ctx.view.data.vips }), events: [], lastEvent: 0 })
  assert.ok(banner.includes(NONE) && banner.includes(MOVE))
})

it('an agent says whether that of the holder is heard', () => {
  const of = (state: NodeState, announce: 'arp' | 'routed' = 'arp', holder: string | null = 'f1') =>
    holding({ vip: '10.99.0.1', announce }, { holderOf: () => holder, isOrdered: () => true }, () => state)
  assert.equal(of('dead'), { holder: 'f1', ordered: true, unattended: true })
  assert.not(of('alive').unattended)
  assert.not(of('connecting').unattended)
  assert.not(of('dead', 'arp', null).unattended)
  assert.equal(of('dead', 'routed'), { holder: null, ordered: false, unattended: false })
})

it('classifiers are counted, this node among them, that are not known to be away', () => {
  const states: Record<string, NodeState> = { f1: 'alive', c1: 'alive', c2: 'dead', c3: 'connecting' }
  const peers = ['c1', 'c2', 'c3'].map(name => ({ name, roles: ['classifier' as const] }))
  const count = (roles: ('classifier' | 'forwarder')[]): number =>
    classifiersThere({ node: { name: 'f1' }, roles, peers } as never, name => states[name]!)
  assert.is(count(['forwarder']), 2)
  assert.is(count(['forwarder', 'classifier']), 3)
})

it.run()
