/** Questions and orders from node to node, over links that only pass bytes. */
import pino from 'pino'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { askRemote, serveRemote } from '../../../src/agent/remote.ts'
import type { PeerLinks } from '../../../src/gossip/links-api.ts'
import { FakeView } from '../../support/fake-view.ts'

const it = suite('agent/remote')

const linked = () => {
  const view = new FakeView()
  let handler: (peer: string, body: Uint8Array) => Promise<Uint8Array> = async body => Buffer.from(body)
  const links = {
    states: () => [{ name: 'f1' }],
    onRequest: (given: typeof handler): void => {
      handler = given
    },
    request: (_: string, body: Uint8Array) => handler('h1', body),
  } as unknown as PeerLinks
  serveRemote(links, view, 'f1', pino({ level: 'silent' }))
  const order = (path: string, body: unknown) => askRemote(links, 'f1', path, body)
  return { view, links, order }
}

it('a failover is carried out for another node, checked as one that is given here', async () => {
  const { view, order } = linked()
  const { status, body } = await order('/v1/failover', { vip: '10.99.0.1', to: 'f2' })
  assert.equal([status, JSON.parse(body).schema, JSON.parse(body).node], [200, 'shunt.failover/1', 'f1'])
  assert.equal(view.failovers, [{ vip: '10.99.0.1', to: 'f2' }])
  for (const wrong of [{}, { vip: 'nobody' }, { vip: '10.99.0.1', also: 1 }, null])
    assert.is((await order('/v1/failover', wrong)).status, 400)
  assert.is(view.failovers.length, 1)
})

it('members give no other order', async () => {
  const { view, order } = linked()
  for (const path of ['/v1/leave', '/v1/statements', '/v1/tokens', '/v1/failover/x', '/v1/status'])
    assert.ok((await order(path, {})).status >= 400, path)
  assert.equal([view.leaves, view.submitted, view.tokens, view.failovers], [0, [], [], []])
})

it('nor many of them at a time', async () => {
  const { view, order } = linked()
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => order('/v1/failover', { vip: '10.99.0.1' })),
  )
  assert.ok(answers.some(({ status }) => status === 503))
  assert.is(view.failovers.length, answers.filter(({ status }) => status === 200).length)
  assert.ok(view.failovers.length < 60)
})

it.run()
