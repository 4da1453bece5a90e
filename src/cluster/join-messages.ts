/** What the records of the join protocol say, checked strictly. Pure. */
import { z } from 'zod'
import { ERROR_CODES, type ErrorCode, errorText, ShuntError } from '../errors.ts'
import { factsShape } from './join-facts.ts'
import type { NodeFacts } from './types.ts'

const key = z.string().regex(/^[A-Za-z0-9_-]{43}$/)

/** `x25519`: the joiner's key of this connection, base64url. `proof`: of proofBytes, base64. */
export interface JoinRequest {
  x25519: string
  facts: NodeFacts
  proof: string
}
export type JoinAnswer = { x25519: string } | { error: { code: ErrorCode; message: string } }

const requestShape: z.ZodType<JoinRequest> = z.strictObject({
  x25519: key,
  facts: factsShape,
  proof: z.string().regex(/^[A-Za-z0-9+/]{86}==$/),
})

const answerShape = z.union([
  z.strictObject({ x25519: key }),
  z.strictObject({ error: z.strictObject({ code: z.string().max(64), message: z.string().max(2_000) }) }),
])

const parse = <T>(shape: z.ZodType<T>, bytes: Uint8Array): T => {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new ShuntError('SHUNT_ERR_TOKEN', `a message of the join is not JSON: ${errorText(cause)}`, {
      cause,
    })
  }
  const parsed = shape.safeParse(value)
  if (parsed.success) return parsed.data
  const { path, message } = parsed.error.issues[0]
  throw new ShuntError(
    'SHUNT_ERR_TOKEN',
    `a message of the join is not valid: ${path.map(String).join('.')}: ${message}; do both machines run the same version of shunt?`,
  )
}

export const encodeMessage = (message: JoinRequest | JoinAnswer): Uint8Array =>
  Buffer.from(JSON.stringify(message))

/** @throws ShuntError SHUNT_ERR_TOKEN */
export const decodeRequest = (bytes: Uint8Array): JoinRequest => parse(requestShape, bytes)

/** @throws ShuntError SHUNT_ERR_TOKEN */
export const decodeAnswer = (bytes: Uint8Array): JoinAnswer => {
  const answer = parse(answerShape, bytes)
  if (!('error' in answer)) return answer
  const code = answer.error.code in ERROR_CODES ? (answer.error.code as ErrorCode) : 'SHUNT_ERR_TOKEN'
  // What the other machine says goes to a terminal: nothing in it may move the cursor.
  return { error: { code, message: answer.error.message.replace(/\p{Cc}/gu, ' ') } }
}
