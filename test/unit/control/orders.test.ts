/** POST: strict bodies of bounded length, and errors that commands can tell apart. */
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import type { Statement } from '../../../src/cluster/types.ts'
import { post } from '../../../src/control/client.ts'
import type { TokenRegistration } from '../../../src/control/types.ts'
import { type ErrorCode, ShuntError } from '../../../src/errors.ts'
import { askSocket, codeOf } from '../../support/ask.ts'
import { controlSuite } from '../../support/control-suite.ts'
import { NODES } from '../../support/fake-view.ts'

const it = controlSuite('control/orders')

const CLUSTER = Buffer.alloc(32, 7).toString('base64url')
const SIGNATURE = Buffer.alloc(64, 9).toString('base64')
const ID = NODES.nodes[1]!.id
const STATEMENT: Statement = {
  cluster: CLUSTER,
  by: 'operator',
  body: { kind: 'roles', id: ID, roles: ['host'], revision: 1, atMs: 1_700_000_000_000 },
  signature: SIGNATURE,
}
const TOKEN: TokenRegistration = {
  cluster: CLUSTER,
  body: {
    token: 'V1StGXR8_Z5jdHi6B-myT',
    issuer: ID,
    roles: ['host'],
    uses: 1,
    issuedMs: 1_600_000_000_000,
    expiresMs: 1_700_000_000_000,
  },
  signature: SIGNATURE,
  secret: Buffer.alloc(32, 5).toString('base64'),
}
const JSON_HEADERS = { 'content-type': 'application/json' }

it('hands orders on, and answers in envelopes', async ctx => {
  const submitted = await post(ctx.socket, '/v1/statements', { statements: [STATEMENT] })
  assert.is(submitted.schema, 'shunt.submit/1')
  assert.is(submitted.node, 'f1')
  assert.equal(submitted.data, { accepted: 1, known: 0 })
  assert.equal(ctx.view.submitted, [{ statements: [STATEMENT] }])
  assert.equal((await post(ctx.socket, '/v1/tokens', TOKEN)).data, {})
  assert.equal(ctx.view.tokens, [TOKEN])
  const left = await post(ctx.socket, '/v1/leave', {})
  assert.is(left.schema, 'shunt.leave/1')
  assert.is(ctx.view.leaves, 1)
})

it('refuses what has another shape, and says where', async ctx => {
  const config = (text: string) => ({
    ...STATEMENT,
    body: { kind: 'config', revision: 1, parent: '', text, note: '', atMs: 0 },
  })
  const cases: [string, unknown, RegExp][] = [
    ['/v1/statements', { statements: [] }, /\/v1\/statements: statements: /],
    ['/v1/statements', { statements: Array(65).fill(STATEMENT) }, /statements: /],
    ['/v1/statements', { statements: [STATEMENT], force: true }, /force/],
    [
      '/v1/statements',
      { statements: [{ ...STATEMENT, signature: 'AA==' }] },
      /statements\.0\.signature: must be 64 bytes/,
    ],
    ['/v1/statements', { statements: [{ ...STATEMENT, extra: 1 }] }, /extra/],
    ['/v1/statements', { statements: [{ ...STATEMENT, body: { kind: 'reboot' } }] }, /statements\.0\.body/],
    ['/v1/statements', { statements: [config('x'.repeat(131_073))] }, /at most 131072 bytes/],
    ['/v1/statements', [STATEMENT], /expected object/],
    ['/v1/tokens', { ...TOKEN, body: { ...TOKEN.body, uses: 1001 } }, /body\.uses/],
    ['/v1/tokens', { ...TOKEN, secret: 'c2hvcnQ=' }, /secret/],
    ['/v1/leave', { now: true }, /now/],
    ['/v1/leave', null, /expected object/],
    ['/v1/leave', { ['k'.repeat(100_000)]: 1 }, /^.{100,800}$/s],
  ]
  for (const [path, body, message] of cases) {
    const [code, text] = await codeOf(post(ctx.socket, path, body))
    assert.is(code, 'SHUNT_ERR_STATEMENT', path)
    assert.match(text, message)
  }
  assert.equal([ctx.view.submitted, ctx.view.tokens, ctx.view.leaves], [[], [], 0])
  assert.equal(ctx.logged, [])
})

it('refuses bodies that are no JSON, of another type, or too long', async ctx => {
  const send = (body: string | Buffer, headers: Record<string, string> = JSON_HEADERS) =>
    askSocket(ctx.socket, '/v1/leave', { method: 'POST', headers, body })
  const bad = async (answer: ReturnType<typeof send>): Promise<[number, string]> => {
    const { status, body } = await answer
    return [status, body.error.code]
  }
  assert.equal(await bad(send('{')), [400, 'refused'])
  assert.equal(await bad(send('')), [400, 'refused'])
  assert.equal(await bad(send(Buffer.from([0x22, 0xff, 0x22]))), [400, 'refused'])
  assert.equal(await bad(send('['.repeat(1_000_000))), [400, 'refused'])
  assert.equal(await bad(send('{}', { 'content-type': 'text/plain' })), [415, 'unsupported_media'])
  assert.equal(await bad(send('{}', {})), [415, 'unsupported_media'])
  assert.equal(await bad(send('{}', { ...JSON_HEADERS, 'content-length': '1048577' })), [413, 'too_large'])
  const long = Buffer.alloc(1_048_577, ' ')
  assert.equal(await bad(send(long, { ...JSON_HEADERS, 'transfer-encoding': 'chunked' })), [413, 'too_large'])
  assert.is((await send(Buffer.alloc(1_048_576, ' ').fill('{}', 0, 2))).status, 200)
  assert.is((await send('{}', { 'content-type': 'Application/JSON; charset=UTF-8' })).status, 200)
  assert.is(ctx.view.leaves, 2)
})

it('errors of the view keep their meaning on the way to the command', async ctx => {
  const cases: [ErrorCode, number, ErrorCode][] = [
    ['SHUNT_ERR_CONFLICT', 409, 'SHUNT_ERR_CONFLICT'],
    ['SHUNT_ERR_STATEMENT', 400, 'SHUNT_ERR_STATEMENT'],
    ['SHUNT_ERR_TOKEN', 400, 'SHUNT_ERR_STATEMENT'],
    ['SHUNT_ERR_USAGE', 400, 'SHUNT_ERR_USAGE'],
    ['SHUNT_ERR_PEER', 502, 'SHUNT_ERR_PEER'],
  ]
  for (const [thrown, status, seen] of cases) {
    ctx.view.failure = new ShuntError(thrown, 'revision 3 came first')
    const body = JSON.stringify({})
    assert.is(
      (await askSocket(ctx.socket, '/v1/leave', { method: 'POST', headers: JSON_HEADERS, body })).status,
      status,
    )
    assert.equal(await codeOf(post(ctx.socket, '/v1/leave', {})), [seen, 'revision 3 came first'])
  }
  assert.equal(ctx.logged, [])
  ctx.view.failure = new Error('disk full')
  const [code, message] = await codeOf(post(ctx.socket, '/v1/leave', {}))
  assert.is(code, 'SHUNT_ERR_CONTROL_PROTOCOL')
  assert.match(message, /internal: .*disk full/)
  assert.equal(ctx.logged, ['control request failed'])
})

it('no more orders at a time than bodies are worth; one that is cut off frees its place', async ctx => {
  const head = `POST /v1/leave HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`
  const slow = await Promise.all(
    Array.from(
      { length: 8 },
      () =>
        new Promise<ReturnType<typeof connect>>(resolve => {
          const socket = connect(ctx.socket, () => socket.write(head, () => resolve(socket)))
        }),
    ),
  )
  const ask = () => codeOf(post(ctx.socket, '/v1/leave', {}))
  const [code, message] = await ask()
  assert.is(code, 'SHUNT_ERR_CONTROL_PROTOCOL')
  assert.match(message, /busy: 8 orders are at work; try again/)
  await Promise.all(slow.map(socket => new Promise(resolve => socket.once('close', resolve).destroy())))
  // The server hears of it a little later.
  for (;;) {
    try {
      await post(ctx.socket, '/v1/leave', {})
      break
    } catch {}
  }
  assert.is(ctx.view.leaves, 1)
  assert.equal(ctx.logged, [])
})

it('a body that does not come is a 408, and its place is free soon after, however the other side goes on', async ctx => {
  const head = `POST /v1/leave HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{`
  // None closes by itself, and some go on sending a byte now and then.
  const sockets = Array.from({ length: 8 }, () =>
    connect({ path: ctx.socket, allowHalfOpen: true }, function (this: ReturnType<typeof connect>) {
      this.write(head)
    }),
  )
  const drip = setInterval(() => {
    for (const socket of sockets.slice(4)) socket.write(' ')
  }, 300)
  await Promise.all(
    sockets.map(socket => new Promise(resolve => socket.on('error', resolve).on('data', resolve))),
  )
  const answeredMs = performance.now()
  while (ctx.view.leaves === 0) {
    // The stall time-out alone is 20 s.
    assert.ok(performance.now() - answeredMs < 10_000, 'the places are still taken')
    await post(ctx.socket, '/v1/leave', {}).catch(() => delay(100))
  }
  clearInterval(drip)
  for (const socket of sockets) socket.destroy()
})

it('a body that does not come is a 408', async ctx => {
  const head = `POST /v1/leave HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{`
  const text = await new Promise<string>((resolve, reject) => {
    const socket = connect(ctx.socket, () => socket.write(head))
    let all = ''
    socket.on('data', chunk => {
      all += chunk
    })
    socket.on('close', () => resolve(all))
    socket.on('error', reject)
  })
  assert.match(text, /^HTTP\/1\.1 408 /)
  assert.match(text, /"timeout","message":"the request did not arrive in 5000 ms"/)
})

it.run()
