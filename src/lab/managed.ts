/**
 * A managed cluster for a lab in one go: what init, token, join and apply would make, written by the operator's own hand.
 * (A lab built `bare` goes through these commands.)
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { stringify } from 'yaml'
import { createOperatorKey } from '../cluster/operator-key.ts'
import { signStatement } from '../cluster/statement.ts'
import { saveCluster } from '../cluster/store.ts'
import type { Statement, StatementBody } from '../cluster/types.ts'
import type { ClusterDocumentInput } from '../config/document.ts'
import type { NodeFileInput } from '../config/schema.ts'
import { createIdentity } from '../gossip/identity.ts'
import { managedNodeFile, operatorKeyFile, placeFiles, present } from './node-config.ts'
import { type LabState, labDir } from './state.ts'
import { hostsOf, type LabPlan, nodesOf, type PlacePlan } from './topology.ts'

const POOL = 'web'
const CONTROL_PORT = 6780
const MAPPING_PORT = 6781

/** The document that describes a lab's services. */
export const labDocument = (plan: LabPlan): ClusterDocumentInput => ({
  version: 1,
  pools: [{ name: POOL, hosts: hostsOf(plan).map(({ name, capacity }) => ({ name, capacity: capacity! })) }],
  services: plan.services.map(service => ({ ...service, pool: POOL })),
})

const bodies = (plan: LabPlan, ids: ReadonlyMap<string, string>, text: string): StatementBody[] => {
  const atMs = Date.now()
  return [
    {
      kind: 'genesis',
      name: plan.name,
      atMs,
      choiceSeed: randomBytes(32).toString('base64'),
      controlPort: CONTROL_PORT,
      mappingPort: MAPPING_PORT,
    },
    {
      kind: 'secret',
      number: 1,
      secret: randomBytes(32).toString('base64'),
      graceMs: 60_000,
      excludes: [],
      atMs,
    },
    ...nodesOf(plan).map(
      (node): StatementBody => ({
        kind: 'admit',
        node: {
          id: ids.get(node.name)!,
          name: node.name,
          address: node.address!,
          ...present({ tunnel: node.tunnel, address6: node.address6, tunnel6: node.tunnel6 }),
          roles: node.roles,
        },
        atMs,
      }),
    ),
    { kind: 'config', revision: 1, parent: '', text, note: 'made by the lab', atMs },
  ]
}

/** Keys, node files and the saved state of every node, as if all had joined. */
export const writeManagedFiles = async (
  state: LabState,
  configure?: (config: NodeFileInput, node: PlacePlan) => void,
): Promise<void> => {
  const dir = labDir(state.name)
  const operator = createOperatorKey(operatorKeyFile(dir))
  const ids = new Map<string, string>()
  for (const node of nodesOf(state.plan)) {
    const files = placeFiles(dir, node.name)
    mkdirSync(files.state, { recursive: true, mode: 0o700 })
    ids.set(node.name, await createIdentity(files.identity))
    const file = managedNodeFile(dir, node)
    configure?.(file, node)
    writeFileSync(files.config, stringify(file), { mode: 0o600 })
  }
  const statements: Statement[] = bodies(state.plan, ids, stringify(labDocument(state.plan))).map(body =>
    signStatement(operator.cluster, 'operator', body, operator),
  )
  for (const node of nodesOf(state.plan))
    saveCluster(placeFiles(dir, node.name).state, operator.cluster, statements)
}
