/**
 * The issuer's side of a join: one place of the token a machine, admitted by a statement that this node signs. Runs behind
 * the control port, for connections that carry the key of an outstanding token (gossip/joins.ts bounds number and time).
 */
import { randomBytes } from 'node:crypto'
import type { EventKind } from '../control/cluster-types.ts'
import { errorText, ShuntError } from '../errors.ts'
import type { JoinHook, JoinSession } from '../gossip/joins.ts'
import { answerList } from './join-answer.ts'
import { standingOf } from './join-facts.ts'
import { decodeRequest, encodeMessage, type JoinRequest } from './join-messages.ts'
import {
  agree,
  answerKey,
  channelKey,
  ephemeral,
  LENGTH_BYTES,
  MAX_REQUEST_BYTES,
  openRecord,
  recordLength,
  sealRecord,
} from './join-wire.ts'
import { publicKeyOfPeer, verifyEd25519 } from './peer-key.ts'
import { proofBytes, type Signer, signStatement } from './statement.ts'
import type { OutstandingToken, TokenStore } from './tokens-store.ts'
import type { ClusterView, Statement } from './types.ts'

export interface JoinServerOptions {
  /** The operator's public key, base64url. */
  cluster: string
  /** This node's identity. */
  signer: Signer & { id: string }
  tokens: TokenStore
  view(): ClusterView | null
  statements(): Statement[]
  /** Takes an admission into the ledger and publishes it; on disk when it returns or resolves. Throws when it is refused. */
  submit(statements: Statement[]): void | Promise<void>
  /** Unix milliseconds. */
  nowMs(): number
  event?(kind: EventKind, severity: 'info' | 'warning' | 'error', subject: string, text: string): void
}

type Turn = (run: () => Promise<void>) => Promise<void>

const refuse = (why: string): never => {
  throw new ShuntError('SHUNT_ERR_TOKEN', why)
}

const takenByOthers = (statements: readonly Statement[], token: string, id: string): Set<number> => {
  const taken = new Set<number>()
  for (const { body } of statements)
    if (body.kind === 'admit' && body.token?.body.token === token && body.node.id !== id)
      taken.add(body.token.slot)
  return taken
}

/** Takes up what a valid token asks for: nothing for a member, an admission for a new node. */
const admit = async (
  options: JoinServerOptions,
  { registration }: OutstandingToken,
  { facts, proof }: JoinRequest,
): Promise<void> => {
  const { cluster, signer, tokens } = options
  const { body, signature } = registration
  const nowMs = options.nowMs()
  if (body.expiresMs <= nowMs) refuse(`the token expired at ${new Date(body.expiresMs).toISOString()}`)
  const proven = verifyEd25519(
    publicKeyOfPeer(facts.id),
    proofBytes(cluster, body.token, facts),
    Buffer.from(proof, 'base64'),
  )
  if (!proven) refuse('the machine did not prove that the identity is its own')
  const view = options.view() ?? refuse('this node does not know its cluster yet; try again')
  const standing = standingOf(view, body, facts)
  if (standing.kind === 'refused') refuse(standing.why)
  if (standing.kind === 'member') return
  const slot =
    tokens.take(body.token, facts.id, takenByOthers(options.statements(), body.token, facts.id)) ??
    refuse(
      `${body.uses === 1 ? "the token's only use is" : `the token's ${body.uses} uses are`} taken; make another with shunt token`,
    )
  // The clock that signed the token may be ahead of this one.
  const atMs = Math.max(nowMs, body.issuedMs)
  const statement = signStatement(
    cluster,
    signer.id,
    { kind: 'admit', node: facts, atMs, token: { body, signature, slot }, proof },
    signer,
  )
  await options.submit([statement])
  options.event?.(
    'token.used',
    'info',
    facts.name,
    `${facts.name} (${facts.address}) joined with a token, place ${slot} of ${body.uses}`,
  )
}

const serve = async (options: JoinServerOptions, turn: Turn, session: JoinSession): Promise<void> => {
  const { key: joinKey, ours, theirs } = session
  const key = channelKey(joinKey, theirs, ours)
  const length = recordLength(await session.read(LENGTH_BYTES), MAX_REQUEST_BYTES)
  // What does not open is no holder of the token, but a replayed nonce: it gets no answer.
  const plain = openRecord(key, 0, 0, await session.read(length))
  const own = ephemeral(randomBytes(32))
  let shared: Uint8Array
  try {
    const request = decodeRequest(plain)
    shared = agree(own, Buffer.from(request.x25519, 'base64url'))
    const token = options.tokens.find(session.token) ?? refuse('the token is not known here any more')
    await turn(() => admit(options, token, request))
  } catch (error) {
    // Without a code it is our own fault, and its text none of the other's business.
    const known = error instanceof ShuntError
    const code = known ? error.code : 'SHUNT_ERR_INTERNAL'
    const message = known ? error.message : 'the node could not do it; its log says why'
    await session.write(
      sealRecord(key, 1, 0, encodeMessage({ error: { code, message: message.slice(0, 2_000) } })),
    )
    options.event?.(
      'token.used',
      'warning',
      session.remoteAddress,
      `a join from ${session.remoteAddress} was refused: ${errorText(error)}`,
    )
    return
  }
  const sealed = answerKey(joinKey, shared, theirs, ours)
  const x25519 = Buffer.from(own.publicKey).toString('base64url')
  await session.write(sealRecord(key, 1, 0, encodeMessage({ x25519 })))
  await session.write(sealRecord(sealed, 2, 0, answerList(options.statements())))
}

/** Runs one after the other: a second join must see what the first one took. */
const inTurn = (): Turn => {
  let last: Promise<unknown> = Promise.resolve()
  return run => {
    const mine = last.then(run)
    last = mine.catch(() => {})
    return mine
  }
}

export const createJoinServer = (options: JoinServerOptions): JoinHook => {
  const turn = inTurn()
  return {
    keys: () =>
      options.tokens
        .outstanding(options.nowMs())
        .map(({ registration, key }) => ({ token: registration.body.token, key })),
    serve: session => serve(options, turn, session),
  }
}
