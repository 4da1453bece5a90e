/** `shunt failover`: what it takes for a virtual IP and a forwarder. */
import * as assert from 'uvu/assert'
import { shunt } from '../../support/cli.ts'
import { controlSuite } from '../../support/control-suite.ts'

const it = controlSuite('cli/failover')

it('an address is written as agents have it, whatever form it was given in', async ctx => {
  const { code, stdout } = await shunt(['failover', '2001:DB8:0::10', '--to', 'f2', '--socket', ctx.socket])
  assert.is(code, 0)
  assert.match(stdout, /^f2 holds 2001:db8::10, /)
  assert.equal(ctx.view.failovers, [{ vip: '2001:db8::10', to: 'f2' }])
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
