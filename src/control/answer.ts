/** Answers of the control API, apart from how they are carried: over the local socket, or to another node. */
import { errorText, ShuntError } from '../errors.ts'
import { type Asked, parseRequest, type Request } from './query.ts'
import {
  type AgentView,
  type CaptureData,
  type ControlErrorCode,
  type Envelope,
  ERROR_SCHEMA,
  type ErrorEnvelope,
  type EventsData,
  ORDER_SCHEMAS,
  type Order,
  SCHEMAS,
} from './types.ts'

/** An agent that needs longer for an answer is stuck. */
const ANSWER_TIMEOUT_MS = 10_000

export interface Answer {
  status: number
  /** JSON text. */
  body: string
  /** Of a 405: the method that the path takes. */
  allow?: string
}
export interface Answerer {
  view: AgentView
  /** Name of the node, for the envelopes. */
  node: string
  log: { error(fields: object, message: string): void }
}

export const errorBody = (code: ControlErrorCode, message: string): string =>
  `${JSON.stringify({ schema: ERROR_SCHEMA, error: { code, message } } satisfies ErrorEnvelope)}\n`

export const refusal = (status: number, code: ControlErrorCode, message: string): Answer => ({
  status,
  body: errorBody(code, message),
})

const envelope = (node: string, schema: string, data: unknown): string =>
  `${JSON.stringify({ schema, node, time: new Date().toISOString(), data } satisfies Envelope)}\n`

/** A line of a stream of events. */
export const eventsLine = (node: string, data: EventsData): string => envelope(node, SCHEMAS.events, data)

export const captureLine = (node: string, data: CaptureData): string => envelope(node, SCHEMAS.capture, data)

/** Errors of the view that are the asker's to know; any other is a defect and is logged. */
const BY_ERROR: Partial<Record<ShuntError['code'], [number, ControlErrorCode]>> = {
  // The view knows which services, hosts and nodes exist.
  SHUNT_ERR_USAGE: [400, 'bad_query'],
  SHUNT_ERR_STATEMENT: [400, 'refused'],
  SHUNT_ERR_TOKEN: [400, 'refused'],
  SHUNT_ERR_GUARD: [400, 'refused'],
  SHUNT_ERR_CONFLICT: [409, 'conflict'],
  SHUNT_ERR_PEER: [502, 'unreachable'],
}

export const failure = (error: unknown, answerer: Answerer, path: string): Answer => {
  const known = error instanceof ShuntError ? BY_ERROR[error.code] : undefined
  if (known !== undefined) return refusal(known[0], known[1], errorText(error))
  answerer.log.error({ err: errorText(error), path }, 'control request failed')
  return refusal(500, 'internal', `the agent could not answer (${errorText(error)}); its log has more`)
}

const askView = (view: AgentView, asked: Exclude<Asked, { ask: 'openapi' }>): Promise<unknown> => {
  if (asked.ask === 'flows') return view.flows(asked.query)
  if (asked.ask === 'config') return view.config(asked.query)
  if (asked.ask === 'events') return view.events(asked.query)
  if (asked.ask === 'trace') return view.trace(asked.query)
  if (asked.ask === 'atoms') return view.atoms(asked.query)
  return view[asked.ask]()
}

const openapi = async (): Promise<string> => {
  // Its parts are needed only here, once in a while.
  const { openapiText } = await import('./openapi.ts')
  return openapiText()
}

const askRemote = async (view: AgentView, node: string, path: string, order?: unknown): Promise<Answer> => {
  const { status, body } = await view.remote(node, path, order)
  if (!Number.isInteger(status) || status < 200 || status > 599)
    throw new ShuntError(
      'SHUNT_ERR_PEER',
      `node ${node} answered something strange; is it of another version?`,
    )
  return { status, body }
}

const answerAsked = async ({ view, node }: Answerer, asked: Asked): Promise<Answer> => {
  if (asked.ask === 'openapi') return { status: 200, body: await openapi() }
  return { status: 200, body: envelope(node, SCHEMAS[asked.ask], await askView(view, asked)) }
}

const giveOrder = async (view: AgentView, order: Order, body: unknown): Promise<unknown> => {
  const { parseOrder } = await import('./orders.ts')
  const parsed = parseOrder(order, body)
  if (parsed.order === 'statements') return view.submit(parsed.body)
  if (parsed.order === 'failover') return view.failover(parsed.body)
  await (parsed.order === 'tokens' ? view.registerToken(parsed.body) : view.leave())
  return {}
}

/** The view's answer, or a rejection when it takes too long. */
const withTimeout = async <T>(answer: Promise<T>): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${ANSWER_TIMEOUT_MS} ms`)), ANSWER_TIMEOUT_MS)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Never rejects. `body` is that of an order, already parsed as JSON. `path` is only for the log. */
export const answerRequest = async (
  answerer: Answerer,
  request: Exclude<Request, { ask: 'follow' | 'capture' }>,
  path: string,
  body?: unknown,
): Promise<Answer> => {
  const { view, node } = answerer
  try {
    if (request.ask === 'remote' && request.node === node) return await answerGet(answerer, request.path)
    if (request.ask === 'remote') return await withTimeout(askRemote(view, request.node, request.path))
    if (request.ask === 'order' && request.node !== undefined && request.node !== node)
      return await withTimeout(askRemote(view, request.node, `/v1/${request.order}`, body))
    if (request.ask !== 'order') return await withTimeout(answerAsked(answerer, request))
    const data = await withTimeout(giveOrder(view, request.order, body))
    return { status: 200, body: envelope(node, ORDER_SCHEMAS[request.order], data) }
  } catch (error) {
    return failure(error, answerer, path)
  }
}

/**
 * What this node answers to another one that asks on behalf of its operator: the GET paths that are about this node.
 * Never rejects; never asks a third node, never streams, takes no orders.
 */
export const answerGet = async (answerer: Answerer, path: string): Promise<Answer> => {
  const request = parseRequest('GET', path)
  if ('status' in request) return refusal(request.status, request.code, request.message)
  if (
    request.ask === 'remote' ||
    request.ask === 'follow' ||
    request.ask === 'capture' ||
    request.ask === 'order'
  )
    return refusal(400, 'bad_query', 'another node is asked only for what it knows of itself')
  return answerRequest(answerer, request, path)
}

/** The one order that a member may give on behalf of its operator: it moves a VIP between forwarders, and changes nothing that is agreed on. Never rejects. */
export const answerFailover = (answerer: Answerer, body: unknown): Promise<Answer> =>
  answerRequest(answerer, { ask: 'order', order: 'failover' }, '/v1/failover', body)
