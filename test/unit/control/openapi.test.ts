/** The published OpenAPI document, against the sources and against what a server answers. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type ANSWER_DATA, envelopeOf } from '../../../src/control/answer-schemas.ts'
import { follow, get, post } from '../../../src/control/client.ts'
import { openapiDocument } from '../../../src/control/openapi.ts'
import { type Envelope, ORDER_SCHEMAS, SCHEMAS } from '../../../src/control/types.ts'
import { askSocket } from '../../support/ask.ts'
import { ROOT } from '../../support/cli.ts'
import { controlSuite } from '../../support/control-suite.ts'

const it = controlSuite('control/openapi')

interface Operation {
  parameters?: { name: string; in: string; schema: object }[]
  requestBody?: object
  responses: Record<string, object>
}
interface Document {
  openapi: string
  paths: Record<string, Record<'get' | 'post', Operation>>
  components: { schemas: Record<string, object> }
}
const published = (): Document => JSON.parse(readFileSync(join(ROOT, 'schema', 'openapi.json'), 'utf8'))

it('the published document is of these sources (make schema)', () => {
  assert.equal(published(), JSON.parse(JSON.stringify(openapiDocument())))
})

it('the agent serves it', async ctx => {
  assert.equal((await askSocket<object>(ctx.socket, '/v1/openapi.json')).body, published())
})

it('every reference has its target, and every component is referred to', () => {
  const { paths, components } = published()
  const used = new Set(JSON.stringify({ paths, components }).match(/#\/components\/schemas\/[a-z-]+/g))
  assert.equal(
    [...used].sort(),
    Object.keys(components.schemas)
      .map(name => `#/components/schemas/${name}`)
      .sort(),
  )
  assert.not.match(JSON.stringify(components), /"\$schema"/)
})

/** What these paths cannot do without. */
const NEEDED: Record<string, Record<string, string>> = {
  trace: { client: '10.20.0.5:40000', vip: '10.99.0.1:80' },
  atoms: { client: '10.20.0.5:40000', vip: '10.99.0.1:80' },
  capture: { vip: '10.99.0.1' },
}
const neededOf = (path: string): Record<string, string> => NEEDED[path.split('/').at(-1)!] ?? {}

it('every path of it is there, and takes the parameters that it names', async ctx => {
  ctx.view.remoteAnswer = { status: 200, body: '{}' }
  const values: Record<string, string> = {
    limit: '5',
    service: 'web',
    host: 'h1',
    client: '10.0.0.1',
    revision: '1',
    after: '1',
    follow: '0',
    protocol: 'udp',
    port: '80',
    count: '5',
    seconds: '5',
    snaplen: '64',
    at: 'client',
  }
  for (const [path, { get: look }] of Object.entries(published().paths)) {
    if (look === undefined || path === '/v1/whoami') continue
    const parameters = (look.parameters ?? []).filter(p => p.in === 'query').map(p => p.name)
    const needed = neededOf(path)
    const query = new URLSearchParams(parameters.map(name => [name, needed[name] ?? values[name]!]))
    // A stream is no JSON text; it has tests of its own.
    if (path === '/v1/capture') continue
    const { status } = await askSocket(ctx.socket, `${path.replace('{node}', 'h1')}?${query}`)
    assert.is(status, 200, path)
  }
})

/** The answer; of a stream the last line that it has by itself. */
const firstOf = async (socket: string, path: string): Promise<unknown> => {
  if (!path.startsWith('/v1/capture')) return get(socket, path)
  const lines: unknown[] = []
  const done = new AbortController()
  const take = (envelope: Envelope): void => {
    if (lines.push(envelope) === 1) done.abort()
  }
  await follow(socket, path, take, done.signal)
  return lines.at(-1)
}

it('what a server answers is described, field by field', async ctx => {
  const described = new Set<string>()
  const check = async (path: string, answer: Promise<unknown>): Promise<void> => {
    const envelope = (await answer) as { schema: keyof typeof ANSWER_DATA }
    const seen = envelopeOf(envelope.schema).parse(envelope)
    // The parser leaves out what it does not know.
    assert.equal(seen, envelope, path)
    described.add(envelope.schema)
  }
  for (const path of Object.keys(published().paths)) {
    if (path.includes('{') || ['/v1/openapi.json', '/v1/whoami', '/v1/report'].includes(path)) continue
    if (Object.hasOwn(ORDER_SCHEMAS, path.slice(4))) continue
    await check(path, firstOf(ctx.socket, `${path}?${new URLSearchParams(neededOf(path))}`))
  }
  await check('/v1/leave', post(ctx.socket, '/v1/leave', {}))
  assert.equal(
    Object.values(SCHEMAS).filter(schema => !described.has(schema)),
    [],
  )
  assert.throws(() => envelopeOf('shunt.events/1').parse({ schema: 'shunt.events/1', data: {} }))
})

it.run()
