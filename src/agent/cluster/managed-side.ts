/** What only the agent of a managed cluster has: the cluster itself, tokens, joins, and leaving. */
import { join } from 'node:path'
import type { Logger } from 'pino'
import { createJoinServer } from '../../cluster/join-server.ts'
import { identitySigner } from '../../cluster/operator-key.ts'
import { removeLeftovers } from '../../cluster/replace-file.ts'
import { type Signer, signStatement } from '../../cluster/statement.ts'
import { CLUSTER_FILE } from '../../cluster/store.ts'
import { TOKENS_FILE, TokenStore } from '../../cluster/tokens-store.ts'
import type { NodeFile } from '../../config/schema.ts'
import type { TokenRegistration } from '../../control/cluster-types.ts'
import type { JoinHook } from '../../gossip/joins.ts'
import type { EventLog } from '../events.ts'
import { Managed } from './managed.ts'

export interface ManagedSide {
  readonly managed: Managed
  readonly joins: JoinHook
  /** Of gossipsub. */
  readonly topic: string
  /** @throws ShuntError SHUNT_ERR_TOKEN */
  registerToken(registration: TokenRegistration): void
  /** Signs this node out, for good; its agent has to stop then. */
  leave(): void
  stop(): void
}

/** @throws ShuntError SHUNT_ERR_STATE when this node is in no cluster, SHUNT_ERR_CONFIG when its file says otherwise than the cluster */
export const joinCluster = (file: NodeFile, log: Logger, events: EventLog): ManagedSide => {
  const signer: Signer & { id: string } = identitySigner(file.node.identityFile)
  for (const name of [CLUSTER_FILE, TOKENS_FILE]) removeLeftovers(join(file.node.stateDir, name))
  const managed = new Managed({ file, ownId: signer.id, log, events })
  const { cluster } = managed.ledger
  const tokens = TokenStore.open(file.node.stateDir, cluster, signer.id)
  return {
    managed,
    joins: createJoinServer({
      cluster,
      signer,
      tokens,
      view: () => managed.view,
      statements: () => managed.ledger.statements(),
      submit: statements => void managed.submit(statements),
      nowMs: Date.now,
      event: (kind, severity, subject, text) => events.add(kind, severity, subject, text),
    }),
    topic: `shunt/${cluster}/ledger/1`,
    registerToken: registration => {
      tokens.register(registration, Date.now())
      const { uses, roles, expiresMs } = registration.body
      events.add(
        'token.issued',
        'info',
        file.node.name,
        `a join token for ${uses} ${uses === 1 ? 'node' : 'nodes'} (roles ${roles.join(', ')}) is good here until ${new Date(expiresMs).toISOString()}`,
      )
    },
    leave: () => {
      const body = { kind: 'remove', id: signer.id, reason: 'left', atMs: Date.now() } as const
      managed.submit([signStatement(cluster, signer.id, body, signer)])
    },
    stop: () => managed.stop(),
  }
}
