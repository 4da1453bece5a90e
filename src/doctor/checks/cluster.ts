/** Checks that ask the running agent: itself, the other nodes, the cluster document, its tables, what was dropped. */

import { DROP } from '../../agent/dataplane/drops.ts'
import { count, percent } from '../../cli/format.ts'
import type { NodesData } from '../../control/types.ts'
import { type Check, type Facts, type Finding, fail, pass, skip, valueIn, warn } from '../facts.ts'
import { isOut } from './membership.ts'
import { refusedByAll } from './refused.ts'
import { from, type WithAgent, withAgent } from './with-agent.ts'

const atWork = ({ leftAtWork }: Facts): string =>
  leftAtWork
    ? '; the XDP programs of the one before carry known connections on; new ones wait, or go on for timeouts.unattended where they choose by themselves (forwarder and classifier on one node)'
    : ''

const agent = (facts: Facts): Finding[] => {
  const { agent: known, version } = facts
  if ('error' in known && isOut(facts)) return [skip('A node that is out of its cluster runs no agent.')]
  if ('error' in known && facts.holder !== null)
    return [
      fail(
        `Agent pid ${facts.holder} holds ${facts.controlSocket} and does not answer: it hangs, or is stopped.`,
        'systemctl restart shunt; journalctl -u shunt says what it did last',
      ),
    ]
  if ('error' in known)
    return [
      fail(
        `No agent can be asked: ${known.error}${atWork(facts)}`,
        'systemctl start shunt; journalctl -u shunt says why it ended',
      ),
    ]
  const { status } = known.value
  if (status.version !== version)
    return [
      warn(
        `The agent is of version ${status.version}, this command of ${version}.`,
        'restart the agent to finish the upgrade (systemctl restart shunt)',
      ),
    ]
  if (status.state !== 'running')
    return [warn(`The agent of ${status.node} is ${status.state}.`, 'wait, and look again')]
  const runs = pass(`The agent of ${status.node} runs (pid ${status.pid}, version ${status.version}).`)
  return status.adopted === null ? [runs] : [runs, pass(`It ${status.adopted}.`)]
}

/** Nobody answers, neither machine nor agent: it is rather this node. */
const isCutOff = (others: NodesData['nodes']): boolean =>
  others.length > 1 && others.every(({ node, agent }) => node !== 'alive' && agent !== 'alive')

const cutOff = (others: number): Finding =>
  fail(
    `None of the ${others} other nodes answers: most likely this node is cut off from them.`,
    'look at the links and addresses of this machine first (ip link; ip address), then at the network between; evict nobody because of what this node sees',
  )

const nodes: WithAgent = ({ nodes: known, listening }) =>
  from(known, ({ nodes: rows, mode }) => {
    const others = rows.filter(row => !row.self)
    const refused = refusedByAll(others, listening, mode)
    if (refused.length === 0 && isCutOff(others)) return [cutOff(others.length)]
    const told = new Set(refused.length > 0 ? listening : [])
    const each = others.flatMap((row): Finding[] => {
      if (told.has(row.name)) return []
      const who = `${row.name} (${row.address})`
      if (row.node === 'dead' || row.node === 'suspect')
        return [
          fail(
            `Machine ${who} answers no probes.`,
            'look at its power and links; if it is gone for good: shunt evict',
          ),
        ]
      if (row.agent !== 'alive')
        return [
          fail(
            `The agent on ${who} is ${row.agent}.`,
            listening.includes(row.name)
              ? 'it listens, but keeps no link with this node: journalctl -u shunt on both says why'
              : 'run shunt doctor there; check the control port (TCP) between the nodes',
          ),
        ]
      if (row.node === 'unknown')
        return [
          warn(
            `Machine ${who} never answered an echo request, though its agent is alive.`,
            'let ICMP echo pass between the nodes; without it the death of a machine is only seen by its agent',
          ),
        ]
      if (!row.synced)
        return [
          warn(
            `${who} does not hold the same statements as this node.`,
            'look again in a few seconds; then at shunt events',
          ),
        ]
      return []
    })
    const bad = [...refused, ...each]
    return bad.length > 0 ? bad : [pass(`${count(others.length, 'other node')}, all alive.`)]
  })

/** A warning may end with the command that helps. */
const ofDocument = (text: string): Finding => {
  const [, what = text, command] = /^(.*); (shunt .*)$/.exec(text) ?? []
  const change = 'correct it with shunt apply'
  return warn(`The cluster document: ${what}.`, command === undefined ? change : `${command}; or ${change}`)
}

const cluster: WithAgent = ({ cluster: known, config }) =>
  from(known, data => {
    if (data.mode === 'static') return [skip('A static cluster has no statements.')]
    const document = valueIn(config)
    const behind = (document?.rollout ?? []).filter(
      ({ revision }) => revision !== null && revision !== document?.revision,
    )
    const bad = [
      ...data.conflicts.map(({ id, name, why }) =>
        id === data.node.id
          ? fail(
              `This node is no member for now: ${why}.`,
              'ask another node (shunt nodes); evict the one that should not be there, or join again under another name or address',
            )
          : warn(
              `The admission of ${name} (${id}) is in conflict: ${why}.`,
              `evict the one of the two that should not be there (shunt evict takes the id)`,
            ),
      ),
      ...behind.map(({ node, revision }) =>
        warn(
          `${node} has revision ${revision} of the cluster document in force, not ${document?.revision}.`,
          `look at shunt events --node ${node}`,
        ),
      ),
      ...(document?.warnings ?? []).map(ofDocument),
    ]
    if (bad.length > 0) return bad
    return [
      pass(
        `Revision ${document?.revision ?? '-'} of the cluster document is in force on every node that answers.`,
      ),
    ]
  })

/** Reasons that speak of a fault of ours or of the set-up; the others are mostly the traffic's own. */
const SERIOUS: ReadonlySet<number> = new Set([
  DROP.NO_CLASSIFIER,
  DROP.NO_HOST,
  DROP.TABLE_FULL,
  DROP.IDENTIFIERS_EXHAUSTED,
  DROP.HOLD_FULL,
  DROP.SEND_FAILED,
  DROP.MAPPING_BAD_TAG,
  DROP.MAPPING_UNKNOWN_KEY,
  DROP.MAPPING_TIME,
  DROP.MAPPING_NOT_A_PEER,
  DROP.MAPPING_WRONG_ROLE,
  DROP.RING_FULL,
  DROP.TOO_BIG,
])

const drops: WithAgent = ({ drops: known }) =>
  from(known, ({ drops: rows }) => {
    const bad = rows.filter(row => row.count > 0 && row.where === 'agent' && SERIOUS.has(row.number))
    if (bad.length === 0) return [pass('Nothing was dropped for a reason that needs you.')]
    return bad.map(row =>
      warn(`${row.count} packets dropped since the agent started: ${row.reason}.`, row.hint),
    )
  })

const FAILURES = ['kernel_batch_failures', 'kernel_change_failures'] as const
const FULL = 0.9

const tables: WithAgent = ({ status }) => {
  const failures = FAILURES.filter(name => (status.counters[name] ?? 0) > 0).map(name =>
    warn(
      `The kernel refused changes of its tables (${name} ${status.counters[name]}).`,
      'flows go on through the agent; look for another program that changes nftables (nft monitor)',
    ),
  )
  const full = status.limits
    .filter(limit => limit.used >= limit.capacity * FULL)
    .map(limit =>
      warn(
        `Table ${limit.name} is ${percent(limit.used, limit.capacity)} full.`,
        'raise its entry in limits: of the node file and restart the agent',
      ),
    )
  const bad = [...failures, ...full]
  return bad.length > 0 ? bad : [pass('No table is nearly full, and the kernel takes all changes.')]
}

export const CLUSTER_CHECKS: readonly Check[] = [
  { id: 'agent', run: agent },
  { id: 'nodes', run: withAgent(nodes) },
  { id: 'cluster', run: withAgent(cluster) },
  { id: 'tables', run: withAgent(tables) },
  { id: 'drops', run: withAgent(drops) },
]
