/** The control API as an OpenAPI 3.1 document, made from the schemas that orders are checked by. */
import { z } from 'zod'
import { VERSION } from '../version.ts'
import { ANSWER_DATA, envelopeOf, errorEnvelope } from './answer-schemas.ts'
import { ORDER_BODIES } from './schemas.ts'
import {
  DEFAULT_CAPTURE_COUNT,
  DEFAULT_CAPTURE_SECONDS,
  DEFAULT_EVENTS,
  DEFAULT_FLOWS,
  MAX_CAPTURE_COUNT,
  MAX_CAPTURE_SECONDS,
  MAX_EVENTS,
  MAX_FLOWS,
  MAX_SNAPLEN,
  MIN_SNAPLEN,
  ORDER_SCHEMAS,
  type Order,
} from './types.ts'

type Json = Record<string, unknown>
type SchemaName = keyof typeof ANSWER_DATA

const schemaOf = (schema: z.ZodType): Json => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' })
  return rest
}

/** `shunt.config-history/1` is the component `config-history`. */
const componentOf = (schema: SchemaName): string => schema.slice('shunt.'.length).replace(/\/1$/, '')
const reference = (name: string): Json => ({ $ref: `#/components/schemas/${name}` })
const content = (name: string, type = 'application/json'): Json => ({ [type]: { schema: reference(name) } })

const parameter = (name: string, description: string, schema: Json): Json => ({
  name,
  in: 'query',
  required: false,
  description,
  schema,
})
const whole = (minimum: number, maximum: number, initial: number): Json => ({
  type: 'integer',
  minimum,
  maximum,
  default: initial,
})
const NAME: Json = { type: 'string', pattern: '^[a-z0-9-]{1,63}$' }

const ERROR: Json = { description: 'Refused; the message says what to do.', content: content('error') }
const answers = (schema: SchemaName, type?: string): Json => ({
  200: { description: `An envelope, ${schema}.`, content: content(componentOf(schema), type) },
  default: ERROR,
})

interface Look {
  path: string
  schema: SchemaName
  summary: string
  parameters?: Json[]
}

const LOOKS: readonly Look[] = [
  { path: 'status', schema: 'shunt.status/1', summary: 'The agent, its peers, how full its tables are.' },
  { path: 'hosts', schema: 'shunt.hosts/1', summary: 'The hosts, as this node sees them.' },
  { path: 'vips', schema: 'shunt.vips/1', summary: 'The virtual IPs and their services.' },
  {
    path: 'flows',
    schema: 'shunt.flows/1',
    summary: 'The flows that pass through this node.',
    parameters: [
      parameter('limit', 'At most this many.', whole(1, MAX_FLOWS, DEFAULT_FLOWS)),
      parameter('service', 'Only flows of this service.', NAME),
      parameter('host', 'Only flows to this host.', NAME),
      parameter('client', 'Only flows of this client: address, or address:port.', { type: 'string' }),
    ],
  },
  { path: 'drops', schema: 'shunt.drops/1', summary: 'Dropped packets, by reason.' },
  {
    path: 'trace',
    schema: 'shunt.trace/1',
    summary: 'What would become of a packet of a flow now. Sends nothing, changes nothing.',
    parameters: [
      parameter('protocol', 'Of the flow.', { enum: ['tcp', 'udp'], default: 'tcp' }),
      { ...parameter('client', 'Where it comes from: address:port.', { type: 'string' }), required: true },
      { ...parameter('vip', 'Where it goes: address:port.', { type: 'string' }), required: true },
    ],
  },
  {
    path: 'atoms',
    schema: 'shunt.atoms/1',
    summary:
      'What this node remembers of connections, its own and for other forwarders and classifiers; with client and vip, of one.',
    parameters: [
      parameter('protocol', 'Of the connection.', { enum: ['tcp', 'udp'], default: 'tcp' }),
      parameter('client', 'Where it comes from: address:port.', { type: 'string' }),
      parameter('vip', 'Where it goes: address:port.', { type: 'string' }),
    ],
  },
  {
    path: 'health',
    schema: 'shunt.health/1',
    summary: "This node's health and load table, and its cache of all tables.",
  },
  { path: 'apps', schema: 'shunt.apps/1', summary: 'What listens and runs on this host, and what it uses.' },
  { path: 'nodes', schema: 'shunt.nodes/1', summary: 'The nodes of the cluster: machine and agent of each.' },
  {
    path: 'cluster',
    schema: 'shunt.cluster/1',
    summary: 'What an operator needs to sign the next statement.',
  },
  {
    path: 'config',
    schema: 'shunt.config/1',
    summary: 'The cluster document in force, or an earlier revision.',
    parameters: [
      parameter('revision', 'A number, or 8 to 64 digits of a hash.', {
        type: 'string',
        pattern: '^(?:\\d{1,9}|[0-9a-f]{8,64})$',
      }),
    ],
  },
  { path: 'config/history', schema: 'shunt.config-history/1', summary: 'Revisions of the cluster document.' },
]

const EVENT_PARAMETERS: readonly Json[] = [
  parameter('after', 'Only events with a higher number.', whole(0, Number.MAX_SAFE_INTEGER, 0)),
  parameter('limit', 'At most this many, the newest.', whole(1, MAX_EVENTS, DEFAULT_EVENTS)),
]
const EVENTS: Look = {
  path: 'events',
  schema: 'shunt.events/1',
  summary: 'What happened lately.',
  parameters: [...EVENT_PARAMETERS],
}

const ORDERS: Record<Order, string> = {
  statements: "Takes an operator's signed statements, all or none. 409: another change came first.",
  tokens: 'Makes this node take machines that come with the token.',
  leave:
    "Signs this node out of the cluster; its agent drains and ends. Needs no operator's signature: whoever may use the socket may do it.",
  failover:
    "Moves a virtual IP that is announced by ARP to another forwarder, and waits until that one has it. Asked of a forwarder; needs no operator's signature.",
}

const lookItem = ({ schema, summary, parameters }: Look, before: Json[] = []): Json => ({
  get: { summary, parameters: [...before, ...(parameters ?? [])], responses: answers(schema) },
})

const followable = (): Json => {
  const follow = parameter(
    'follow',
    '1: go on, an envelope a line, as events happen. A reader that is too slow is dropped.',
    {
      enum: ['0', '1'],
      default: '0',
    },
  )
  const { get } = lookItem(EVENTS) as { get: Json }
  const ok = {
    description: 'An envelope, shunt.events/1; with follow=1 many, one a line.',
    content: { ...content('events'), ...content('events', 'application/x-ndjson') },
  }
  return {
    get: { ...get, parameters: [...EVENT_PARAMETERS, follow], responses: { 200: ok, default: ERROR } },
  }
}

const CAPTURE: Look = {
  path: 'capture',
  schema: 'shunt.capture/1',
  summary: 'Heads of packets to a VIP as they come, an envelope a line, until count or time are up.',
  parameters: [
    { ...parameter('vip', 'Address of the service.', { type: 'string' }), required: true },
    parameter('port', 'Of the VIP; any if left out.', { type: 'integer', minimum: 1, maximum: 65_535 }),
    parameter('client', 'Only of this client: address, or address/bits.', { type: 'string' }),
    parameter('count', 'Packets.', whole(1, MAX_CAPTURE_COUNT, DEFAULT_CAPTURE_COUNT)),
    parameter('seconds', 'Time.', whole(1, MAX_CAPTURE_SECONDS, DEFAULT_CAPTURE_SECONDS)),
    parameter('snaplen', 'Bytes of each packet.', whole(MIN_SNAPLEN, MAX_SNAPLEN, MAX_SNAPLEN)),
    parameter(
      'at',
      'client: as it came to a forwarder; stack: as the own stack of a host gets it. Left out: the former where the node is a forwarder.',
      { enum: ['client', 'stack'] },
    ),
  ],
}

/** One at a time; it ends when the reader goes. */
const captureItem = (): Json => ({
  get: {
    summary: CAPTURE.summary,
    description: 'One at a time on a node (409). It ends when the reader goes away.',
    parameters: CAPTURE.parameters,
    responses: answers(CAPTURE.schema, 'application/x-ndjson'),
  },
})

const orderItem = (order: Order, parameters?: Json[]): Json => ({
  post: {
    summary: ORDERS[order],
    ...(parameters && { parameters }),
    requestBody: { required: true, content: content(`${order}-body`) },
    responses: answers(ORDER_SCHEMAS[order]),
  },
})

const NODE_PARAMETER: Json = {
  name: 'node',
  in: 'path',
  required: true,
  description: 'Another node: the answer is that of its agent. 502: it could not be reached.',
  schema: NAME,
}

const paths = (): Json => {
  const entries: [string, Json][] = LOOKS.map(look => [`/v1/${look.path}`, lookItem(look)])
  entries.push(['/v1/events', followable()])
  entries.push(['/v1/capture', captureItem()])
  for (const look of [...LOOKS, EVENTS])
    entries.push([`/v1/nodes/{node}/${look.path}`, lookItem(look, [NODE_PARAMETER])])
  for (const order of Object.keys(ORDERS) as Order[]) entries.push([`/v1/${order}`, orderItem(order)])
  entries.push(['/v1/nodes/{node}/failover', orderItem('failover', [NODE_PARAMETER])])
  entries.push([
    '/v1/openapi.json',
    {
      get: { summary: 'This document.', responses: { 200: { description: 'OpenAPI 3.1.' }, default: ERROR } },
    },
  ])
  const whoami = {
    path: 'whoami',
    schema: 'shunt.whoami/1',
    summary: 'The process that asks, and what it serves.',
  } as const
  entries.push([
    '/v1/whoami',
    {
      ...lookItem(whoami),
      description: "Only on the applications' socket (node.appSocket), which any local process may use.",
    },
  ])
  entries.push([
    '/v1/report',
    {
      post: {
        summary: 'An application says how healthy and how busy it is.',
        description: "Only on the applications' socket, by a process that itself listens for the service.",
        parameters: [
          parameter('service', 'Only for this service; all that the process serves if left out.', NAME),
          parameter('health', 'How it is.', { enum: ['healthy', 'failing'] }),
          parameter('load', 'Percent of its capacity.', { type: 'integer', minimum: 0, maximum: 255 }),
        ],
        responses: answers('shunt.report/1'),
      },
    },
  ])
  return Object.fromEntries(entries)
}

const components = (): Json => {
  const schemas: Json = { error: schemaOf(errorEnvelope) }
  for (const schema of Object.keys(ANSWER_DATA) as SchemaName[])
    schemas[componentOf(schema)] = schemaOf(envelopeOf(schema))
  for (const order of Object.keys(ORDERS) as Order[]) schemas[`${order}-body`] = schemaOf(ORDER_BODIES[order])
  return { schemas }
}

/** The whole document; the same for all agents of a version. */
export const openapiDocument = (): object => ({
  openapi: '3.1.0',
  info: {
    title: 'shunt control API',
    version: VERSION,
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    description:
      "HTTP over the agent's Unix sockets: the operator's (node.controlSocket, mode 0660) and, for /v1/whoami, the applications' (node.appSocket). Answers are envelopes whose schema names their version; additions keep it.",
  },
  servers: [{ url: 'http://localhost', description: 'Any host name; the socket decides.' }],
  paths: paths(),
  components: components(),
})

let made: string | undefined
/** As JSON text, made once. */
export const openapiText = (): string => {
  made ??= `${JSON.stringify(openapiDocument(), null, 2)}\n`
  return made
}
