/** Services that would be left without a host that takes connections. Pure. */
import type { EndpointRow, HealthData, HostStatus, NodeRow } from '../../control/types.ts'
import { ALL, orderedState, type Target } from './target.ts'

export interface Known {
  hosts: readonly HostStatus[]
  nodes: readonly NodeRow[]
  /** What this node's cache says of the applications; `null` where it has none. */
  cache: HealthData['cache']
}

const rowsAbout = (cache: NonNullable<HealthData['cache']>, host: string, service: string): EndpointRow[] =>
  cache.find(table => table.host === host)?.rows.filter(row => row.service === service) ?? []

const takesConnections = ({ nodes, cache }: Known, host: HostStatus, service: string): boolean => {
  if (host.state !== 'alive' || !host.services.includes(service)) return false
  const orders = nodes.find(node => node.name === host.name)?.directives ?? []
  if ([ALL, service].some(app => orderedState(orders, app) !== 'active')) return false
  const table = cache?.find(each => each.host === host.name)
  // One whose agent is too old to have a lease is chosen by capacity.
  if (cache === null || table === undefined || table.leaseMs === null) return true
  return table.leaseMs > 0 && rowsAbout(cache, host.name, service).some(row => row.target === 'active')
}

/** Those of which the target is the last one that takes connections now. */
export const lastActiveOf = ({ node, app }: Target, known: Known): string[] => {
  const own = known.hosts.find(host => host.name === node)
  return (own?.services ?? []).filter(
    service =>
      (app === ALL || app === service) &&
      takesConnections(known, own!, service) &&
      !known.hosts.some(host => host.name !== node && takesConnections(known, host, service)),
  )
}
