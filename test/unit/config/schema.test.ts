import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { clusterJsonSchema, nodeJsonSchema } from '../../../src/config/json-schema.ts'
import { ROOT } from '../../support/cli.ts'

const it = suite('config/schema')

const SCHEMAS = { 'node.schema.json': nodeJsonSchema, 'cluster.schema.json': clusterJsonSchema }

it('the published schemas are of these sources (make schema)', () => {
  for (const [file, schema] of Object.entries(SCHEMAS)) {
    const published = JSON.parse(readFileSync(join(ROOT, 'schema', file), 'utf8'))
    assert.equal(published, JSON.parse(JSON.stringify(schema())), file)
  }
})

it('every key has a description, and unknown keys are refused everywhere', () => {
  const missing: string[] = []
  const walk = (schema: Record<string, unknown>, path: string): void => {
    const properties = schema.properties as Record<string, Record<string, unknown>> | undefined
    if (properties !== undefined) assert.is(schema.additionalProperties, false, path)
    for (const [key, child] of Object.entries(properties ?? {})) {
      if (!child.description) missing.push(`${path}.${key}`)
      walk(child, `${path}.${key}`)
    }
    if (schema.items !== undefined) walk(schema.items as Record<string, unknown>, `${path}[]`)
  }
  for (const schema of Object.values(SCHEMAS)) walk(schema() as Record<string, unknown>, '')
  assert.equal(missing, [])
})

it.run()
