import { z } from 'zod'
import { nodeConfigSchema } from './schema.ts'

/** The published JSON Schema (draft 2020-12) of the node file, as a reader may write it. */
export const nodeJsonSchema = (): object => ({
  $id: 'shunt/node.schema.json',
  title: 'shunt node file',
  ...z.toJSONSchema(nodeConfigSchema, { io: 'input', target: 'draft-2020-12' }),
})
