import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { settle } from '../../../src/agent/cluster/settling.ts'
import type { ServiceConfig } from '../../../src/config/schema.ts'

const it = suite('settling')

const service = (name: string, ...hosts: string[]): ServiceConfig => ({
  name,
  vip: '10.99.0.1',
  port: 80,
  protocol: 'tcp',
  hosts: hosts.map(host => ({ name: host, capacity: 50 })),
})
const chosen = (step: ReturnType<typeof settle>): string =>
  step.services.map(({ name, hosts }) => `${name}: ${hosts.map(host => host.name).join(' ')}`).join('; ')
const nobody = (): boolean => false

it('what is there at the start is used at once', () => {
  const step = settle(null, [service('web', 'h1', 'h2')], nobody, 0)
  assert.is(chosen(step), 'web: h1 h2')
  assert.is(step.wakeAtMs, Number.POSITIVE_INFINITY)
})

it('a host that is new to a service waits until it is ready; those in use are not touched', () => {
  const start = settle(null, [service('web', 'h1')], nobody, 0)
  const added = settle(start.state, [service('web', 'h1', 'h2')], nobody, 1000)
  assert.is(chosen(added), 'web: h1')
  assert.is(added.wakeAtMs, 4000)
  const ready = settle(added.state, [service('web', 'h1', 'h2')], host => host === 'h2', 1300)
  assert.is(chosen(ready), 'web: h1 h2')
  // Once used, it is not asked again.
  assert.is(chosen(settle(ready.state, [service('web', 'h1', 'h2')], nobody, 1400)), 'web: h1 h2')
})

it('a silent host is used after three seconds from the change, not from the last look', () => {
  const start = settle(null, [service('web', 'h1')], nobody, 0)
  const added = settle(start.state, [service('web', 'h1', 'h2')], nobody, 1000)
  const again = settle(added.state, [service('web', 'h1', 'h2')], nobody, 3999)
  assert.is(chosen(again), 'web: h1')
  assert.is(chosen(settle(again.state, [service('web', 'h1', 'h2')], nobody, 4000)), 'web: h1 h2')
})

it('a host that was taken out and comes back is new again; a new service waits for each of its hosts', () => {
  const start = settle(null, [service('web', 'h1', 'h2')], nobody, 0)
  const out = settle(start.state, [service('web', 'h1')], nobody, 10)
  assert.is(chosen(settle(out.state, [service('web', 'h1', 'h2')], nobody, 20)), 'web: h1')
  const more = settle(start.state, [service('web', 'h1', 'h2'), service('dns', 'h1')], nobody, 30)
  assert.is(chosen(more), 'web: h1 h2; dns: ')
})

it.run()
