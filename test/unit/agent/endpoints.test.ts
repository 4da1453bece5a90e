import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { absentEndpoints, endpointEntries } from '../../../src/agent/endpoints.ts'
import { vipsInUse } from '../../../src/agent/held-vips.ts'
import type { NodeConfig } from '../../../src/config/schema.ts'
import { checkTarget } from '../../../src/health/probe/target.ts'
import { type ServedEndpoint, serves, type WaitingSocket } from '../../../src/health/system/listeners.ts'

const it = suite('agent/endpoints')

type Config = Parameters<typeof endpointEntries>[0]
const config = (services: object[], roles = ['host']): Config =>
  ({
    node: { name: 'h1' },
    roles,
    addresses: { cluster: '10.0.0.5' },
    interfaces: { uplink: [], cluster: ['eth0'] },
    services,
  }) as unknown as NodeConfig
const WEB = { name: 'web', vip: '10.99.0.1', port: 80, protocol: 'tcp', hosts: [{ name: 'h1' }] }

it('an entry for each service of this host that has an endpoint, as it stands in packets', () => {
  const of = (more: object, roles?: string[]): object =>
    Object.fromEntries(endpointEntries(config([{ ...WEB, ...more }], roles)))
  const key = '00000000000000000000ffff0a63000100500000'
  assert.equal(of({}), {})
  assert.equal(of({ endpoint: { port: 8080 } }), { [key]: '00000000000000000000ffff0a0000051f900000' })
  assert.equal(of({ endpoint: { address: '127.0.0.1' } }), {
    [key]: '00000000000000000000ffff7f00000100500000',
  })
  assert.equal(of({ endpoint: { port: 8080 }, hosts: [{ name: 'h2' }] }), {})
  assert.equal(of({ endpoint: { port: 8080 } }, ['forwarder']), {})
  assert.equal(of({ vip: '2001:db8::80', endpoint: { address: '::1', port: 8080 } }), {
    '20010db800000000000000000000008000500000': '000000000000000000000000000000011f900000',
  })
})

it('an endpoint at an address that this node does not have is told of, with what to do', () => {
  const of = (more: object, held = ['10.0.0.5', '10.99.0.1', '::1'], roles?: string[]): string[] =>
    absentEndpoints(config([{ ...WEB, ...more }], roles), held)
  const absent = of({ endpoint: { address: '10.0.0.6', port: 8080 } })
  assert.is(absent.length, 1)
  assert.match(absent[0]!, /service web has its endpoint at 10\.0\.0\.6, which this node does not have/)
  assert.match(absent[0]!, /give the node that address/)
  assert.is(of({ endpoint: { port: 8080 }, hosts: [{ name: 'h1', address: '10.0.0.7' }] }).length, 1)
  assert.is(of({ vip: '2001:db8::80', endpoint: { address: '2001:db8::81' } }).length, 1)
  assert.equal(of({}), [])
  assert.equal(of({ endpoint: { port: 8080 } }), [])
  assert.equal(of({ endpoint: { address: '127.9.0.1' } }), [])
  assert.equal(of({ vip: '2001:db8::80', endpoint: { address: '0:0::1' } }), [])
  assert.equal(of({ endpoint: { address: '10.0.0.6' }, hosts: [{ name: 'h2' }] }), [])
  assert.equal(of({ endpoint: { address: '10.0.0.6' } }, [], ['forwarder']), [])
})

it('only who listens there, in the own namespace, serves it', () => {
  const endpoint: ServedEndpoint = {
    vip: '10.99.0.1',
    port: 80,
    protocol: 'tcp',
    physical: '127.0.0.1',
    physicalPort: 8080,
    translated: true,
  }
  const socket = (more: Partial<WaitingSocket>): WaitingSocket => ({
    ...{
      protocol: 'tcp',
      address: '127.0.0.1',
      port: 8080,
      inode: 1,
      v6only: false,
      namespace: null,
      local: [],
    },
    ...more,
  })
  const of = (more: Partial<WaitingSocket>): unknown => serves(socket(more), endpoint)
  assert.is(of({}), 'physical')
  assert.is(of({ address: '0.0.0.0' }), 'wildcard')
  assert.is(of({ address: '::' }), 'wildcard')
  assert.is(of({ address: '::', v6only: true }), null)
  assert.is(of({ address: '10.0.0.5' }), null)
  assert.is(of({ address: '10.99.0.1', port: 80 }), null)
  assert.is(of({ address: '0.0.0.0', port: 80 }), null)
  assert.is(of({ address: '10.99.0.1' }), null)
  assert.is(of({ protocol: 'udp' }), null)
  assert.is(of({ namespace: 'net:[1]', local: ['127.0.0.1'] }), null)
})

it('checks go to the endpoint', () => {
  const service = { name: 'web', vip: '10.99.0.1', port: 80, health: { type: 'tcp' } } as Parameters<
    typeof checkTarget
  >[1]
  assert.equal(checkTarget('k', service)?.address, '10.99.0.1')
  const { address, port } = checkTarget('k', service, { address: '127.0.0.1', port: 8080 })!
  assert.equal([address, port], ['127.0.0.1', 8080])
})

it('VIPs in use: by mappings; once something is encapsulated, by sockets too; all, if the kernel does not tell', async () => {
  const vips = new Set(['10.99.0.1', '10.99.0.2', '2001:db8::80'])
  let asked = 0
  const counting = (ends: string[]) =>
    function* (): Generator<void, ReadonlyMap<string, number>> {
      asked++
      return new Map(ends.map(end => [end, 1]))
    }
  const ports = new Set([80])
  const used = async (encapsulated: boolean, ends: string[]): Promise<string[]> =>
    [
      ...(await vipsInUse(vips, { '10.99.0.1': 2, '10.99.0.2': 0 }, encapsulated, ports, counting(ends))),
    ].sort()
  assert.equal(await used(false, ['10.99.0.2:80']), ['10.99.0.1'])
  assert.is(asked, 0)
  assert.equal(await used(true, ['10.99.0.2:80', '10.99.0.3:80']), ['10.99.0.1', '10.99.0.2'])
  assert.equal(await used(true, ['2001:db8::80:80']), ['10.99.0.1', '2001:db8::80'])
  const failing = (): never => {
    throw new Error('no')
  }
  assert.equal(await vipsInUse(vips, {}, true, ports, failing), vips)
})

it.run()
