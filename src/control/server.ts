/** The operator's socket: read-only HTTP over a Unix socket that only its owner and group may use. */
import { lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { errorText, ShuntError } from '../errors.ts'
import { parseRequest, type Request } from './query.ts'
import {
  type AgentView,
  type ControlErrorCode,
  type Envelope,
  ERROR_SCHEMA,
  type ErrorEnvelope,
  SCHEMAS,
} from './types.ts'

/** Connections at a time; more are closed at once. */
const MAX_CONNECTIONS = 256
/** Bytes of request line and headers; more are answered by 431. */
const MAX_HEADER_BYTES = 8 * 1024
/** A request must have arrived in this time. */
const REQUEST_TIMEOUT_MS = 5_000
/** An agent that needs longer for an answer is stuck. */
const ANSWER_TIMEOUT_MS = 10_000
/** sun_path, without its final zero. */
const MAX_SOCKET_PATH = 107

export interface ControlServerOptions {
  socketPath: string
  view: AgentView
  /** Name of the node, for the envelopes. */
  node: string
  log: { error(fields: object, message: string): void }
}
export interface ControlServer {
  close(): Promise<void>
}

/** True if something accepts connections on the socket. */
const isLive = (path: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false)
      // A full backlog is somebody who lives.
      else if (error.code === 'EAGAIN') resolve(true)
      else reject(error)
    })
  })

/** Removes what a dead agent left; never the socket of a live one, and never anything but a socket. */
const removeStale = async (path: string): Promise<void> => {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return
  if (!stat.isSocket())
    throw new ShuntError(
      'SHUNT_ERR_OS',
      `${path} exists and is not a socket; remove it or set node.controlSocket`,
    )
  if (await isLive(path))
    throw new ShuntError(
      'SHUNT_ERR_OS',
      `another agent answers on ${path}; stop it or set node.controlSocket`,
    )
  unlinkSync(path)
}

const send = (
  res: ServerResponse,
  status: number,
  body: Envelope | ErrorEnvelope,
  headers: Record<string, string> = {},
): void => {
  const text = `${JSON.stringify(body)}\n`
  res.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...headers,
  })
  res.end(text)
}

const refuse = (res: ServerResponse, status: number, code: ControlErrorCode, message: string): void => {
  const headers: Record<string, string> = { connection: 'close' }
  if (status === 405) headers.allow = 'GET'
  send(res, status, { schema: ERROR_SCHEMA, error: { code, message } }, headers)
}

const ask = (view: AgentView, request: Request): Promise<unknown> =>
  request.noun === 'flows' ? view.flows(request.query) : view[request.noun]()

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

const handle = async (
  options: ControlServerOptions,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> => {
  const hasBody =
    req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0
  const request = parseRequest(req.method ?? '', req.url ?? '')
  if ('status' in request) return refuse(res, request.status, request.code, request.message)
  if (hasBody) return refuse(res, 413, 'too_large', 'a request has no body here')
  try {
    const data = await withTimeout(ask(options.view, request))
    send(res, 200, {
      schema: SCHEMAS[request.noun],
      node: options.node,
      time: new Date().toISOString(),
      data,
    })
  } catch (error) {
    // The view knows which services and hosts exist.
    if (error instanceof ShuntError && error.code === 'SHUNT_ERR_USAGE')
      return refuse(res, 400, 'bad_query', error.message)
    options.log.error({ err: errorText(error), path: req.url }, 'control request failed')
    refuse(res, 500, 'internal', `the agent could not answer (${errorText(error)}); its log has more`)
  }
}

const listen = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    // The socket is created with its final mode: nobody may connect between the bind and a chmod.
    const umask = process.umask(0o117)
    try {
      server.listen(path, () => {
        server.off('error', reject)
        resolve()
      })
    } finally {
      process.umask(umask)
    }
  })

/**
 * Serves the control API on a Unix socket of mode 0660; makes its directory if need be.
 * @throws ShuntError SHUNT_ERR_OS when another agent answers there, or the path cannot be used
 */
export const startControlServer = async (options: ControlServerOptions): Promise<ControlServer> => {
  const { socketPath } = options
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH)
    throw new ShuntError(
      'SHUNT_ERR_OS',
      `the socket path ${socketPath} is longer than ${MAX_SOCKET_PATH} bytes; set a shorter node.controlSocket`,
    )
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 1_000,
    },
    (req, res) => void handle(options, req, res),
  )
  server.maxConnections = MAX_CONNECTIONS
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
    const status =
      error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request'
    const code: ControlErrorCode = error.code === 'HPE_HEADER_OVERFLOW' ? 'too_large' : 'bad_query'
    const body = `${JSON.stringify({ schema: ERROR_SCHEMA, error: { code, message: 'the request is not acceptable HTTP' } })}\n`
    socket.end(
      `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
  })
  try {
    mkdirSync(dirname(socketPath), { recursive: true, mode: 0o755 })
    await removeStale(socketPath)
    await listen(server, socketPath)
  } catch (cause) {
    server.close()
    if (cause instanceof ShuntError) throw cause
    throw new ShuntError(
      'SHUNT_ERR_OS',
      `cannot serve the control socket ${socketPath}: ${errorText(cause)}`,
      { cause },
    )
  }
  server.on('error', error => options.log.error({ err: errorText(error) }, 'control socket failed'))
  return {
    close: () =>
      new Promise<void>(resolve => {
        // Also removes the socket file.
        server.close(() => resolve())
        server.closeIdleConnections()
        setTimeout(() => server.closeAllConnections(), 500).unref()
      }),
  }
}
