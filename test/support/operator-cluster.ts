/** A managed cluster without agents that answers on a control socket, for tests of the commands that change a cluster. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { startControlServer } from '../../src/control/server.ts'
import { CONFIG } from './fake-view.ts'
import { Issuer, nodeSigner } from './issuer.ts'
import { IssuerView } from './issuer-view.ts'
import { listenForJoins } from './join-listener.ts'

const NO_DOCUMENT = { ...CONFIG, revision: 0, hash: '', parent: '', text: '', rollout: [] }

export interface Cluster {
  issuer: Issuer
  view: IssuerView
  dir: string
  /** Flags of an operator. */
  as: string[]
}
/** A cluster of f1 (all roles) and, by order, of others. */
export const withCluster = async (run: (cluster: Cluster) => Promise<void>): Promise<void> => {
  const dir = mkdtempSync(join(tmpdir(), 'shunt-operator-'))
  const issuer = new Issuer()
  const view = new IssuerView(issuer)
  view.data.config = NO_DOCUMENT
  const listener = await listenForJoins(issuer.hook)
  view.controlPort = listener.port
  const socketPath = join(dir, 'issuer.sock')
  const server = await startControlServer({
    socketPath,
    node: 'f1',
    view,
    log: pino({ level: 'silent' }),
  } as never)
  writeFileSync(join(dir, 'operator.key'), issuer.operatorPem(), { mode: 0o600 })
  try {
    await run({
      issuer,
      view,
      dir,
      as: ['--socket', socketPath, '--operator-key', join(dir, 'operator.key')],
    })
  } finally {
    await server.close()
    await listener.close()
    rmSync(issuer.stateDir, { recursive: true })
    rmSync(dir, { recursive: true })
  }
}
export const admitHost = (
  issuer: Issuer,
  name: string,
  address: string,
  roles = ['host' as const],
): string => {
  const { id } = nodeSigner()
  issuer.order({ kind: 'admit', node: { id, name, address, roles }, atMs: issuer.nowMs })
  return id
}
