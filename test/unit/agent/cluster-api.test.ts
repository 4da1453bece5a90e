/** What the control API shows of nodes whose roles change. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ClusterApi, type ClusterApiParts } from '../../../src/agent/cluster/api.ts'
import type { Managed } from '../../../src/agent/cluster/managed.ts'
import { Situations } from '../../../src/agent/cluster/situation.ts'
import { Ledger } from '../../../src/cluster/ledger.ts'
import type { Statement } from '../../../src/cluster/types.ts'
import { clusterView } from '../../../src/cluster/view.ts'
import { parseNodeFile } from '../../../src/config/load.ts'
import type { PeerLinks } from '../../../src/gossip/links-api.ts'
import { newPeer, stateOf } from '../../../src/gossip/peer.ts'
import * as op from '../../support/sim/operator.ts'

const it = suite('agent/cluster-api')
const id = (n: number): string => op.identity(`node ${n}`).id
const { name, address } = op.factsOf(0)
const file = parseNodeFile(
  `version: 1
node: { name: ${name}, identityFile: /k }
interfaces: { uplink: [eth0], cluster: [eth0] }
addresses: { cluster: ${address} }
`,
  'node.yaml',
)

/** Rows of n0's agent after each list of statements came, as `name: roles / retiring`. */
const rowsAfter = (...steps: { atMs: number; add: Statement[] }[]): string[][] => {
  const ledger = new Ledger(op.CLUSTER)
  const situations = new Situations(file, id(0))
  return steps.map(({ atMs, add }) => {
    for (const statement of add) ledger.add(statement)
    const view = clusterView(ledger)!
    const { situation } = situations.step(view, { allSynced: true, ready: () => true }, atMs)
    const links = {
      id: id(0),
      states: () => situation.config.peers.map(peer => stateOf(newPeer(peer, true, atMs), atMs)),
    } as unknown as PeerLinks
    const parts = {
      config: () => situation.config,
      revision: () => 0,
      draining: () => false,
      machine: () => ({ state: 'alive', rttMs: null }),
      vipsOf: () => null,
      links,
      managed: { view, isSynced: () => true } as unknown as Managed,
    } as unknown as ClusterApiParts
    return new ClusterApi(parts)
      .nodes()
      .nodes.map(row => `${row.name}: ${row.roles.join(' ')} / ${row.retiring.join(' ')}`)
  })
}

it('a role that was taken away is shown as retiring while it drains, and no more when given back', () => {
  const roles = (n: number, revision: number, ...to: ('classifier' | 'host')[]): Statement =>
    op.order({ kind: 'roles', id: id(n), roles: to, revision, atMs: 20 + revision })
  const first = [op.genesis(), op.secret(1), op.admit(op.factsOf(0), 1), op.admit(op.factsOf(1), 2)]
  const start = [roles(0, 1, 'classifier', 'host'), roles(1, 1, 'classifier', 'host')]
  const drainMs = file.timeouts.drain
  const rows = rowsAfter(
    { atMs: 0, add: [...first, ...start] },
    { atMs: 10, add: [roles(0, 2, 'classifier'), roles(1, 2, 'classifier')] },
    { atMs: 20, add: [roles(1, 3, 'classifier', 'host')] },
    { atMs: 20 + drainMs, add: [] },
  )
  assert.equal(rows, [
    ['n0: classifier host / ', 'n1: classifier host / '],
    ['n0: classifier / host', 'n1: classifier / host'],
    ['n0: classifier / host', 'n1: classifier host / '],
    ['n0: classifier / ', 'n1: classifier host / '],
  ])
})

it.run()
