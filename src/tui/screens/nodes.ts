import { duration } from '../../cli/format.ts'
import { capacityText, rolesText, vipsHeld } from '../../cli/row-text.ts'
import type { NodeRow } from '../../control/types.ts'
import type { Snapshot } from '../model.ts'
import { absentFrom, endpointFacts, endpointsOf } from './endpoints.ts'
import { type Cell, cell, type Details, type Screen, stateCell } from './screen.ts'

const SHORT: Record<string, string> = { classifier: 'cls', forwarder: 'fwd', host: 'hst' }
const roles = (node: NodeRow): Cell =>
  cell(rolesText(node), { short: rolesText(node, ',', role => SHORT[role] ?? role) })

const agentOf = (node: NodeRow): string => (node.draining && node.agent === 'alive' ? 'draining' : node.agent)
const rttOf = (node: NodeRow): number | null => node.probeRttMs ?? node.agentRttMs

/** The highest revision that any node has in force; 0 for none. */
export const newestRevision = (nodes: readonly NodeRow[]): number =>
  Math.max(0, ...nodes.map(node => node.revision ?? 0))

const details = (name: string, { nodes, status, hosts, health }: Snapshot): Details | null => {
  const node = nodes.nodes.find(row => row.name === name)
  if (node === undefined) return null
  const peer = status.peers.find(row => row.name === name)
  const host = hosts.hosts.find(row => row.name === name)
  const facts: [string, string | null][] = [
    ['roles', rolesText(node, ', ')],
    ['machine', node.node],
    ['agent', agentOf(node)],
    ['heard', node.self ? 'this node' : duration(node.lastHeardMs ?? peer?.lastHeardMs ?? null)],
    ['RTT machine', duration(node.probeRttMs)],
    ['RTT agent', duration(node.agentRttMs)],
    ['address', node.address],
    ['tunnel', node.tunnel],
    // Lines are few, and most nodes have none.
    ...(node.address6 ? [['address6', node.address6] satisfies [string, string]] : []),
    ...(node.tunnel6 ? [['tunnel6', node.tunnel6] satisfies [string, string]] : []),
    ...(node.vips?.length ? [['holds', node.vips.join(', ')] satisfies [string, string]] : []),
    ['revision', node.revision === null ? null : `${node.revision} (newest ${newestRevision(nodes.nodes)})`],
    ['in sync', node.synced ? 'yes' : 'no'],
    ['joined', node.joinedAt],
    ['id', node.id],
  ]
  if (host !== undefined)
    facts.push(
      ['services', host.services.join(', ')],
      ['capacity', String(capacityText(host))],
      [
        'flows',
        `${host.flows} now${host.connections === null ? '' : `, ${host.connections} since the agent started`}`,
      ],
      ...endpointFacts(endpointsOf(health, name), absentFrom(health, name), health?.shares ?? null),
    )
  const table = health?.cache?.find(row => row.host === name)
  if (table !== undefined && table.leaseMs !== null)
    facts.push([
      'heartbeats',
      table.leaseMs === 0 ? 'none' : table.via == null ? 'direct' : `via ${table.via}`,
    ])
  if (node.self && health?.group != null) {
    const { members, leader, sinceMs } = health.group
    const who = leader === null ? 'electing a leader' : `led by ${leader} for ${duration(sinceMs)}`
    facts.push(['group', `${members.join(' ')}, ${who}`])
  }
  if (node.self)
    facts.push(
      ['version', `${status.version}, pid ${status.pid}, up ${duration(status.uptimeMs)}`],
      ...status.limits.map((limit): [string, string] => [
        limit.name,
        `${limit.used} of ${limit.capacity}, ${limit.evicted} evicted`,
      ]),
    )
  return {
    title: `node ${name}`,
    facts: facts.map(([key, value]) => [key, value === null || value === '' ? '-' : value]),
    subject: name,
  }
}

export const nodes: Screen = {
  id: 'nodes',
  columns: [
    { id: 'node', head: 'NODE', min: 8 },
    { id: 'roles', head: 'ROLES', min: 11 },
    { id: 'address', head: 'ADDRESS', drop: 3 },
    { id: 'machine', head: 'MACHINE' },
    { id: 'agent', head: 'AGENT' },
    { id: 'rtt', head: 'RTT', right: true },
    // Often left out, and nobody sees then what the order is by.
    { id: 'vips', head: 'VIPS', right: true, drop: 5, sorts: false },
    { id: 'config', head: 'CONFIG', right: true, drop: 1 },
    { id: 'sync', head: 'SYNC', drop: 2 },
    { id: 'trend', head: 'RTT, LAST 60', grow: 60, min: 12, drop: 4, sorts: false },
  ],
  sort: { column: 'node', reverse: false },
  rows: (snapshot, history) => {
    const newest = newestRevision(snapshot.nodes.nodes)
    return snapshot.nodes.nodes.map(node => ({
      key: node.name,
      cells: [
        cell(node.name),
        roles(node),
        cell(node.address),
        stateCell(node.node),
        stateCell(agentOf(node)),
        cell(duration(rttOf(node)), { sort: rttOf(node) ?? -1 }),
        cell(vipsHeld(node)),
        node.revision !== null && node.revision < newest
          ? cell(`${node.revision}<${newest}`, { sort: node.revision, style: 'odd' })
          : cell(node.revision),
        { text: node.synced ? 'yes' : 'no', ...(node.synced ? {} : { style: 'odd' as const }) },
        { text: '', series: history.series[`rtt ${node.name}`] ?? [] },
      ],
    }))
  },
  open: () => null,
  details,
  empty: 'no nodes',
}
