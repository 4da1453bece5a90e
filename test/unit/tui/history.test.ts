import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HISTORY, latest, NO_HISTORY, record } from '../../../src/tui/history.ts'
import { look } from '../../../src/tui/looks.ts'
import { NODES, STATUS, VIPS } from '../../support/fake-view.ts'
import { lookAt } from '../../support/tui.ts'

const it = suite('tui/history')
const vips = (connections: number, service = 'web') => ({
  vips: VIPS.vips.map(vip => ({ ...vip, service, connections })),
})

it('rates are a second, whatever lies between two looks', () => {
  const first = record(NO_HISTORY, lookAt(0, { atMs: 1000, vips: vips(100) }))
  assert.is(latest(first, 'service web'), null)
  const second = record(first, lookAt(0, { atMs: 1250, vips: vips(110) }))
  assert.is(latest(second, 'service web'), 40)
  assert.is(latest(second, 'connections'), 40)
})

it('a counter that fell, or another run of the agent, makes no rate', () => {
  const first = record(NO_HISTORY, lookAt(0, { atMs: 1000, vips: vips(100) }))
  assert.is(latest(record(first, lookAt(0, { atMs: 2000, vips: vips(3) })), 'service web'), null)
  const again = { ...STATUS, instance: 'another' }
  assert.is(
    latest(record(first, lookAt(0, { atMs: 2000, vips: vips(500), status: again })), 'service web'),
    null,
  )
})

it('keeps 60 looks, and nothing of what is gone', () => {
  let history = NO_HISTORY
  for (let i = 0; i < 100; i++) history = record(history, lookAt(i))
  assert.is(history.series.connections!.length, HISTORY)
  assert.is(history.series['rtt h1']!.length, HISTORY)
  const without = record(history, lookAt(100, { vips: vips(0, 'mail'), nodes: { ...NODES, nodes: [] } }))
  assert.not('service web' in without.series)
  assert.not('rtt h1' in without.series)
})

it('a look asks for flows only where they are wanted, and for all events of another run', async () => {
  const asked: string[] = []
  const ask = async (path: string) => {
    asked.push(path)
    return { time: '2026-03-02T09:30:10.000Z', data: path === '/v1/status' ? STATUS : {} }
  }
  await look(ask, { flows: '', events: { instance: STATUS.instance, after: 7 } }, () => 0)
  assert.equal(asked, [
    '/v1/status',
    '/v1/nodes',
    '/v1/vips',
    '/v1/hosts',
    '/v1/health',
    '/v1/atoms',
    '/v1/events?after=7&limit=1000',
  ])
  asked.length = 0
  await look(ask, { flows: 'limit=5&host=h1', events: { instance: 'before', after: 7 } }, () => 0)
  assert.equal(asked.slice(-2), ['/v1/events?after=0&limit=1000', '/v1/flows?limit=5&host=h1'])
})

it.run()
