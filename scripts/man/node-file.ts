/** shunt-node.yaml(5), from the descriptions in the schema. */
import { nodeJsonSchema } from '../../src/config/json-schema.ts'
import { bold, example, header, item, paragraphs, raw, section, seeAlso } from './roff.ts'

interface Schema {
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
  if (schema.type === 'integer') return `${schema.minimum} to ${schema.maximum}`
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

const walk = (schema: Schema, prefix: string): string =>
  Object.entries(schema.properties ?? {})
    .map(([key, child]) => {
      const path = prefix === '' ? key : `${prefix}.${key}`
      const own = keyItem(path, child, schema.required?.includes(key) === true)
      return own + walk(child, path) + (child.items === undefined ? '' : walk(child.items, `${path}[]`))
    })
    .join('')

export const nodeFilePage = (version: string, exampleText: string): string =>
  [
    header('shunt-node.yaml', 5, version),
    section('NAME'),
    raw('shunt\\-node.yaml \\- configuration of one shunt node'),
    section('DESCRIPTION'),
    paragraphs(`The node file tells an agent who it is, what it does, and which other nodes and services there are. It is
YAML 1.2, or JSON. It is read once, at start. Names are 1 to 63 of a-z, 0-9 and -. Files are absolute paths. Times are
milliseconds.

shunt config check FILE reports every error with its line; rules between values are checked once every value is valid
by itself. shunt config schema prints a JSON Schema for editors. An unknown key is an error.`),
    section('KEYS'),
    walk(nodeJsonSchema() as Schema, ''),
    section('RULES'),
    paragraphs(`Names and peer ids of nodes are unique, and so are all their cluster and tunnel addresses. A forwarder
has a tunnel address and an uplink interface. Where there are forwarders, there is at least one classifier, here or
among the peers. A virtual IP is not the address of a node; virtual IP, port and protocol together are used by one
service. The hosts of a service are peers, or this node, with the role host; a cluster has at most 255 of them.
timeouts.routeLease is at most half of timeouts.tcpIdle.`),
    section('EXAMPLE'),
    example(exampleText),
    seeAlso([
      ['shunt', 1],
      ['shunt-agent', 1],
      ['shunt-config-check', 1],
      ['shunt-keygen', 1],
    ]),
  ].join('')
