/**
 * The operator's socket: HTTP over a Unix socket that only its owner and group may use. Whoever may use it may look at
 * everything; to change the cluster takes the operator's signature besides. Exceptions are POST /v1/failover, by which a VIP
 * moves between forwarders, here or by way of another node, which changes nothing that is agreed on, and POST /v1/leave, by which a
 * node takes itself out of the cluster: the node's own signature is enough for that, so whoever may use the socket (root and
 * the group of the socket) may end this node's membership, for ever.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { errorText } from '../errors.ts'
import { type Answerer, answerRequest, failure, refusal } from './answer.ts'
import { readBody } from './body.ts'
import { closeServer, createBoundedServer, hasBody, sendAnswer } from './http.ts'
import { parseRequest, type Request } from './query.ts'
import { streamEvents } from './stream.ts'
import { streamCapture } from './stream-capture.ts'
import { listenOn } from './unix-socket.ts'

/** Connections at a time; more are turned away. */
const MAX_CONNECTIONS = 256
const MAX_FOLLOWERS = 64
/** Each may hold a body of 1 MB. */
const MAX_ORDERS = 8

export interface ControlServerOptions extends Answerer {
  socketPath: string
}
export interface ControlServer {
  close(): Promise<void>
}

/** Counts those at work; more than `limit` are turned away. */
class Places {
  readonly #limit: number
  #taken = 0
  constructor(limit: number) {
    this.#limit = limit
  }
  take(): boolean {
    if (this.#taken >= this.#limit) return false
    this.#taken++
    return true
  }
  free(): void {
    this.#taken--
  }
}

const handler = (options: ControlServerOptions) => {
  const followers = new Places(MAX_FOLLOWERS)
  const orders = new Places(MAX_ORDERS)

  const order = async (
    request: Extract<Request, { ask: 'order' }>,
    req: IncomingMessage,
    res: ServerResponse,
  ): Promise<void> => {
    if (!orders.take())
      return sendAnswer(res, refusal(503, 'busy', `${MAX_ORDERS} orders are at work; try again`))
    try {
      const body = await readBody(req)
      if ('status' in body) return sendAnswer(res, body)
      sendAnswer(res, await answerRequest(options, request, req.url ?? '', body.value))
    } finally {
      orders.free()
    }
  }

  const follow = async (
    request: Extract<Request, { ask: 'follow' }>,
    req: IncomingMessage,
    res: ServerResponse,
  ): Promise<void> => {
    if (!followers.take())
      return sendAnswer(res, refusal(503, 'busy', `${MAX_FOLLOWERS} readers follow already; try again`))
    res.once('close', () => followers.free())
    await streamEvents(options, request.query, req, res)
  }

  const capture = async (
    request: Extract<Request, { ask: 'capture' }>,
    req: IncomingMessage,
    res: ServerResponse,
  ): Promise<void> => {
    try {
      await streamCapture(options, request.query, req, res)
    } catch (error) {
      if (!res.destroyed && !res.headersSent) sendAnswer(res, failure(error, options, req.url ?? ''))
    }
  }

  const handle = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    const request = parseRequest(req.method ?? '', req.url ?? '')
    if ('status' in request)
      return sendAnswer(res, {
        ...refusal(request.status, request.code, request.message),
        ...pickAllow(request),
      })
    if (request.ask === 'order') return order(request, req, res)
    if (hasBody(req)) return sendAnswer(res, refusal(413, 'too_large', 'a request has no body here'))
    if (request.ask === 'follow') return follow(request, req, res)
    if (request.ask === 'capture') return capture(request, req, res)
    sendAnswer(res, await answerRequest(options, request, req.url ?? ''))
  }

  return async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    try {
      await handle(req, res)
    } catch (error) {
      if (res.destroyed || req.destroyed) return
      options.log.error({ err: errorText(error), path: req.url }, 'control request failed')
      if (res.headersSent) res.destroy()
      else sendAnswer(res, refusal(500, 'internal', `the agent could not answer (${errorText(error)})`))
    }
  }
}

const pickAllow = ({ allow }: { allow?: string }): { allow?: string } =>
  allow === undefined ? {} : { allow }

/**
 * Serves the control API on a Unix socket of mode 0660; makes its directory if need be.
 * @throws ShuntError SHUNT_ERR_OS when another agent answers there, or the path cannot be used
 */
export const startControlServer = async (options: ControlServerOptions): Promise<ControlServer> => {
  const server = createBoundedServer({ maxConnections: MAX_CONNECTIONS, handle: handler(options) })
  await listenOn(server, { path: options.socketPath, mode: 0o660, setting: 'node.controlSocket' })
  server.on('error', error => options.log.error({ err: errorText(error) }, 'control socket failed'))
  return { close: () => closeServer(server) }
}
