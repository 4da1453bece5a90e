/** The keys of a configuration file as items of a page, from the descriptions in its schema. */
import { bold, item } from './roff.ts'

export interface Schema {
  type?: string
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  enum?: unknown[]
  const?: unknown
  default?: unknown
  minimum?: number
  maximum?: number
  minItems?: number
}

const kindOf = (schema: Schema): string => {
  if (schema.const !== undefined) return `always ${schema.const}`
  if (schema.enum !== undefined) return `one of ${schema.enum.join(', ')}`
  if (schema.type === 'integer' || schema.type === 'number') return `${schema.minimum} to ${schema.maximum}`
  if (schema.type === 'array' && schema.items?.enum !== undefined)
    return `list of ${schema.items.enum.join(', ')}`
  if (schema.type === 'array') return 'list'
  return schema.type === 'object' ? 'mapping' : 'text'
}

const isLeaf = (schema: Schema): boolean =>
  schema.properties === undefined && schema.items?.properties === undefined

const keyItem = (path: string, schema: Schema, required: boolean): string => {
  const facts = [kindOf(schema)]
  if (isLeaf(schema) && schema.default !== undefined) {
    const text = Array.isArray(schema.default)
      ? schema.default.length === 0
        ? 'none'
        : schema.default.join(', ')
      : schema.default
    facts.push(`default ${text}`)
  } else if (required) facts.push('required')
  return item(bold(path), `(${facts.join('; ')}) ${schema.description ?? ''}`)
}

/** `prefix`: path of the keys' parent, '' at the top. */
export const walk = (schema: Schema, prefix: string): string =>
  Object.entries(schema.properties ?? {})
    .map(([key, child]) => {
      const path = prefix === '' ? key : `${prefix}.${key}`
      const own = keyItem(path, child, schema.required?.includes(key) === true)
      return own + walk(child, path) + (child.items === undefined ? '' : walk(child.items, `${path}[]`))
    })
    .join('')
