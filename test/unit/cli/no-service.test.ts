/** `shunt trace` and `shunt atoms` of a connection to no service: which was meant, and how it is written. */
import * as assert from 'uvu/assert'
import { noService } from '../../../src/cli/no-service.ts'
import type { VipStatus } from '../../../src/control/types.ts'
import { shunt } from '../../support/cli.ts'
import { controlSuite } from '../../support/control-suite.ts'
import { ATOMS, TRACE, VIPS } from '../../support/fake-view.ts'

const it = controlSuite('cli/no-service')

const [WEB] = VIPS.vips as [VipStatus]
const tuple = (vip: string, protocol: 'tcp' | 'udp' = 'tcp') => ({ protocol, client: '10.20.0.5:40000', vip })

it('the nearest service, or all of them, but not without end', () => {
  const six: VipStatus = { ...WEB, vip: 'fd00::10', port: 443 }
  const vips = { vips: [WEB, six] }
  assert.is(noService(tuple('10.99.0.1:80'), vips), undefined)
  assert.is(noService(tuple('[fd00::10]:443'), vips), undefined)
  const known = '10.99.0.1:80/tcp, [fd00::10]:443/tcp'
  assert.is(
    noService(tuple('10.99.0.2:80'), vips),
    `no service is at 10.99.0.2:80/tcp (did you mean "10.99.0.1:80/tcp"?); there are: ${known}`,
  )
  assert.match(noService(tuple('10.99.0.1:80', 'udp'), vips) ?? '', /did you mean "10\.99\.0\.1:80\/tcp"/)
  assert.is(
    noService(tuple('192.0.2.77:8443'), vips),
    `no service is at 192.0.2.77:8443/tcp; there are: ${known}`,
  )
  assert.match(noService(tuple('10.99.0.1:80'), { vips: [] }) ?? '', /no services yet \(shunt apply\)$/)
  const many = Array.from({ length: 20 }, (_, i) => ({ ...WEB, port: 1000 + i }))
  assert.match(
    noService(tuple('10.99.0.1:80'), { vips: many }) ?? '',
    /:1007\/tcp and 12 more \(shunt vips\)$/,
  )
})

it('trace says so beside what the nodes say', async ctx => {
  ctx.view.traceAnswer = {
    ...TRACE,
    ...{ inForce: false, service: null, forwarder: false, kernel: null, flow: null, choice: null },
    ...{ host: null, classifier: null, hostSide: null, nextHop: null, verdict: 'not ours' },
  }
  const run = (vip: string) => shunt(['trace', 'tcp', '10.20.0.5:40000', vip, '--socket', ctx.socket])
  const { code, stderr } = await run('10.99.0.3:80')
  assert.is(code, 3)
  assert.match(
    stderr,
    /^warning: no service is at 10\.99\.0\.3:80\/tcp \(did you mean "10\.99\.0\.1:80\/tcp"\?\); there are: /m,
  )
  // There is one: that it is not taken here has another reason.
  assert.not.match((await run('10.99.0.1:80')).stderr, /no service is at/)
})

it('atoms says so where no member knows the connection', async ctx => {
  ctx.view.data.atoms = { ...ATOMS, members: [], atom: null }
  const { code, stderr } = await shunt(['atoms', '10.20.0.5:40000', '10.99.0.3:80', '--socket', ctx.socket])
  assert.is(code, 3)
  assert.match(stderr, /no member knows this connection/)
  assert.match(stderr, /^warning: no service is at 10\.99\.0\.3:80\/tcp \(did you mean/m)
})

it('each of the two shows its own way to write a connection', async () => {
  const [atoms, trace] = await Promise.all([shunt(['atoms', 'foo']), shunt(['trace', 'foo'])])
  assert.equal([atoms.code, trace.code], [2, 2])
  assert.match(atoms.stderr, /give it as 203\.0\.113\.5:40000 198\.51\.100\.10:80, with \/udp/)
  assert.match(trace.stderr, /give it as tcp 203\.0\.113\.5:40000 198\.51\.100\.10:80, IPv6/)
})

it.run()
