/** What is known of each host's applications now, and which are missing: asked for by the document, the host's agent lives, nothing listens. Pure. */

import { addressPort } from '../../address-port.ts'
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { NodeConfig } from '../../config/schema.ts'
import type { AbsentRow } from '../../control/health-types.ts'
import type { Row } from '../../health/types.ts'
import type { CachedHost } from '../../health/unit/types.ts'

/** A host's rows, by service: of each the one at the service's own port or its endpoint's, which is the one that counts. */
export interface KnownTable {
  readonly host: string
  readonly rows: ReadonlyMap<string, Row>
}

const keyOf = ({ vip, port, protocol }: { vip: string; port: number; protocol: string }): string =>
  `${protocol} ${vip} ${port}`

/**
 * Tables that say what runs on their hosts now: this node's own, and those of a unit's cache that are held under a lease.
 * @param own rows of this node; null: it is no host
 * @param nowMs monotonic
 */
export const knownTables = (
  { node, services }: Pick<NodeConfig, 'node' | 'services'>,
  own: readonly Row[] | null,
  cached: readonly CachedHost[],
  nowMs: number,
): KnownTable[] => {
  const known = new Map(services.map(service => [keyOf(service), service]))
  const byService = (rows: readonly Row[]): Map<string, Row> => {
    const found = new Map<string, Row>()
    for (const row of rows) {
      const service = known.get(keyOf(row.app))
      if (service === undefined || row.app.physicalPort !== (service.endpoint?.port ?? service.port)) continue
      if (!found.has(service.name)) found.set(service.name, row)
    }
    return found
  }
  const others = cached.filter(
    ({ name, version, leaseUntilMs }) =>
      version !== null && leaseUntilMs > nowMs && (own === null || name !== node.name),
  )
  return [
    ...(own === null ? [] : [{ host: node.name, rows: byService(own) }]),
    ...others.map(({ name, rows }) => ({ host: name, rows: byService(rows) })),
  ]
}

/**
 * @param leaving hosts for nothing new, whose applications nobody needs
 * @param orders the operator's, about a host's applications
 */
export const absentRows = (
  { services }: Pick<NodeConfig, 'services'>,
  tables: readonly KnownTable[],
  leaving: ReadonlySet<string>,
  orders: (host: string) => readonly DirectiveOrder[],
): AbsentRow[] => {
  const byHost = new Map(tables.map(table => [table.host, table]))
  return services.flatMap(({ name: service, vip, port, protocol, hosts }) =>
    hosts.flatMap(({ name: host, capacity }): AbsentRow[] => {
      const table = byHost.get(host)
      if (table === undefined || table.rows.has(service) || leaving.has(host)) return []
      const order = orderFor(orders(host), service)
      return [{ host, service, vip: addressPort(vip, port), protocol, capacity, order }]
    }),
  )
}

/** The stricter of what is ordered for all of a host and for that service. */
const orderFor = (orders: readonly DirectiveOrder[], service: string): AbsentRow['order'] => {
  const states = orders.filter(({ app }) => app === '*' || app === service).map(({ state }) => state)
  if (states.includes('inactive')) return 'inactive'
  return states.includes('draining') ? 'draining' : null
}
