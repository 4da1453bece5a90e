/** Requests to a socket of the agent, as plain HTTP: what a client that is not ours could send. */
import { request } from 'node:http'
import * as assert from 'uvu/assert'
import type { ErrorEnvelope } from '../../src/control/types.ts'
import { ShuntError } from '../../src/errors.ts'

export interface Answer<T = ErrorEnvelope> {
  status: number
  headers: Record<string, unknown>
  body: T
}
export interface AskOptions {
  method?: string
  headers?: Record<string, string>
  body?: string | Buffer
}

export const askSocket = <T = ErrorEnvelope>(
  socketPath: string,
  path: string,
  { method = 'GET', headers, body }: AskOptions = {},
): Promise<Answer<T>> =>
  new Promise((resolve, reject) => {
    const req = request({ socketPath, path, method, agent: false, ...(headers && { headers }) }, res => {
      let text = ''
      res.setEncoding('utf8')
      res.on('data', chunk => {
        text += chunk
      })
      res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers, body: JSON.parse(text) }))
      res.on('error', reject)
    })
    req.on('error', reject)
    req.end(body)
  })

/** Code and message of the ShuntError that a promise rejects with. */
export const codeOf = async (promise: Promise<unknown>): Promise<[string, string]> => {
  try {
    await promise
  } catch (error) {
    assert.instance(error, ShuntError)
    return [(error as ShuntError).code, (error as ShuntError).message]
  }
  throw new Error('did not fail')
}
