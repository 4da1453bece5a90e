/** How this node stands to its cluster by what is saved here, whether or not its agent runs. */
import { type Standing, standingOf } from '../agent/cluster/standing.ts'
import { Ledger } from '../cluster/ledger.ts'
import { identitySigner } from '../cluster/operator-key.ts'
import { loadCluster } from '../cluster/store.ts'
import { clusterView } from '../cluster/view.ts'
import { isManaged } from '../config/compose.ts'
import type { NodeFile } from '../config/schema.ts'

/**
 * `null` in a static cluster, and when nothing is saved.
 * @throws ShuntError SHUNT_ERR_STATE, SHUNT_ERR_IDENTITY for files that cannot be read or are damaged
 */
export const savedStanding = (file: NodeFile): Standing | null => {
  const saved = isManaged(file) ? loadCluster(file.node.stateDir) : null
  if (saved === null) return null
  const ledger = new Ledger(saved.cluster)
  for (const statement of saved.statements) ledger.add(statement)
  const view = clusterView(ledger)
  return view === null ? null : standingOf(view, identitySigner(file.node.identityFile).id)
}
