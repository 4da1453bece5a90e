/**
 * A join token as text: `shunt1.` and base64url of JSON and the first 8 bytes of its SHA-256, so that a token that was cut
 * or mistyped is told from one that is refused. Pure.
 */
import { createHash, hkdfSync } from 'node:crypto'
import { isIPv4 } from 'node:net'
import type { TokenRegistration } from '../control/cluster-types.ts'
import { ShuntError } from '../errors.ts'
import { verifyEd25519 } from './peer-key.ts'
import { tokenBytes } from './statement.ts'
import type { TokenBody } from './types.ts'

const PREFIX = 'shunt1.'
const CHECK_BYTES = 8
const MAX_CHARACTERS = 4096
const MAX_PORT = 65_535
/** The last instant that a Date can hold. */
const MAX_MS = 8_640_000_000_000_000
const JOIN_LABEL = 'shunt join 1'
const NO_SALT = new Uint8Array(0)

/** All that the one who joins must know: what the issuer has, and where the issuer is. */
export interface Token extends TokenRegistration {
  address: string
  port: number
}

/** What both ends derive from the token's secret: 32 bytes. */
export const joinKey = (secret: Uint8Array): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', secret, NO_SALT, JOIN_LABEL, 32))

const checkOf = (json: Uint8Array): Buffer =>
  createHash('sha256').update(json).digest().subarray(0, CHECK_BYTES)

export const encodeToken = (token: Token): string => {
  const json = Buffer.from(JSON.stringify(token))
  return PREFIX + Buffer.concat([json, checkOf(json)]).toString('base64url')
}

const refuse = (why: string): ShuntError => new ShuntError('SHUNT_ERR_TOKEN', why)
const isTime = (value: unknown): boolean =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_MS
const isText = (value: unknown, length: number): boolean =>
  typeof value === 'string' && value.length > 0 && value.length <= length

const hasShape = (value: unknown): value is Token => {
  const t = value as Partial<Token> | null
  const b = t?.body as Partial<TokenBody> | undefined
  return (
    isText(t?.cluster, 64) &&
    isText(t?.signature, 128) &&
    isText(t?.secret, 64) &&
    isText(t?.address, 15) &&
    isIPv4(t!.address!) &&
    Number.isInteger(t!.port) &&
    t!.port! >= 1 &&
    t!.port! <= MAX_PORT &&
    isText(b?.token, 64) &&
    isText(b?.issuer, 64) &&
    Array.isArray(b?.roles) &&
    b.roles.every(role => isText(role, 64)) &&
    Number.isInteger(b?.uses) &&
    isTime(b?.issuedMs) &&
    isTime(b?.expiresMs)
  )
}

/** Undefined when it is no JSON. */
const parsed = (json: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(json).toString())
  } catch {
    return undefined
  }
}

const isSigned = ({ cluster, body, signature }: Token): boolean => {
  const { token, issuer, roles, uses, issuedMs, expiresMs } = body
  const signed = { token, issuer, roles, uses, issuedMs, expiresMs }
  return verifyEd25519(
    Buffer.from(cluster, 'base64url'),
    tokenBytes(cluster, signed),
    Buffer.from(signature, 'base64'),
  )
}

/**
 * @throws ShuntError SHUNT_ERR_TOKEN: not a token, cut or altered, not signed, or expired at `nowMs` (Unix milliseconds)
 */
export const decodeToken = (text: string, nowMs: number): Token => {
  const trimmed = text.trim()
  if (!trimmed.startsWith(PREFIX))
    throw refuse(
      /^shunt\d+\./.test(trimmed)
        ? 'the token is of another version of shunt: install the version that the cluster runs'
        : `this is not a join token: one begins with ${PREFIX} (shunt token prints it)`,
    )
  const bytes = Buffer.from(trimmed.slice(PREFIX.length), 'base64url')
  const json = bytes.subarray(0, Math.max(0, bytes.length - CHECK_BYTES))
  if (trimmed.length > MAX_CHARACTERS || !checkOf(json).equals(bytes.subarray(json.length)))
    throw refuse('the token is incomplete or was altered: copy all of it again, it is one word')
  const token = parsed(json)
  if (!hasShape(token))
    throw refuse('the token lacks something or is of another version: make a new one with shunt token')
  if (!isSigned(token))
    throw refuse('the token is not signed by its operator: make a new one with shunt token')
  if (token.body.expiresMs <= nowMs)
    throw refuse(
      `the token expired at ${new Date(token.body.expiresMs).toISOString()} (it is ${new Date(nowMs).toISOString()} here): make a new one with shunt token`,
    )
  return token
}
