/** `shunt failover`: what it takes for a virtual IP and a forwarder. */
import * as assert from 'uvu/assert'
import { answerFailover } from '../../../src/control/answer.ts'
import { parseOrder } from '../../../src/control/orders.ts'
import { shunt } from '../../support/cli.ts'
import { controlSuite } from '../../support/control-suite.ts'

const it = controlSuite('cli/failover')

it('an address is written as agents have it, whatever form it was given in', async ctx => {
  const { code, stdout } = await shunt(['failover', '2001:DB8:0::10', '--to', 'f2', '--socket', ctx.socket])
  assert.is(code, 0)
  assert.match(stdout, /^f2 holds 2001:db8::10, /)
  assert.equal(ctx.view.failovers, [{ vip: '2001:db8::10', to: 'f2' }])
})

it('another node may be told to carry it out', async ctx => {
  const answerer = { view: ctx.view, node: 'f2', log: { error: () => {} } }
  ctx.view.remoteAnswer = await answerFailover(answerer, { vip: '10.99.0.1' })
  const args = ['failover', '10.99.0.1', '--to', 'f3', '--node', 'f2', '--json', '--socket', ctx.socket]
  const { code, stdout } = await shunt(args)
  assert.is(code, 0)
  assert.is(JSON.parse(stdout).node, 'f2')
  assert.equal(ctx.view.remotes, [
    { node: 'f2', path: '/v1/failover', order: { vip: '10.99.0.1', to: 'f3' } },
  ])
})

it('an order is ended by --release, without --to', async ctx => {
  const release = ['failover', '10.99.0.1', '--release', '--socket', ctx.socket]
  const { code, stdout } = await shunt(release)
  assert.is(code, 0)
  assert.match(stdout, /^f2 holds 10\.99\.0\.1, and no order keeps it there any more/)
  assert.equal(ctx.view.failovers, [{ vip: '10.99.0.1', release: true }])
  assert.is((await shunt([...release, '--to', 'f1'])).code, 2)
  const both = { vip: '10.99.0.1', to: 'f1', release: true }
  assert.throws(() => parseOrder('failover', both), /exclude each other/)
  assert.is(ctx.view.failovers.length, 1)
})

it('what is no address, and no name, is told as such and asked of nobody', async ctx => {
  for (const [args, wrong] of [
    [['10.99.0.1/32'], /VIP is an IP address, not "10\.99\.0\.1\/32"/],
    [['fe80::1%eth0'], /VIP is an IP address, not "fe80::1%eth0"/],
    [['10.99.0.1', '--to', ''], /--to is the name of a forwarder .*, not ""; shunt nodes/],
    [['10.99.0.1', '--to', 'F2'], /--to is the name of a forwarder .*, not "F2"; shunt nodes/],
  ] as const) {
    const { code, stderr } = await shunt(['failover', ...args, '--socket', ctx.socket])
    assert.match(stderr, wrong)
    assert.is(code, 2)
  }
  assert.equal(ctx.view.failovers, [])
})

it.run()
