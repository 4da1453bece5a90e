/** Keys of a simulated cluster (the same in every run, as making them is slow), and what its operator signs. */
import { createHash } from 'node:crypto'
import { seedSigner } from '../../../src/cluster/operator-key.ts'
import { peerOfPublicKey } from '../../../src/cluster/peer-key.ts'
import { proofBytes, type Signer, signStatement, tokenBytes } from '../../../src/cluster/statement.ts'
import type { NodeFacts, Statement, StatementBody, TokenBody } from '../../../src/cluster/types.ts'

export interface Identity extends Signer {
  id: string
}

const signers = new Map<string, Identity>()

/** The identity of that label. */
export const identity = (label: string): Identity => {
  const known = signers.get(label)
  if (known !== undefined) return known
  const signer = seedSigner(createHash('sha256').update(label).digest())
  const made = { ...signer, id: peerOfPublicKey(signer.publicKey) }
  signers.set(label, made)
  return made
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
export const operatorSigner = identity('operator')
/** Id of the simulated cluster. */
export const CLUSTER = Buffer.from(operatorSigner.publicKey).toString('base64url')

/** Signs as the operator. */
export const order = (body: StatementBody): Statement =>
  signStatement(CLUSTER, 'operator', body, operatorSigner)

export const genesis = (atMs = 1): Statement =>
  order({
    kind: 'genesis',
    name: 'lab',
    atMs,
    choiceSeed: base64(new Uint8Array(32)),
    controlPort: 6780,
    mappingPort: 6781,
  })

export const secret = (number: number, excludes: string[] = [], atMs = 1, salt = 0): Statement =>
  order({
    kind: 'secret',
    number,
    secret: base64(new Uint8Array(32).fill(number + salt)),
    graceMs: 1_000,
    excludes,
    atMs,
  })

/** Facts of node number n. */
export const factsOf = (n: number, more: Partial<NodeFacts> = {}): NodeFacts => ({
  id: identity(`node ${n}`).id,
  name: `n${n}`,
  address: `10.0.${n >> 8}.${n & 255}`,
  tunnel: `10.1.${n >> 8}.${n & 255}`,
  roles: ['forwarder', 'classifier', 'host'],
  ...more,
})

/** What units are to do with a host's applications. */
export const directive = (
  id: string,
  app: string,
  state: 'active' | 'draining' | 'inactive',
  revision: number,
  atMs = 1,
): Statement => order({ kind: 'directive', id, app, state, revision, atMs })

export const admit = (node: NodeFacts, atMs: number): Statement => order({ kind: 'admit', node, atMs })

/** A token for all roles, issued to one node; `name` makes it a token of its own. */
export const tokenFor = (issuer: Identity, name: string, uses: number, expiresMs: number, issuedMs = 0) => {
  const token = createHash('sha256').update(name).digest('base64url').slice(0, 21)
  const body: TokenBody = {
    token,
    issuer: issuer.id,
    roles: ['forwarder', 'classifier', 'host'],
    uses,
    issuedMs,
    expiresMs,
  }
  return { body, signature: base64(operatorSigner.sign(tokenBytes(CLUSTER, body))) }
}
export type Token = ReturnType<typeof tokenFor>

export const redeem = (
  issuer: Identity,
  token: Token,
  slot: number,
  joiner: Identity,
  node: NodeFacts,
  atMs: number,
): Statement => {
  const proof = base64(joiner.sign(proofBytes(CLUSTER, token.body.token, node)))
  return signStatement(
    CLUSTER,
    issuer.id,
    { kind: 'admit', node, atMs, token: { ...token, slot }, proof },
    issuer,
  )
}

/** A document that can be told from others. */
export const documentText = (port: number): string =>
  `version: 1\npools: [{name: web, hosts: [{name: n0}]}]\nservices: [{name: web, vip: 192.0.2.1, port: ${port}, protocol: tcp, pool: web}]\n`

export const config = (
  revision: number,
  parent: string,
  atMs: number,
  text = documentText(revision),
): Statement => order({ kind: 'config', revision, parent, text, note: '', atMs })
