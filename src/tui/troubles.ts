/** What is not well, in sentences, the worst first. */
import { missedOf, missedText } from '../cli/absent.ts'
import { newConnectionTroubles } from '../cli/new-connections.ts'
import { allOverloadedText, failOpenText, hasNone, noneText } from '../cli/ready.ts'
import type { Snapshot } from './model.ts'
import { newestRevision } from './screens/nodes.ts'

/** Share of a table from which on it is worth a word. */
const NEARLY_FULL = 0.9

/** What the operator ordered and has not withdrawn: as it is meant to be, and yet not to be forgotten. */
export const orders = ({ nodes }: Snapshot): string[] =>
  nodes.nodes.flatMap(({ name, directives }) =>
    (directives ?? [])
      .filter(({ state }) => state !== 'active')
      .map(({ app, state }) => `${app === '*' ? name : `${app} on ${name}`} is ${state} by order`),
  )

export const troubles = ({ nodes, vips, status, health }: Snapshot): string[] => {
  const newest = newestRevision(nodes.nodes)
  const dead = nodes.nodes.filter(node => node.node === 'dead')
  const suspect = nodes.nodes.filter(node => node.node === 'suspect')
  const agents = nodes.nodes.filter(node => node.agent !== 'alive' && node.node !== 'dead')
  const behind = nodes.nodes.filter(node => node.revision !== null && node.revision < newest)
  const rows = health?.cache?.flatMap(table => table.rows) ?? health?.own?.rows ?? []
  const failing = rows.filter(row => row.health === 'failing')
  const full = status.limits.filter(limit => limit.used > NEARLY_FULL * limit.capacity)
  return [
    ...dead.map(node => `node ${node.name} is dead`),
    ...newConnectionTroubles(vips),
    ...vips.vips.filter(vip => vip.live === 0).map(vip => `service ${vip.service} has no live host`),
    ...vips.vips.filter(vip => vip.live > 0 && hasNone(vip)).map(vip => noneText(vip.service)),
    ...vips.vips.filter(vip => vip.fallback === 'failing').map(vip => failOpenText(vip.service)),
    ...failing.map(row => `${row.service ?? row.vip} on ${row.host} is failing`),
    ...missedOf(health).map(missedText),
    ...vips.vips.filter(vip => vip.fallback === 'overload').map(vip => allOverloadedText(vip.service)),
    ...agents.map(node => `the agent of ${node.name} is ${node.agent}`),
    ...suspect.map(node => `node ${node.name} is suspect`),
    ...(status.state === 'running' ? [] : [`the agent of ${status.node} is ${status.state}`]),
    ...full.map(limit => `the table of ${limit.name} is nearly full (${limit.used} of ${limit.capacity})`),
    ...behind.map(node => `${node.name} has revision ${node.revision}, the newest is ${newest}`),
  ]
}
