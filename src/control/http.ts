/** An HTTP server with a bound on everything that its clients could make grow. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Answer, errorBody, refusal } from './answer.ts'
import type { ControlErrorCode } from './types.ts'

/** Bytes of request line and headers; more are answered by 431. */
const MAX_HEADER_BYTES = 8 * 1024
/** A request, with its body, must have arrived in this time. */
const REQUEST_TIMEOUT_MS = 5_000
/** A connection on which nothing moves is closed: longer than any answer takes. */
const STALL_TIMEOUT_MS = 20_000
/** Connections above the limit that may be told so at a time; more are closed without a word. */
const TURNED_AWAY_AT_ONCE = 64
/** A connection that was refused is closed after this time, read or not. */
const TURN_AWAY_MS = 1_000
/** Answers that wait for their readers; when there are more bytes of them, the next request is turned away. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024

export interface HttpServerOptions {
  maxConnections: number
  /** Why a new connection is turned away, or undefined; called for each, and `onClose` when it is gone. */
  admit?(socket: Socket): { refused: string } | { onClose?(): void }
  /** Must not reject. */
  handle(req: IncomingMessage, res: ServerResponse): Promise<void>
}

const STATUS: Record<string, [string, ControlErrorCode]> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'too_large'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'timeout'],
  BUSY: ['503 Service Unavailable', 'busy'],
}

const rawAnswer = (socket: Socket, why: string, message: string): void => {
  const [status, code] = STATUS[why] ?? ['400 Bad Request', 'bad_query']
  const body = errorBody(code, message)
  // Also when the other side goes on sending, or never closes: until then it holds its place.
  setTimeout(() => socket.destroy(), TURN_AWAY_MS).unref()
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

const CLIENT_FAULTS: Record<string, string> = {
  HPE_HEADER_OVERFLOW: `request line and headers are longer than ${MAX_HEADER_BYTES} bytes`,
  ERR_HTTP_REQUEST_TIMEOUT: `the request did not arrive in ${REQUEST_TIMEOUT_MS} ms`,
}

let waitingBytes = 0

/** Sends an answer; an error also ends the connection. */
export const sendAnswer = (res: ServerResponse, { status, body, allow }: Answer): void => {
  const bytes = Buffer.byteLength(body)
  if (waitingBytes + bytes > MAX_WAITING_BYTES && status === 200)
    return sendAnswer(res, refusal(503, 'busy', 'too many answers wait for their readers; try again'))
  waitingBytes += bytes
  res.once('close', () => {
    waitingBytes -= bytes
  })
  res.writeHead(status, {
    'content-type': 'application/json',
    'content-length': bytes,
    ...(status !== 200 && { connection: 'close' }),
    ...(allow !== undefined && { allow }),
  })
  res.end(body)
}

export const hasBody = (req: IncomingMessage): boolean =>
  req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0

export const createBoundedServer = (options: HttpServerOptions): Server => {
  const turnedAway = new WeakSet<Socket>()
  let open = 0
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: 5_000,
      connectionsCheckingInterval: 1_000,
    },
    (req, res) => {
      // The bytes of one that was turned away may arrive nevertheless.
      if (!turnedAway.has(req.socket)) void options.handle(req, res)
    },
  )
  server.maxConnections = options.maxConnections + TURNED_AWAY_AT_ONCE
  server.setTimeout(STALL_TIMEOUT_MS)
  server.on('connection', (socket: Socket) => {
    const full = `there are ${options.maxConnections} connections already; try again`
    const admitted = open >= options.maxConnections ? { refused: full } : (options.admit?.(socket) ?? {})
    if ('refused' in admitted) {
      turnedAway.add(socket)
      rawAnswer(socket, 'BUSY', admitted.refused)
      return
    }
    open++
    socket.once('close', () => {
      open--
      admitted.onClose?.()
    })
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy()
    const why = error.code ?? ''
    rawAnswer(socket, why, CLIENT_FAULTS[why] ?? 'the request is not acceptable HTTP')
  })
  return server
}

/** Lets answers in flight end, for half a second. */
export const closeServer = (server: Server): Promise<void> =>
  new Promise(resolve => {
    // Also removes the socket file.
    server.close(() => resolve())
    server.closeIdleConnections()
    setTimeout(() => server.closeAllConnections(), 500).unref()
  })
