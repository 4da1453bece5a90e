/** The published OpenAPI document, against the sources and against what a server answers. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type ANSWER_DATA, envelopeOf } from '../../../src/control/answer-schemas.ts'
import { get, post } from '../../../src/control/client.ts'
import { openapiDocument } from '../../../src/control/openapi.ts'
import { ORDER_SCHEMAS, SCHEMAS } from '../../../src/control/types.ts'
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
  }
  for (const [path, { get: look }] of Object.entries(published().paths)) {
    if (look === undefined || path === '/v1/whoami') continue
    const parameters = (look.parameters ?? []).filter(p => p.in === 'query').map(p => p.name)
    const query = new URLSearchParams(parameters.map(name => [name, values[name]!]))
    const { status } = await askSocket(ctx.socket, `${path.replace('{node}', 'h1')}?${query}`)
    assert.is(status, 200, path)
  }
})

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
    await check(path, get(ctx.socket, path))
  }
  await check('/v1/leave', post(ctx.socket, '/v1/leave', {}))
  assert.equal(
    Object.values(SCHEMAS).filter(schema => !described.has(schema)),
    [],
  )
  assert.throws(() => envelopeOf('shunt.events/1').parse({ schema: 'shunt.events/1', data: {} }))
})

it.run()
