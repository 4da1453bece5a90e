/** Queries of trace and capture, and the stream of a capture. */
import * as assert from 'uvu/assert'
import { follow, get } from '../../../src/control/client.ts'
import { parseRequest } from '../../../src/control/query.ts'
import type { CaptureData, Envelope } from '../../../src/control/types.ts'
import { ShuntError } from '../../../src/errors.ts'
import { codeOf } from '../../support/ask.ts'
import { controlSuite } from '../../support/control-suite.ts'
import { CAPTURE, TRACE } from '../../support/fake-view.ts'
import { until } from '../../support/traffic.ts'

const it = controlSuite('control/observe')

const TUPLE = 'client=10.0.0.1%3A4000&vip=10.99.0.1%3A80'

it('trace: passes the flow on, and answers with an envelope', async ctx => {
  const { schema, data } = await get(ctx.socket, `/v1/trace?protocol=udp&${TUPLE}`)
  const query = { protocol: 'udp', client: '10.0.0.1:4000', vip: '10.99.0.1:80' } as const
  assert.is(schema, 'shunt.trace/1')
  assert.equal(data, { ...TRACE, ...query })
  assert.equal(ctx.view.traces, [query])
})

it('trace and capture: what is no flow, or no bound, is refused before anybody is asked', () => {
  const wrong = [
    'trace',
    'trace?client=10.0.0.1%3A4000',
    `trace?protocol=icmp&${TUPLE}`,
    'trace?client=10.0.0.1&vip=10.99.0.1%3A80',
    'trace?client=10.0.0.1%3A0&vip=10.99.0.1%3A80',
    'trace?client=10.0.0.1%3A65536&vip=10.99.0.1%3A80',
    'trace?client=%5B10.0.0.1%5D%3A1&vip=10.99.0.1%3A80',
    'trace?client=%5Bfd00%3A%3A1%5D%3A4000&vip=10.99.0.1%3A80',
    'trace?client=%5Bfe80%3A%3A1%25eth0%5D%3A4000&vip=%5Bfd00%3A%3A1%5D%3A80',
    `trace?${TUPLE}&client=1.1.1.1%3A1`,
    'capture',
    'capture?vip=10.99.0.1%3A80',
    'capture?vip=web',
    'capture?vip=fe80%3A%3A1%25eth0',
    'capture?vip=10.99.0.1&port=0',
    'capture?vip=10.99.0.1&count=0',
    'capture?vip=10.99.0.1&count=100001',
    'capture?vip=10.99.0.1&seconds=601',
    'capture?vip=10.99.0.1&snaplen=257',
    'capture?vip=10.99.0.1&client=10.0.0.0%2F33',
    'capture?vip=10.99.0.1&client=10.0.0.0%2F8%2F8',
    'capture?vip=10.99.0.1&at=middle',
    'nodes/h1/capture?vip=10.99.0.1',
  ]
  for (const path of wrong) {
    const refused = parseRequest('GET', `/v1/${path}`)
    assert.ok('status' in refused && refused.status === 400, path)
  }
  assert.equal(
    parseRequest('GET', '/v1/nodes/h1/trace?client=%5Bfd00%3A%3A1%5D%3A4&vip=%5Bfd00%3A%3A2%5D%3A80'),
    {
      ask: 'remote',
      node: 'h1',
      path: '/v1/trace?client=%5Bfd00%3A%3A1%5D%3A4&vip=%5Bfd00%3A%3A2%5D%3A80',
    },
  )
})

const collect = (socket: string, query: string, done: (all: CaptureData[]) => boolean) => {
  const all: CaptureData[] = []
  const stop = new AbortController()
  const ended = follow(
    socket,
    `/v1/capture?${query}`,
    (envelope: Envelope) => {
      all.push(envelope.data as CaptureData)
      if (done(all)) stop.abort()
    },
    stop.signal,
  )
  return { all, ended, stop }
}

it('capture: lines as they come, until the last; defaults and filters are passed on', async ctx => {
  ctx.view.captureAnswers = []
  const { all, ended } = collect(
    ctx.socket,
    'vip=10.99.0.1&port=80&client=10.0.0.0%2F8&at=stack',
    ({ length }) => length === 3,
  )
  await until('the first line', () => (all.length > 0 ? true : undefined))
  assert.equal(all[0], { packets: [], lost: 0, end: null }, 'so that one knows that it has begun')
  ctx.view.captureDeliver({ ...CAPTURE, end: null })
  ctx.view.captureDeliver({ ...CAPTURE, packets: [], lost: 2 })
  await ended
  assert.equal(
    all.slice(1).map(({ packets, lost, end }) => [packets.length, lost, end]),
    [
      [1, 0, null],
      [0, 2, 'count'],
    ],
  )
  assert.equal(ctx.view.captures.at(-1), {
    ...{ vip: '10.99.0.1', port: 80, client: '10.0.0.0/8', at: 'stack' },
    ...{ count: 1000, seconds: 10, snaplen: 256 },
  })
})

it('capture: it ends with its reader', async ctx => {
  ctx.view.captureAnswers = []
  const { all, ended, stop } = collect(ctx.socket, 'vip=10.99.0.1', () => false)
  await until('the first line', () => (all.length > 0 ? true : undefined))
  const before = ctx.view.capturesStopped
  stop.abort()
  await ended
  await until('the end of the capture', () => (ctx.view.capturesStopped > before ? true : undefined))
})

it('capture: a refusal of the agent is an answer', async ctx => {
  ctx.view.failure = new ShuntError('SHUNT_ERR_CONFLICT', 'one runs already')
  const { ended } = collect(ctx.socket, 'vip=10.99.0.1', () => false)
  assert.equal(await codeOf(ended), ['SHUNT_ERR_CONFLICT', 'one runs already'])
  ctx.view.failure = undefined
})

it.run()
