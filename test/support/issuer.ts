/** A node of a managed cluster without an agent: ledger, tokens and join server, for tests. */
import { createPrivateKey, randomBytes } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nanoid } from 'nanoid'
import { createJoinServer } from '../../src/cluster/join-server.ts'
import { Ledger } from '../../src/cluster/ledger.ts'
import { seedSigner } from '../../src/cluster/operator-key.ts'
import { peerOfPublicKey } from '../../src/cluster/peer-key.ts'
import { firstStatements } from '../../src/cluster/setup.ts'
import { type Signer, signStatement, tokenBytes } from '../../src/cluster/statement.ts'
import type { Token } from '../../src/cluster/token.ts'
import { TokenStore } from '../../src/cluster/tokens-store.ts'
import type { ClusterView, NodeFacts, Statement, StatementBody, TokenBody } from '../../src/cluster/types.ts'
import { clusterView } from '../../src/cluster/view.ts'

export type NodeSigner = Signer & { id: string }

export const nodeSigner = (seed: Uint8Array = randomBytes(32)): NodeSigner => {
  const signer = seedSigner(seed)
  return { ...signer, id: peerOfPublicKey(signer.publicKey) }
}
/** The key file that the operator's commands read. */
const pemOf = (seed: Uint8Array): string =>
  createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' })
    .export({ format: 'pem', type: 'pkcs8' })
    .toString()
/** PKCS #8 of an Ed25519 key up to its 32-byte seed (RFC 8410). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')

export const operatorSigner = (seed: Uint8Array = randomBytes(32)): Signer & { cluster: string } => {
  const signer = seedSigner(seed)
  return { ...signer, cluster: Buffer.from(signer.publicKey).toString('base64url') }
}

export class Issuer {
  readonly #seed = randomBytes(32)
  readonly operator = operatorSigner(this.#seed)
  readonly signer = nodeSigner()
  readonly facts: NodeFacts = {
    id: this.signer.id,
    name: 'f1',
    address: '10.10.0.11',
    tunnel: '10.10.1.11',
    roles: ['forwarder', 'classifier', 'host'],
  }
  readonly ledger = new Ledger(this.operator.cluster)
  readonly stateDir = mkdtempSync(join(tmpdir(), 'shunt-issuer-'))
  readonly events: string[] = []
  nowMs = Date.now()
  tokens: TokenStore

  constructor() {
    const ports = { controlPort: 6780, mappingPort: 6781 }
    for (const statement of firstStatements(
      this.operator,
      { name: 'test', ...ports },
      this.facts,
      this.nowMs,
    ))
      this.take(statement)
    this.tokens = this.reopen()
  }

  operatorPem(): string {
    return pemOf(this.#seed)
  }
  /** As after a restart. */
  reopen(): TokenStore {
    this.tokens = TokenStore.open(this.stateDir, this.operator.cluster, this.signer.id)
    return this.tokens
  }
  take(statement: Statement): void {
    const result = this.ledger.add(statement)
    if (typeof result === 'object') throw new Error(result.refused)
  }
  /** As the operator. */
  order(body: StatementBody): void {
    this.take(signStatement(this.operator.cluster, 'operator', body, this.operator))
  }
  view(): ClusterView {
    return clusterView(this.ledger)!
  }

  token(changes: Partial<TokenBody> = {}, port = 6780): Token {
    const body: TokenBody = {
      token: nanoid(),
      issuer: this.signer.id,
      roles: ['classifier', 'host'],
      uses: 1,
      issuedMs: this.nowMs,
      expiresMs: this.nowMs + 60_000,
      ...changes,
    }
    const signature = Buffer.from(this.operator.sign(tokenBytes(this.operator.cluster, body))).toString(
      'base64',
    )
    const secret = randomBytes(32).toString('base64')
    return { cluster: this.operator.cluster, body, signature, secret, address: '127.0.0.1', port }
  }
  register({ address: _, port: __, ...registration }: Token): void {
    this.tokens.register(registration, this.nowMs)
  }

  readonly hook = createJoinServer({
    cluster: this.operator.cluster,
    signer: this.signer,
    tokens: {
      outstanding: (nowMs: number) => this.tokens.outstanding(nowMs),
      find: (token: string) => this.tokens.find(token),
      take: (token: string, node: string, taken: ReadonlySet<number>) => this.tokens.take(token, node, taken),
    } as TokenStore,
    view: () => this.view(),
    statements: () => this.ledger.statements(),
    submit: statements => {
      for (const statement of statements) this.take(statement)
    },
    nowMs: () => this.nowMs,
    event: (_kind, _severity, _subject, text) => this.events.push(text),
  })
}
