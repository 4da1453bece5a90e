/** The joining machine's side of a join: asks the token's issuer, and believes nothing that the operator's key does not prove. */
import { randomBytes } from 'node:crypto'
import { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { errorText, ShuntError } from '../errors.ts'
import { helloNonce, NONCE_BYTES, NONCE_RANDOM_BYTES, nonceMatches } from '../gossip/hello-nonce.ts'
import { decodeAnswer, encodeMessage } from './join-messages.ts'
import {
  agree,
  answerKey,
  channelKey,
  decodeList,
  ephemeral,
  LENGTH_BYTES,
  MAX_ANSWER_BYTES,
  openRecord,
  recordLength,
  sealRecord,
} from './join-wire.ts'
import { Ledger } from './ledger.ts'
import { SocketReader } from './socket-reader.ts'
import { decodeStatement, proofBytes, type Signer } from './statement.ts'
import { joinKey, type Token } from './token.ts'
import type { NodeFacts, Statement } from './types.ts'
import { clusterView } from './view.ts'

const TIMEOUT_MS = 8_000

const ask = async (
  reader: SocketReader,
  token: Token,
  facts: NodeFacts,
  signer: Signer,
): Promise<Uint8Array> => {
  const key = joinKey(Buffer.from(token.secret, 'base64'))
  const ours = helloNonce(key, randomBytes(NONCE_RANDOM_BYTES))
  reader.write(ours)
  const theirs = await reader.read(NONCE_BYTES)
  if (!nonceMatches(key, theirs) || Buffer.from(theirs).equals(ours))
    throw new ShuntError('SHUNT_ERR_TOKEN', 'what answers there does not know the token')
  const channel = channelKey(key, ours, theirs)
  const own = ephemeral(randomBytes(32))
  const proof = Buffer.from(signer.sign(proofBytes(token.cluster, token.body.token, facts))).toString(
    'base64',
  )
  const x25519 = Buffer.from(own.publicKey).toString('base64url')
  reader.write(sealRecord(channel, 0, 0, encodeMessage({ x25519, facts, proof })))
  const record = async (): Promise<Uint8Array> =>
    reader.read(recordLength(await reader.read(LENGTH_BYTES), MAX_ANSWER_BYTES + 1024))
  const answer = decodeAnswer(openRecord(channel, 1, 0, await record()))
  if ('error' in answer)
    throw new ShuntError(answer.error.code, `the node at ${token.address} refused: ${answer.error.message}`)
  const shared = agree(own, Buffer.from(answer.x25519, 'base64url'))
  return openRecord(answerKey(key, shared, ours, theirs), 2, 0, await record())
}

/** The statements of a list, each verified; they must make this node a member. */
const believe = (list: Uint8Array, token: Token, facts: NodeFacts): Statement[] => {
  const ledger = new Ledger(token.cluster)
  for (const bytes of decodeList(list)) {
    const result = ledger.add(decodeStatement(bytes))
    if (typeof result === 'object')
      throw new ShuntError(
        'SHUNT_ERR_TOKEN',
        `the node at ${token.address} sent a statement that is refused: ${result.refused}`,
      )
  }
  const view = clusterView(ledger)
  if (view === null || !view.members.some(member => member.id === facts.id))
    throw new ShuntError(
      'SHUNT_ERR_TOKEN',
      `the node at ${token.address} did not make this one a member (another may have joined with the same name or address at the same moment); look at shunt nodes there, and try again`,
    )
  return ledger.statements()
}

/**
 * Joins, and answers with the cluster's statements, all verified. The same identity may ask again, as after a lost answer.
 * @throws ShuntError SHUNT_ERR_PEER when nobody answers there, SHUNT_ERR_TOKEN when the token or the facts are refused
 */
export const joinCluster = async (
  token: Token,
  facts: NodeFacts,
  signer: Signer,
  timeoutMs = TIMEOUT_MS,
): Promise<Statement[]> => {
  const where = `${token.address}:${token.port}`
  const socket = new Socket()
  const reader = new SocketReader(socket)
  const done = new AbortController()
  const late = delay(timeoutMs, undefined, { signal: done.signal }).then(() => {
    throw new Error(`no answer in ${timeoutMs / 1000} s`)
  })
  try {
    socket.connect({ host: token.address, port: token.port })
    return believe(await Promise.race([ask(reader, token, facts, signer), late]), token, facts)
  } catch (cause) {
    if (cause instanceof ShuntError) throw cause
    throw new ShuntError(
      'SHUNT_ERR_PEER',
      `cannot join at ${where}: ${errorText(cause)}; does the agent that issued the token run, does a firewall let TCP port ${token.port} through, and is the token still valid there?`,
      { cause },
    )
  } finally {
    done.abort()
    late.catch(() => {})
    socket.destroy()
  }
}
