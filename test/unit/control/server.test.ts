import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { get } from '../../../src/control/client.ts'
import { holderOf } from '../../../src/control/holder.ts'
import { startControlServer } from '../../../src/control/server.ts'
import type { EventsData, FlowsQuery } from '../../../src/control/types.ts'
import { ShuntError } from '../../../src/errors.ts'
import { type AskOptions, askSocket, codeOf } from '../../support/ask.ts'
import { FakeView } from '../../support/fake-view.ts'

interface Context {
  dir: string
  socket: string
  view: FakeView
  logged: string[]
  close?: () => Promise<void>
}
const it = suite<Context>('control/server')

const start = async (ctx: Context): Promise<void> => {
  const log = { error: (_: object, message: string) => void ctx.logged.push(message) }
  const server = await startControlServer({ socketPath: ctx.socket, view: ctx.view, node: 'f1', log })
  ctx.close = server.close
}

it.before.each(ctx => {
  ctx.dir = mkdtempSync(join(tmpdir(), 'shunt-control-'))
  ctx.socket = join(ctx.dir, 'control.sock')
  ctx.view = new FakeView()
  ctx.logged = []
})
it.after.each(async ctx => {
  await ctx.close?.()
  ctx.close = undefined
  rmSync(ctx.dir, { recursive: true })
})

const ask = (ctx: Context, path: string, options: AskOptions = {}) => askSocket(ctx.socket, path, options)

it('answers each noun in an envelope', async ctx => {
  await start(ctx)
  for (const noun of Object.keys(ctx.view.data) as (keyof typeof ctx.view.data)[]) {
    const envelope = await get(ctx.socket, noun === 'history' ? '/v1/config/history' : `/v1/${noun}`)
    assert.is(envelope.schema, noun === 'history' ? 'shunt.config-history/1' : `shunt.${noun}/1`)
    assert.is(envelope.node, 'f1')
    assert.is(new Date(envelope.time).toISOString(), envelope.time)
    assert.equal(envelope.data, ctx.view.data[noun])
  }
})

it('what an agent says about a failure is one line here', async ctx => {
  await start(ctx)
  ctx.view.failure = new ShuntError(
    'SHUNT_ERR_PEER',
    'h1 said: no\nerror: \x1b[2Jyour disk is full\r\ncode: X',
  )
  assert.equal(await codeOf(get(ctx.socket, '/v1/status')), [
    'SHUNT_ERR_PEER',
    'h1 said: no; error: your disk is full; code: X',
  ])
})

it('passes a query on', async ctx => {
  await start(ctx)
  await get(ctx.socket, '/v1/flows')
  await get(ctx.socket, '/v1/flows?limit=7&service=web&host=h1&client=10.0.0.1%3A4000')
  await get(ctx.socket, '/v1/flows?client=%5Bfd00%3A%3A1%5D%3A4000')
  assert.equal(ctx.view.queries, [
    { limit: 100 },
    { limit: 7, service: 'web', host: 'h1', client: '10.0.0.1:4000' },
    { limit: 100, client: '[fd00::1]:4000' },
  ] satisfies FlowsQuery[])
  await get(ctx.socket, '/v1/config')
  await get(ctx.socket, '/v1/config?revision=12')
  await get(ctx.socket, '/v1/config?revision=1f3a1f3a')
  assert.equal(ctx.view.configQueries, [{}, { revision: '12' }, { revision: '1f3a1f3a' }])
  const { data } = await get(ctx.socket, '/v1/events?after=1&limit=5')
  assert.equal(
    (data as EventsData).events.map(e => e.sequence),
    [2],
  )
})

it('refuses what it does not know, with stable codes', async ctx => {
  await start(ctx)
  const cases: [string, string, number, string, RegExp][] = [
    ['GET', '/v1/nothing', 404, 'not_found', /\/v1\/status/],
    ['GET', '/', 404, 'not_found', /no such path/],
    ['GET', '/v1/constructor', 404, 'not_found', /no such path/],
    ['GET', '/v1/status/', 404, 'not_found', /no such path/],
    ['POST', '/v1/status', 405, 'method_not_allowed', /only GET/],
    ['DELETE', '/v1/flows', 405, 'method_not_allowed', /only GET/],
    ['GET', '/v1/statements', 405, 'method_not_allowed', /only POST/],
    ['PUT', '/v1/tokens', 405, 'method_not_allowed', /only POST/],
    ['POST', '/v1/leave?now=1', 400, 'bad_query', /"now"; known: none/],
    ['GET', '/v1/history', 404, 'not_found', /\/v1\/config\/history/],
    ['GET', '/v1/config?revision=-1', 400, 'bad_query', /revision must be/],
    ['GET', '/v1/config?revision=abc', 400, 'bad_query', /revision must be/],
    ['GET', '/v1/events?after=-1', 400, 'bad_query', /after must be/],
    ['GET', '/v1/events?after=9999999999999999', 400, 'bad_query', /after must be/],
    ['GET', '/v1/events?limit=1001', 400, 'bad_query', /limit must be a whole number from 1 to 1000/],
    ['GET', '/v1/events?follow=yes', 400, 'bad_query', /follow must be 1/],
    ['GET', '/v1/status?a=1', 400, 'bad_query', /unknown query parameter "a"; known: none/],
    ['GET', '/v1/flows?limt=1', 400, 'bad_query', /"limt"; known: limit, service, host, client/],
    ['GET', '/v1/flows?limit=0', 400, 'bad_query', /limit must be/],
    ['GET', '/v1/flows?limit=10001', 400, 'bad_query', /limit must be/],
    ['GET', '/v1/flows?limit=1e3', 400, 'bad_query', /limit must be/],
    ['GET', '/v1/flows?limit=1&limit=2', 400, 'bad_query', /given twice/],
    ['GET', '/v1/flows?service=A%20b', 400, 'bad_query', /service must be a name/],
    ['GET', '/v1/flows?client=10.0.0', 400, 'bad_query', /client must be an address/],
    ['GET', '/v1/flows?client=10.0.0.1:70000', 400, 'bad_query', /client must be an address/],
  ]
  for (const [method, path, status, code, message] of cases) {
    const answer = await ask(ctx, path, { method })
    assert.is(answer.status, status, `${method} ${path}`)
    assert.is(answer.body.schema, 'shunt.error/1')
    assert.is(answer.body.error.code, code)
    assert.match(answer.body.error.message, message)
  }
  assert.is((await ask(ctx, '/v1/status', { method: 'PUT' })).headers.allow, 'GET')
  assert.is((await ask(ctx, '/v1/leave')).headers.allow, 'POST')
  assert.equal(ctx.view.queries, [])
})

it('refuses a body, a long header, and what is not HTTP', async ctx => {
  await start(ctx)
  assert.is((await ask(ctx, '/v1/status', { headers: { 'content-length': '3' }, body: 'abc' })).status, 413)
  const long = await ask(ctx, '/v1/status', { headers: { 'x-long': 'a'.repeat(9_000) } })
  assert.is(long.status, 431)
  assert.is(long.body.error.code, 'too_large')
  const raw = await new Promise<string>((resolve, reject) => {
    const socket = connect(ctx.socket, () => socket.write('not http\r\n\r\n'))
    let text = ''
    socket.on('data', chunk => {
      text += chunk
    })
    socket.on('end', () => resolve(text))
    socket.on('error', reject)
  })
  assert.match(raw, /^HTTP\/1\.1 400 /)
  assert.is((await get(ctx.socket, '/v1/status')).schema, 'shunt.status/1')
})

it('a view that fails is a 500 and a log line; what it calls wrong usage is a 400', async ctx => {
  await start(ctx)
  ctx.view.failure = new Error('worker is stuck')
  const answer = await ask(ctx, '/v1/status')
  assert.is(answer.status, 500)
  assert.is(answer.body.error.code, 'internal')
  assert.match(answer.body.error.message, /worker is stuck/)
  assert.equal(ctx.logged, ['control request failed'])
  assert.is((await codeOf(get(ctx.socket, '/v1/status')))[0], 'SHUNT_ERR_CONTROL_PROTOCOL')
  ctx.view.failure = new ShuntError('SHUNT_ERR_USAGE', 'there is no service x')
  assert.is((await ask(ctx, '/v1/status')).status, 400)
  assert.equal(await codeOf(get(ctx.socket, '/v1/status')), ['SHUNT_ERR_USAGE', 'there is no service x'])
  assert.is(ctx.logged.length, 2)
})

it('200 at a time', async ctx => {
  await start(ctx)
  const answers = await Promise.all(Array.from({ length: 200 }, () => get(ctx.socket, '/v1/status')))
  assert.is(answers.filter(a => a.schema === 'shunt.status/1').length, 200)
})

it('mode 0660; the file goes when the server closes', async ctx => {
  await start(ctx)
  assert.is(statSync(ctx.socket).mode & 0o777, 0o660)
  await ctx.close?.()
  assert.not.ok(existsSync(ctx.socket))
})

it('takes over a stale socket, leaves a live one and other files alone', async ctx => {
  const stale = createServer()
  await new Promise<void>(resolve => stale.listen(ctx.socket, resolve))
  // A second name keeps the socket file, as a killed process does.
  const { linkSync, renameSync } = await import('node:fs')
  linkSync(ctx.socket, `${ctx.socket}.kept`)
  await new Promise(resolve => stale.close(resolve))
  renameSync(`${ctx.socket}.kept`, ctx.socket)
  await start(ctx)
  assert.is((await get(ctx.socket, '/v1/status')).node, 'f1')

  const second = { ...ctx, close: undefined }
  const [code, message] = await codeOf(start(second))
  assert.is(code, 'SHUNT_ERR_OS')
  assert.match(message, /another agent answers/)
  assert.is((await get(ctx.socket, '/v1/status')).node, 'f1')

  const file = join(ctx.dir, 'file')
  writeFileSync(file, 'precious')
  assert.match((await codeOf(start({ ...ctx, socket: file, close: undefined })))[1], /is not a socket/)
  assert.is(statSync(file).size, 8)
  assert.match(
    (await codeOf(start({ ...ctx, socket: `/${'x'.repeat(120)}`, close: undefined })))[1],
    /longer than 107 bytes/,
  )
})

it('the client says what is wrong when nobody answers, or somebody else does', async ctx => {
  const [code, message] = await codeOf(get(ctx.socket, '/v1/status'))
  assert.is(code, 'SHUNT_ERR_CONTROL_UNREACHABLE')
  assert.match(message, /no such socket; is the agent running\? start it with .* or give --socket/)
  const other = createServer(socket => socket.resume().end('hello\r\n'))
  await new Promise<void>(resolve => other.listen(ctx.socket, resolve))
  const strange = await codeOf(get(ctx.socket, '/v1/status'))
  await new Promise(resolve => other.close(resolve))
  assert.is(strange[0], 'SHUNT_ERR_CONTROL_PROTOCOL')
})

it('who holds a socket that gives no answer', async ctx => {
  assert.is(await holderOf(ctx.socket), null)
  for (const path of ['', '80', 'a\0b', ctx.dir]) assert.is(await holderOf(path), null, path)
  const other = createServer(() => {})
  await new Promise<void>(resolve => other.listen(ctx.socket, resolve))
  assert.is(await holderOf(ctx.socket), process.pid)
  await new Promise(resolve => other.close(resolve))
})

it.run()
