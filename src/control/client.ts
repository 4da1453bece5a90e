/** Asks an agent over its control socket. */
import { request } from 'node:http'
import { ShuntError } from '../errors.ts'
import { type Envelope, ERROR_SCHEMA, type ErrorEnvelope } from './types.ts'

const TIMEOUT_MS = 15_000
/** 10,000 flows are about 3 MB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

const WHY: Record<string, string> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'you may not use it (root and the group of the socket may)',
  ENOTSOCK: 'it is not a socket',
  ECONNRESET: 'the agent closed the connection',
}

const unreachable = (socketPath: string, cause: NodeJS.ErrnoException): ShuntError => {
  const why = WHY[cause.code ?? ''] ?? cause.message
  const help =
    'is the agent running? start it with "shunt agent --config FILE" (or systemctl start shunt), or give --socket'
  return new ShuntError(
    'SHUNT_ERR_CONTROL_UNREACHABLE',
    `cannot reach an agent on ${socketPath}: ${why}; ${help}`,
    { cause },
  )
}

const protocolError = (message: string, cause?: unknown): ShuntError =>
  new ShuntError('SHUNT_ERR_CONTROL_PROTOCOL', message, { cause })

const isEnvelope = (value: unknown): value is Envelope =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Envelope).schema === 'string' &&
  typeof (value as Envelope).node === 'string' &&
  typeof (value as Envelope).time === 'string' &&
  'data' in value

const isError = (value: unknown): value is ErrorEnvelope =>
  typeof value === 'object' &&
  value !== null &&
  (value as ErrorEnvelope).schema === ERROR_SCHEMA &&
  typeof (value as ErrorEnvelope).error?.message === 'string'

const parse = (socketPath: string, status: number, body: string): Envelope => {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch (cause) {
    throw protocolError(`what answers on ${socketPath} is not a shunt agent (no JSON)`, cause)
  }
  if (isError(value) && value.error.code === 'bad_query')
    throw new ShuntError('SHUNT_ERR_USAGE', value.error.message)
  if (isError(value)) throw protocolError(`the agent answered ${value.error.code}: ${value.error.message}`)
  if (status !== 200 || !isEnvelope(value))
    throw protocolError(
      `what answers on ${socketPath} is not a shunt agent, or one of another version (HTTP status ${status})`,
    )
  return value
}

/**
 * GET of a path such as `/v1/status`; `signal` gives up early.
 * @throws ShuntError SHUNT_ERR_CONTROL_UNREACHABLE, SHUNT_ERR_USAGE for a query that the agent refuses, or SHUNT_ERR_CONTROL_PROTOCOL for an error or strange answer
 */
export const get = (socketPath: string, path: string, signal?: AbortSignal): Promise<Envelope> =>
  new Promise((resolve, reject) => {
    const req = request(
      { socketPath, path, agent: false, headers: { accept: 'application/json' }, ...(signal && { signal }) },
      res => {
        const chunks: Buffer[] = []
        let size = 0
        res.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > MAX_ANSWER_BYTES)
            req.destroy(protocolError(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`))
          else chunks.push(chunk)
        })
        res.on('end', () => {
          try {
            resolve(parse(socketPath, res.statusCode ?? 0, Buffer.concat(chunks).toString()))
          } catch (error) {
            reject(error)
          }
        })
        res.on('error', reject)
      },
    )
    const timer = setTimeout(
      () => req.destroy(unreachable(socketPath, new Error(`no answer in ${TIMEOUT_MS / 1000} s`))),
      TIMEOUT_MS,
    )
    req.on('close', () => clearTimeout(timer))
    req.on('error', (error: NodeJS.ErrnoException) => {
      if (error instanceof ShuntError || error.name === 'AbortError') reject(error)
      else if (error.code?.startsWith('HPE_'))
        reject(protocolError(`what answers on ${socketPath} is not a shunt agent (no HTTP)`, error))
      else reject(unreachable(socketPath, error))
    })
    req.end()
  })
