/**
 * An HTTP or HTTPS probe: a GET request whose answer keeps the check's rules. A redirect is an answer. A certificate is not
 * verified: the endpoint is this host's own, and its certificate is made for the name that clients use.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import {
  bodyRule,
  DEFAULT_PATH,
  DEFAULT_STATUS,
  MAX_BODY_BYTES,
  statusFits,
  statusRanges,
} from '../../health/probe/answer.ts'
import { type CheckTarget, portOf } from '../../health/probe/target.ts'
import { bodyFits } from './body-fits.ts'
import { bad, failureText, good, type ProbeOutcome, type ProbeRun } from './probe-run.ts'

/** Answers before the answer (1xx). A server that never stops to send them would keep the agent's main thread busy. */
const MAX_INTERIM = 32

const send = (target: CheckTarget, signal: AbortSignal): ClientRequest => {
  const { type, path = DEFAULT_PATH, host } = target.check
  const name = host?.replace(/:\d+$/, '')
  const options = {
    host: target.address,
    // A virtual IP that is not here would be somebody else's endpoint.
    localAddress: target.address,
    port: portOf(target),
    path,
    // A connection of its own: one that is kept would not show that new ones are accepted.
    agent: false as const,
    headers: {
      ...(host === undefined ? {} : { host }),
      'user-agent': 'shunt-probe',
      'accept-encoding': 'identity',
      connection: 'close',
    },
    signal,
  }
  if (type === 'http') return httpRequest(options)
  const servername = name !== undefined && isIP(name) === 0 ? { servername: name } : {}
  return httpsRequest({ ...options, ...servername, rejectUnauthorized: false })
}

/** The first MAX_BODY_BYTES of the body. */
const readBody = async (answer: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes >= MAX_BODY_BYTES) break
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES).toString()
}

const judgeAnswer = async (
  target: CheckTarget,
  answer: IncomingMessage,
  onBody: () => void,
  signal: AbortSignal,
): Promise<ProbeOutcome> => {
  const { status = DEFAULT_STATUS, body } = target.check
  const code = answer.statusCode ?? 0
  if (!statusFits(statusRanges(status) ?? [], code)) return bad(`status ${code}`)
  if (body === undefined) return good(`status ${code}`)
  const text = await readBody(answer)
  onBody()
  switch (await bodyFits(target.key, bodyRule(body), text, signal)) {
    case 'fits':
      return good(`status ${code}, body fits`)
    case 'differs':
      return bad(`status ${code}, but its body does not fit`)
    case 'slow':
      return bad(`status ${code}, but health.body takes too long on its body`)
    case 'no-time':
      return bad(
        `status ${code}, but health.body was slow on its body, and the time for slow ones is used up`,
      )
  }
}

export const probeHttp: ProbeRun = (target, signal) =>
  new Promise(resolve => {
    const request = send(target, signal)
    let progress = 'no connection'
    let isJudged = false
    const fail = (error: unknown): void => resolve(bad(signal.aborted ? progress : failureText(error)))
    request.on('socket', socket => {
      socket.once('connect', () => {
        progress = 'connected, but no answer'
      })
    })
    request.on('response', answer => {
      isJudged = true
      answer.on('error', () => {}) // whoever reads the body hears of it there
      progress = `status ${answer.statusCode}, but no whole body`
      const onBody = (): void => {
        progress = `status ${answer.statusCode}, but health.body of all checks together takes too long: no turn`
      }
      judgeAnswer(target, answer, onBody, signal)
        .then(resolve, fail)
        .finally(() => request.destroy())
    })
    let interim = 0
    request.on('information', () => {
      if (++interim <= MAX_INTERIM) return
      resolve(bad('too many interim answers (status 1xx), and no other'))
      request.destroy()
    })
    request.on('error', fail)
    // The connection closes while a whole body waits for its turn.
    request.on('close', () => {
      if (!isJudged) resolve(bad('closed without an answer'))
    })
    request.end()
  })
