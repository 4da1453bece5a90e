/** Asks an agent over its control socket. */
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import { type ErrorCode, ShuntError } from '../errors.ts'
import { joinLines } from '../plain-text.ts'
import { type Envelope, ERROR_SCHEMA, type ErrorEnvelope } from './types.ts'

const TIMEOUT_MS = 15_000
/** 10,000 flows are about 3 MB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024
/** A line of a stream; its first one may carry 1,000 events. */
const MAX_LINE_BYTES = 4 * 1024 * 1024

const WHY: Record<string, string> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'you may not use it (root and the group of the socket may)',
  EAGAIN: 'its agent takes no more connections: it hangs, or is stopped',
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

const CODES: Record<string, ErrorCode> = {
  bad_query: 'SHUNT_ERR_USAGE',
  conflict: 'SHUNT_ERR_CONFLICT',
  refused: 'SHUNT_ERR_STATEMENT',
  unreachable: 'SHUNT_ERR_PEER',
}

const parse = (socketPath: string, status: number, body: string): Envelope => {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch (cause) {
    throw protocolError(`what answers on ${socketPath} is not a shunt agent (no JSON)`, cause)
  }
  if (isError(value)) {
    const code = Object.hasOwn(CODES, value.error.code) ? CODES[value.error.code] : undefined
    // Another node may have said it: it must not look like lines of this program.
    const message = joinLines(value.error.message)
    if (code !== undefined) throw new ShuntError(code, message)
    throw protocolError(`the agent answered ${value.error.code}: ${message}`)
  }
  if (status !== 200 || !isEnvelope(value))
    throw protocolError(
      `what answers on ${socketPath} is not a shunt agent, or one of another version (HTTP status ${status})`,
    )
  return value
}

/** What a request ended with, as an error that says what to do. */
const explain = (socketPath: string, error: NodeJS.ErrnoException): Error => {
  if (error instanceof ShuntError || error.name === 'AbortError') return error
  if (error.code?.startsWith('HPE_'))
    return protocolError(`what answers on ${socketPath} is not a shunt agent (no HTTP)`, error)
  return unreachable(socketPath, error)
}

/** Nothing came of a request in time. */
const silent = async (socketPath: string): Promise<ShuntError> => {
  const why = `no answer in ${TIMEOUT_MS / 1000} s`
  const { holderOf } = await import('./holder.ts')
  const pid = await holderOf(socketPath)
  if (pid === null) return unreachable(socketPath, new Error(why))
  return new ShuntError(
    'SHUNT_ERR_CONTROL_UNREACHABLE',
    `agent pid ${pid} holds ${socketPath} and gives ${why}: it hangs, or is stopped; restart it (systemctl restart shunt)`,
  )
}

/** Gives up when no answer has begun, or ended, in time. */
const limitTime = (req: ClientRequest, socketPath: string): { stop(): void } => {
  const timer = setTimeout(() => void silent(socketPath).then(late => req.destroy(late)), TIMEOUT_MS)
  req.on('close', () => clearTimeout(timer))
  return { stop: () => clearTimeout(timer) }
}

const readAll = (req: ClientRequest, res: IncomingMessage, done: (text: string) => void): void => {
  const chunks: Buffer[] = []
  let size = 0
  res.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > MAX_ANSWER_BYTES)
      req.destroy(protocolError(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`))
    else chunks.push(chunk)
  })
  res.on('end', () => done(Buffer.concat(chunks).toString()))
}

const ask = (socketPath: string, options: RequestOptions, body: string | undefined): Promise<Envelope> =>
  new Promise((resolve, reject) => {
    const req = request({ socketPath, agent: false, ...options }, res => {
      const fail = (error: NodeJS.ErrnoException): void => reject(explain(socketPath, error))
      res.on('error', fail)
      readAll(req, res, text => {
        try {
          resolve(parse(socketPath, res.statusCode ?? 0, text))
        } catch (error) {
          reject(error)
        }
      })
    })
    limitTime(req, socketPath)
    req.on('error', error => reject(explain(socketPath, error)))
    req.end(body)
  })

/**
 * GET of a path such as `/v1/status`; `signal` gives up early.
 * @throws ShuntError SHUNT_ERR_CONTROL_UNREACHABLE, SHUNT_ERR_USAGE for a query that the agent refuses, SHUNT_ERR_PEER when the node asked about did not answer, or SHUNT_ERR_CONTROL_PROTOCOL for an error or strange answer
 */
export const get = (socketPath: string, path: string, signal?: AbortSignal): Promise<Envelope> =>
  ask(socketPath, { path, headers: { accept: 'application/json' }, ...(signal && { signal }) }, undefined)

/**
 * POST of an order such as `/v1/statements`; `signal` gives up early (the agent may have taken the order nevertheless).
 * @throws ShuntError as `get` does, and SHUNT_ERR_CONFLICT when another change came first, SHUNT_ERR_STATEMENT when the order is refused
 */
export const post = (
  socketPath: string,
  path: string,
  body: unknown,
  signal?: AbortSignal,
): Promise<Envelope> => {
  const text = JSON.stringify(body)
  const headers = {
    accept: 'application/json',
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  }
  return ask(socketPath, { path, method: 'POST', headers, ...(signal && { signal }) }, text)
}

/** Cuts a stream into lines and hands each, parsed, to `onEnvelope`; throws what `parse` throws. */
const lineReader = (socketPath: string, onEnvelope: (envelope: Envelope) => void) => {
  let rest = ''
  return (chunk: string): void => {
    rest += chunk
    const lines = rest.split('\n')
    rest = lines.pop()!
    if (rest.length > MAX_LINE_BYTES) throw protocolError(`a line is longer than ${MAX_LINE_BYTES} bytes`)
    for (const line of lines) if (line !== '') onEnvelope(parse(socketPath, 200, line))
  }
}

/**
 * Reads a stream such as `/v1/events?follow=1`, an envelope a line, until `signal` ends it (then it resolves).
 * @throws ShuntError SHUNT_ERR_CONTROL_UNREACHABLE when the agent goes away, otherwise as `get` does
 */
export const follow = (
  socketPath: string,
  path: string,
  onEnvelope: (envelope: Envelope) => void,
  signal: AbortSignal,
): Promise<void> =>
  new Promise((resolve, reject) => {
    const fail = (error: NodeJS.ErrnoException): void => {
      if (signal.aborted) resolve()
      else reject(explain(socketPath, error))
    }
    const headers = { accept: 'application/x-ndjson' }
    const req = request({ socketPath, path, agent: false, headers, signal }, res => {
      res.on('error', fail)
      if (res.statusCode !== 200)
        return readAll(req, res, text => {
          try {
            parse(socketPath, res.statusCode ?? 0, text)
          } catch (error) {
            fail(error as Error)
          }
        })
      time.stop()
      const read = lineReader(socketPath, onEnvelope)
      res.setEncoding('utf8')
      res.on('data', (chunk: string) => {
        try {
          read(chunk)
        } catch (error) {
          req.destroy()
          fail(error as Error)
        }
      })
      res.on('end', () => fail(unreachable(socketPath, new Error('the agent ended the stream'))))
    })
    const time = limitTime(req, socketPath)
    req.on('error', fail)
    req.end()
  })
