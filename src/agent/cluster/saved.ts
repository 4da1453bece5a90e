/** What an agent of a managed cluster starts from: the statements on its disk, and a node file that agrees with them. */

import { moreAddresses } from '../../cluster/fact-addresses.ts'
import { Ledger } from '../../cluster/ledger.ts'
import { loadCluster } from '../../cluster/store.ts'
import type { ClusterView, Member } from '../../cluster/types.ts'
import { clusterView } from '../../cluster/view.ts'
import type { NodeFile } from '../../config/schema.ts'
import { ShuntError } from '../../errors.ts'

/** @throws ShuntError SHUNT_ERR_STATE when there is nothing, or not all of it is right */
export const openSaved = (stateDir: string): { ledger: Ledger; view: ClusterView } => {
  const saved = loadCluster(stateDir)
  if (saved === null)
    throw new ShuntError(
      'SHUNT_ERR_STATE',
      `this node is in no cluster (nothing in ${stateDir}); begin one with shunt init, or join one with shunt join TOKEN`,
    )
  const ledger = new Ledger(saved.cluster)
  for (const statement of saved.statements) {
    const result = ledger.add(statement)
    if (typeof result === 'object')
      throw new ShuntError(
        'SHUNT_ERR_STATE',
        `the saved state in ${stateDir} holds a statement that is not valid (${result.refused}); restore a backup with shunt restore`,
      )
  }
  const view = clusterView(ledger)
  if (view === null)
    throw new ShuntError(
      'SHUNT_ERR_STATE',
      `the saved state in ${stateDir} is not complete; restore a backup with shunt restore`,
    )
  return { ledger, view }
}

/** @throws ShuntError SHUNT_ERR_CONFIG when the node file has another name or other addresses than the cluster */
export const checkFile = ({ node, addresses }: NodeFile, self: Member): void => {
  const says = (what: string, here: string | undefined, there: string | undefined): void => {
    if (here !== there)
      throw new ShuntError(
        'SHUNT_ERR_CONFIG',
        `${what} is ${here ?? 'not set'} in the node file, but the cluster knows this node with ${there ?? 'none'}; correct the node file, or leave and join again`,
      )
  }
  says('node.name', node.name, self.name)
  says('addresses.cluster', addresses.cluster, self.address)
  says('addresses.tunnel', addresses.tunnel, self.tunnel)
  says('addresses.cluster6', addresses.cluster6, self.address6)
  says('addresses.tunnel6', addresses.tunnel6, self.tunnel6)
}

/** A node by its file, without roles: while it is no member nobody sends it packets. */
export const memberOfFile = ({ node, addresses }: NodeFile, id: string): Member => ({
  ...{ id, name: node.name, address: addresses.cluster },
  ...moreAddresses({ ...addresses, address6: addresses.cluster6 }),
  ...{ roles: [], joinedMs: 0, rolesRevision: 0, directives: [] },
})
