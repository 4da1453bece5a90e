/** Questions that another node answers: this node only passes them on. */
import * as assert from 'uvu/assert'
import { answerGet } from '../../../src/control/answer.ts'
import { get } from '../../../src/control/client.ts'
import { askSocket, codeOf } from '../../support/ask.ts'
import { controlSuite } from '../../support/control-suite.ts'

const it = controlSuite('control/remote')

it('passes path and query on, and the answer back', async ctx => {
  ctx.view.remoteAnswer = await answerGet(
    { view: ctx.view, node: 'h1', log: { error: () => {} } },
    '/v1/flows?limit=3&service=web',
  )
  const envelope = await get(ctx.socket, '/v1/nodes/h1/flows?limit=3&service=web')
  assert.is(envelope.node, 'h1')
  assert.is(envelope.schema, 'shunt.flows/1')
  assert.equal(ctx.view.queries, [{ limit: 3, service: 'web' }])
  for (const path of ['config/history', 'events?after=3', 'config?revision=2', 'nodes', 'openapi.json'])
    await askSocket(ctx.socket, `/v1/nodes/h1/${path}`)
  assert.equal(
    ctx.view.remotes.map(({ path }) => path),
    [
      '/v1/flows?limit=3&service=web',
      '/v1/config/history',
      '/v1/events?after=3',
      '/v1/config?revision=2',
      '/v1/nodes',
      '/v1/openapi.json',
    ],
  )
})

it('a node that is asked for by its own name answers itself', async ctx => {
  const own = await get(ctx.socket, '/v1/nodes/f1/flows?limit=3')
  assert.is(own.schema, 'shunt.flows/1')
  assert.is(own.node, 'f1')
  assert.equal(ctx.view.queries, [{ limit: 3 }])
  assert.equal(ctx.view.remotes, [])
})

it('refuses here what the other would refuse, and what is for one node alone', async ctx => {
  const cases: [string, string, number, RegExp][] = [
    ['GET', '/v1/nodes/h1/', 404, /no such path/],
    ['GET', '/v1/nodes/h1/nothing', 404, /no such path/],
    ['GET', '/v1/nodes/h1/../status', 404, /no such path/],
    ['GET', '/v1/nodes/H1/status', 400, /node must be a name/],
    ['GET', '/v1/nodes//status', 400, /node must be a name/],
    ['GET', '/v1/nodes/h1%2fx/status', 400, /node must be a name/],
    ['GET', '/v1/nodes/h1/flows?limit=0', 400, /limit must be/],
    ['GET', '/v1/nodes/h1/nodes/h2/status', 400, /give one node/],
    ['GET', '/v1/nodes/h1/events?follow=1', 400, /cannot be followed/],
    ['POST', '/v1/nodes/h1/status', 405, /only GET/],
    ['POST', '/v1/nodes/h1/leave', 400, /takes no orders this way/],
    ['GET', '/v1/nodes/h1/leave', 405, /only POST/],
  ]
  for (const [method, path, status, message] of cases) {
    const answer = await askSocket(ctx.socket, path, { method })
    assert.is(answer.status, status, `${method} ${path}`)
    assert.match(answer.body.error.message, message)
  }
  assert.equal(ctx.view.remotes, [])
})

it('a node that does not answer is 502, one that is not known wrong usage', async ctx => {
  const answer = await askSocket(ctx.socket, '/v1/nodes/h2/status')
  assert.is(answer.status, 502)
  assert.is(answer.body.error.code, 'unreachable')
  assert.equal(await codeOf(get(ctx.socket, '/v1/nodes/h2/status')), [
    'SHUNT_ERR_PEER',
    'node h2 did not answer',
  ])
  assert.equal(ctx.logged, [])
})

it('what another node answers cannot break the answer here', async ctx => {
  for (const status of [0, 99, 1000, Number.NaN, 200.5]) {
    ctx.view.remoteAnswer = { status, body: '{}' }
    assert.is((await askSocket(ctx.socket, '/v1/nodes/h1/status')).status, 502, String(status))
  }
  ctx.view.remoteAnswer = { status: 200, body: 'not json\r\n\r\nHTTP/1.1 200 OK' }
  const [code, message] = await codeOf(get(ctx.socket, '/v1/nodes/h1/status'))
  assert.is(code, 'SHUNT_ERR_CONTROL_PROTOCOL')
  assert.match(message, /no JSON/)
  ctx.view.remoteAnswer = {
    status: 200,
    body: '{"schema":"shunt.error/1","error":{"code":"constructor","message":"x"}}',
  }
  assert.is((await codeOf(get(ctx.socket, '/v1/nodes/h1/status')))[0], 'SHUNT_ERR_CONTROL_PROTOCOL')
})

it('answers to other nodes are read only and about this node', async ctx => {
  const answerer = { view: ctx.view, node: 'f1', log: { error: () => {} } }
  for (const path of ['/v1/nodes/h1/status', '/v1/events?follow=1', '/v1/leave', '/v1/statements', '', '\0'])
    assert.ok((await answerGet(answerer, path)).status >= 400, path)
  assert.equal([ctx.view.remotes, ctx.view.leaves, ctx.view.submitted], [[], 0, []])
})

it.run()
