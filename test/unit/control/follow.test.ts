/** Events as they happen. */
import { once } from 'node:events'
import { connect } from 'node:net'
import * as assert from 'uvu/assert'
import { follow } from '../../../src/control/client.ts'
import type { EventsData } from '../../../src/control/types.ts'
import { askSocket, codeOf } from '../../support/ask.ts'
import { controlSuite } from '../../support/control-suite.ts'

const it = controlSuite('control/follow')

/** Follows until `enough` says so; answers the sequence numbers of each line. */
const read = async (
  socket: string,
  path: string,
  enough: (lines: number[][]) => boolean,
  onLine = () => {},
) => {
  const lines: number[][] = []
  const stop = new AbortController()
  await follow(
    socket,
    path,
    ({ schema, data }) => {
      assert.is(schema, 'shunt.events/1')
      lines.push((data as EventsData).events.map(event => event.sequence))
      onLine()
      if (enough(lines)) stop.abort()
    },
    stop.signal,
  )
  return lines
}

it('first what was, then each event as it happens', async ctx => {
  let added = 0
  const add = () => {
    if (added++ < 2) ctx.view.log.add('agent.up', 'info', 'h1', 'h1 is back')
  }
  assert.equal(await read(ctx.socket, '/v1/events?follow=1', lines => lines.length === 3, add), [
    [1, 2],
    [3],
    [4],
  ])
  assert.equal(await read(ctx.socket, '/v1/events?follow=1&after=3', lines => lines.length === 1), [[4]])
  assert.equal(await read(ctx.socket, '/v1/events?follow=1&limit=1', lines => lines.length === 1), [[4]])
})

it('what happens while the view still answers is neither lost nor doubled', async ctx => {
  const { events } = ctx.view
  ctx.view.events = async query => {
    ctx.view.log.add('agent.up', 'info', 'h1', 'before the look')
    const data = await events.call(ctx.view, query)
    ctx.view.log.add('agent.up', 'info', 'h1', 'after the look')
    return data
  }
  assert.equal(await read(ctx.socket, '/v1/events?follow=1', lines => lines.flat().length === 4), [
    [1, 2, 3],
    [4],
  ])
})

it('a query that is refused, a view that fails, an agent that ends', async ctx => {
  const never = new AbortController().signal
  assert.is((await codeOf(follow(ctx.socket, '/v1/events?follow=2', () => {}, never)))[0], 'SHUNT_ERR_USAGE')
  ctx.view.failure = new Error('no ring')
  assert.is((await askSocket(ctx.socket, '/v1/events?follow=1')).status, 500)
  ctx.view.failure = undefined
  const ended = codeOf(follow(ctx.socket, '/v1/events?follow=1', () => void ctx.close(), never))
  assert.is((await ended)[0], 'SHUNT_ERR_CONTROL_UNREACHABLE')
})

it('a reader that does not read is dropped with a line that says so, and costs little', async ctx => {
  const socket = connect(ctx.socket, () =>
    socket.write('GET /v1/events?follow=1 HTTP/1.1\r\nhost: x\r\n\r\n'),
  )
  // The answer has begun; from here on nothing is read.
  await once(socket, 'readable')
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 200_000; i++) ctx.view.log.add('agent.up', 'info', 'h1', 'x'.repeat(400))
  assert.ok(process.memoryUsage().heapUsed - before < 64 * 1024 * 1024)
  let text = ''
  socket.on('data', chunk => {
    text += chunk
  })
  await once(socket, 'close')
  assert.match(text, /"code":"busy","message":"the reader is too slow; ask again with after=\d+"/)
  assert.ok(text.length < 2 * 1024 * 1024, String(text.length))
  // No listener is left behind.
  const stopped = ctx.view.log.query({ after: 0, limit: 1 }).last
  assert.equal(await read(ctx.socket, `/v1/events?follow=1&after=${stopped - 1}`, l => l.length === 1), [
    [stopped],
  ])
})

it('at most 64 follow; those who go free their places', async ctx => {
  const stop = new AbortController()
  let begun = 0
  let all!: () => void
  const ready = new Promise<void>(resolve => {
    all = resolve
  })
  const onLine = () => {
    if (++begun === 64) all()
  }
  const followers = Array.from({ length: 64 }, () =>
    follow(ctx.socket, '/v1/events?follow=1', onLine, stop.signal),
  )
  await ready
  const answer = await askSocket(ctx.socket, '/v1/events?follow=1')
  assert.is(answer.status, 503)
  assert.match(answer.body.error.message, /64 readers follow already/)
  stop.abort()
  await Promise.all(followers)
  const again = async (): Promise<number[][]> => {
    try {
      return await read(ctx.socket, '/v1/events?follow=1', lines => lines.length === 1)
    } catch {
      // The server hears of it a little later.
      return again()
    }
  }
  assert.equal(await again(), [[1, 2]])
})

it.run()
