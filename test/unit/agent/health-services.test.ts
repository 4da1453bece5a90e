/** Which services and hosts a node's health side has to do with. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { addedHosts, ordersOf, serviceOf, settledNews } from '../../../src/agent/health/services.ts'
import type { DirectiveOrder } from '../../../src/cluster/types.ts'
import type { NodeConfig, ServiceConfig } from '../../../src/config/schema.ts'

const it = suite('health services')

const service = (name: string, vip: string, hosts: string[]): ServiceConfig =>
  ({
    ...{ name, vip, port: 80, protocol: 'tcp' },
    hosts: hosts.map(host => ({ name: host, capacity: 100 })),
  }) as unknown as ServiceConfig
const web = service('web', '10.99.0.1', ['h1', 'h2'])
const mail = service('mail', '10.99.0.2', ['h1'])
const order = (app: string, state: DirectiveOrder['state']): DirectiveOrder =>
  ({ host: 'h1', app, state }) as unknown as DirectiveOrder

it('a service is found by address, port and protocol', () => {
  const services = [web, mail]
  assert.is(serviceOf({ services }, { vip: '10.99.0.2', port: 80, protocol: 'tcp' }), mail)
  assert.is(serviceOf({ services }, { vip: '10.99.0.2', port: 81, protocol: 'tcp' }), undefined)
  assert.is(serviceOf({ services }, { vip: '10.99.0.2', port: 80, protocol: 'udp' }), undefined)
})

it('hosts that are new to a service are those of no service of that name before', () => {
  const before = { services: [web] }
  const now = { services: [service('web', '10.99.0.1', ['h2', 'h3']), mail] }
  assert.equal(addedHosts(before, now), [
    { service: 'web', host: 'h3' },
    { service: 'mail', host: 'h1' },
  ])
  assert.equal(addedHosts(now, now), [])
})

it('an order is of all endpoints, or of those of its service; to be active is no order', () => {
  const endpoints = [
    { key: 'a', service: { name: 'web' } },
    { key: 'b', service: { name: 'web' } },
    { key: 'c', service: { name: 'mail' } },
  ]
  assert.equal([...ordersOf([order('*', 'draining')], endpoints)], [['*', 'draining']])
  assert.equal(
    [...ordersOf([order('web', 'inactive'), order('mail', 'active')], endpoints)],
    [
      ['a', 'inactive'],
      ['b', 'inactive'],
    ],
  )
  assert.equal([...ordersOf([order('gone', 'draining')], endpoints)], [])
})

it('a drain for overload or for health is told as such, and its end is not', () => {
  const config = { node: { name: 'h1' }, services: [web] } as unknown as NodeConfig
  const { vip, port, protocol } = web
  const app = { vip, port, protocol, physical: '', physicalPort: port, specific: '' }
  const news = (...args: [Parameters<typeof settledNews>[1], Parameters<typeof settledNews>[2]]) =>
    settledNews(config, ...args)
  assert.equal(news({ app, cause: 'overload' }, 'draining'), {
    ...{ service: 'web', host: 'h1', what: 'draining: it is overloaded' },
  })
  assert.is(news({ app, cause: 'health' }, 'inactive').what, 'inactive: it fails')
  assert.is(news({ app, cause: 'default' }, 'active').what, 'active')
  assert.equal(news({ app: { ...app, port: 1 }, cause: 'order' }, 'draining'), {
    ...{ service: undefined, host: 'h1', what: 'draining' },
  })
})

it.run()
