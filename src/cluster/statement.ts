/**
 * Statements as bytes, and what makes one valid. A statement proves itself by the operator's public key alone, which is
 * the cluster's id: no other statement is needed to judge it, so the order in which they arrive does not matter.
 */
import { createHash } from 'node:crypto'
import { errorText, ShuntError } from '../errors.ts'
import { canonical } from './canonical.ts'
import { publicKeyOfPeer, verifyEd25519 } from './peer-key.ts'
import { shapeFault, statementShape } from './statement-shape.ts'
import type { NodeFacts, Statement, StatementBody, StatementKind, TokenBody } from './types.ts'

export { MAX_DOCUMENT_BYTES } from './statement-shape.ts'
/** Of an encoded statement. */
export const MAX_STATEMENT_BYTES = 196_608

/** Signs with an Ed25519 key; `publicKey` is raw, 32 bytes. */
export interface Signer {
  publicKey: Uint8Array
  sign(bytes: Uint8Array): Uint8Array
}

/** A label of its own keeps the signature of one purpose from being shown for another. */
const labelled = (label: string, value: unknown): Uint8Array => Buffer.from(`${label}\n${canonical(value)}`)

/** What the signer of a statement signs. */
export const signingBytes = (cluster: string, by: string, body: StatementBody): Uint8Array =>
  labelled('shunt statement 1', { cluster, by, body })
/** What the operator signs of a join token. */
export const tokenBytes = (cluster: string, body: TokenBody): Uint8Array =>
  labelled('shunt token 1', { cluster, token: body })
/** What a machine that joins by a token signs of itself. `token`: the token's 21 characters. */
export const proofBytes = (cluster: string, token: string, node: NodeFacts): Uint8Array =>
  labelled('shunt proof 1', { cluster, token, node })

/** `cause` of the error about a statement of a kind that this version does not know. */
export const UNKNOWN_KIND = 'unknown kind'
const KINDS: readonly unknown[] = [
  'genesis',
  'admit',
  'roles',
  'remove',
  'secret',
  'config',
  'directive',
] satisfies StatementKind[]

const refuse = (why: string, cause?: unknown): never => {
  throw new ShuntError('SHUNT_ERR_STATEMENT', `not a valid statement: ${why}`, { cause })
}

const refuseUnknownKind = (value: unknown): void => {
  const kind = (value as { body?: { kind?: unknown } } | null)?.body?.kind
  if (typeof kind === 'string' && !KINDS.includes(kind))
    refuse('this version does not know its kind; upgrade this node', UNKNOWN_KIND)
}

/** Canonical JSON in UTF-8. Throws SHUNT_ERR_STATEMENT if it is longer than MAX_STATEMENT_BYTES. */
export const encodeStatement = (s: Statement): Uint8Array => {
  const bytes = Buffer.from(canonical(s))
  if (bytes.length > MAX_STATEMENT_BYTES)
    refuse(`it takes ${bytes.length} bytes of at most ${MAX_STATEMENT_BYTES}; make the document shorter`)
  return bytes
}

/** Its shape only, not its signatures. Throws SHUNT_ERR_STATEMENT; bytes that it takes encode to themselves. */
export const decodeStatement = (bytes: Uint8Array): Statement => {
  if (bytes.length > MAX_STATEMENT_BYTES) refuse(`longer than ${MAX_STATEMENT_BYTES} bytes`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (error) {
    throw new ShuntError('SHUNT_ERR_STATEMENT', 'not a valid statement: it is not JSON in UTF-8', {
      cause: error,
    })
  }
  refuseUnknownKind(value)
  const fault = shapeFault(statementShape, value)
  if (fault !== undefined) refuse(fault)
  if (!Buffer.from(canonical(value)).equals(bytes)) refuse('it is not in canonical form')
  return value as Statement
}

/** SHA-256 of the encoding, hexadecimal. */
export const statementHash = (s: Statement): string =>
  createHash('sha256').update(encodeStatement(s)).digest('hex')

/** Throws SHUNT_ERR_STATEMENT if the body has a wrong shape or is too long. */
export const signStatement = (
  cluster: string,
  by: string,
  body: StatementBody,
  signer: Signer,
): Statement => {
  const signature = Buffer.from(signer.sign(signingBytes(cluster, by, body))).toString('base64')
  const statement = { cluster, by, body, signature }
  const fault = shapeFault(statementShape, statement)
  if (fault !== undefined) refuse(fault)
  encodeStatement(statement)
  return statement
}

const fromBase64 = (text: string): Uint8Array => Buffer.from(text, 'base64')
const operatorKey = (cluster: string): Uint8Array => Buffer.from(cluster, 'base64url')

type Admit = Extract<StatementBody, { kind: 'admit' }>

const tokenFault = (s: Statement, body: Admit): string | undefined => {
  const { node, token, proof } = body
  if (token === undefined) {
    if (proof !== undefined) return 'an admission without a token carries no proof'
    return s.by === 'operator' ? undefined : 'only the operator admits without a token'
  }
  if (s.by !== token.body.issuer) return 'only the node that the token names may redeem it'
  if (token.slot > token.body.uses) return `the token has ${token.body.uses} places, not ${token.slot}`
  if (!node.roles.every(role => token.body.roles.includes(role)))
    return 'the token does not allow these roles'
  if (body.atMs < token.body.issuedMs) return 'the token was not made yet'
  if (body.atMs >= token.body.expiresMs) return 'the token had expired'
  if (!verifyEd25519(operatorKey(s.cluster), tokenBytes(s.cluster, token.body), fromBase64(token.signature)))
    return 'the operator did not sign the token'
  if (proof === undefined) return 'the proof of the node that joins is missing'
  const own = proofBytes(s.cluster, token.body.token, node)
  return verifyEd25519(publicKeyOfPeer(node.id), own, fromBase64(proof))
    ? undefined
    : 'the node that joins did not sign its facts'
}

const authorityFault = (s: Statement): string | undefined => {
  const { body } = s
  if (body.kind === 'admit') return tokenFault(s, body)
  if (body.kind !== 'remove') return s.by === 'operator' ? undefined : 'only the operator may say this'
  const expected = body.reason === 'evicted' ? 'operator' : body.id
  return s.by === expected ? undefined : 'only the operator evicts, and only a node itself leaves'
}

/** As verifyStatement, of a statement whose shape is known to be right, as decodeStatement leaves it. */
export const signatureFault = (s: Statement, cluster: string): string | undefined => {
  if (s.cluster !== cluster) return 'it belongs to another cluster'
  const { body } = s
  try {
    for (const id of body.kind === 'admit' ? [body.node.id] : body.kind === 'remove' ? [body.id] : [])
      publicKeyOfPeer(id)
    const authority = authorityFault(s)
    if (authority !== undefined) return authority
    const key = s.by === 'operator' ? operatorKey(cluster) : publicKeyOfPeer(s.by)
    return verifyEd25519(key, signingBytes(cluster, s.by, body), fromBase64(s.signature))
      ? undefined
      : 'its signature does not hold'
  } catch (error) {
    return errorText(error)
  }
}

/** Why a statement is refused, or undefined. Needs no other statement; never throws. `cluster`: the operator's public key. */
export const verifyStatement = (s: Statement, cluster: string): string | undefined => {
  try {
    const shape = shapeFault(statementShape, s)
    if (shape !== undefined) return shape
    encodeStatement(s)
    return signatureFault(s, cluster)
  } catch (error) {
    return errorText(error)
  }
}
