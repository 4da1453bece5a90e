/** Writes schema/; a unit test fails when it is stale. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { clusterJsonSchema, nodeJsonSchema } from '../src/config/json-schema.ts'
import { openapiDocument } from '../src/control/openapi.ts'

const dir = join(import.meta.dirname, '..', 'schema')
mkdirSync(dir, { recursive: true })
const write = (file: string, value: object): void =>
  writeFileSync(join(dir, file), `${JSON.stringify(value, null, 2)}\n`)
write('node.schema.json', nodeJsonSchema())
write('cluster.schema.json', clusterJsonSchema())
write('openapi.json', openapiDocument())
