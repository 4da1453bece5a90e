import { z } from 'zod'
import { documentSchema } from './document.ts'
import { nodeFileSchema } from './schema.ts'

const publish = (id: string, title: string, schema: z.ZodType): object => ({
  $id: `shunt/${id}.schema.json`,
  title,
  ...z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' }),
})

/** The published JSON Schema (draft 2020-12) of the node file, as a reader may write it. */
export const nodeJsonSchema = (): object => publish('node', 'shunt node file', nodeFileSchema)

/** As nodeJsonSchema, of the cluster document. */
export const clusterJsonSchema = (): object => publish('cluster', 'shunt cluster document', documentSchema)
