/** Writes schema/node.schema.json; a unit test fails when it is stale. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nodeJsonSchema } from '../src/config/json-schema.ts'

const dir = join(import.meta.dirname, '..', 'schema')
mkdirSync(dir, { recursive: true })
writeFileSync(join(dir, 'node.schema.json'), `${JSON.stringify(nodeJsonSchema(), null, 2)}\n`)
