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

/** How good a host that gets connections is; those of a worse level get some only while there is none of a better one (R-B10). */
const LEVELS = ['up', 'overload', 'health'] as const
type Level = (typeof LEVELS)[number]

const levelOfRow = ({ target, cause, health, capacity }: EndpointRow): Level | null => {
  if (capacity === 0) return null
  if (target === 'active') return 'up'
  if (cause === 'overload') return health === 'failing' ? null : cause
  return cause === 'health' ? cause : null
}

/** `null`: it gets no new connections of the service, whatever becomes of the others. */
const levelOf = ({ nodes, cache }: Known, host: HostStatus, service: string): Level | null => {
  if (host.state !== 'alive' || !host.services.includes(service)) return null
  const orders = nodes.find(node => node.name === host.name)?.directives ?? []
  if ([ALL, service].some(app => orderedState(orders, app) !== 'active')) return null
  const table = cache?.find(each => each.host === host.name)
  // One whose agent is too old to have a lease is chosen by capacity.
  if (cache === null || table === undefined || table.leaseMs === null) return 'up'
  if (table.leaseMs === 0) return null
  const levels = rowsAbout(cache, host.name, service).map(levelOfRow)
  return LEVELS.find(level => levels.includes(level)) ?? null
}

/** Names of the hosts that get the new connections of a service now, also for want of better ones. */
const takersOf = (known: Known, service: string): string[] => {
  const levels = known.hosts.map(host => ({ host: host.name, level: levelOf(known, host, service) }))
  const best = LEVELS.find(each => levels.some(({ level }) => level === each))
  return best === undefined ? [] : levels.filter(({ level }) => level === best).map(({ host }) => host)
}

/** Those of which the target is the last one that takes connections now. */
export const lastActiveOf = ({ node, app }: Target, known: Known): string[] => {
  const services = known.hosts.find(host => host.name === node)?.services ?? []
  return services.filter(service => {
    if (app !== ALL && app !== service) return false
    const takers = takersOf(known, service)
    return takers.length === 1 && takers[0] === node
  })
}
