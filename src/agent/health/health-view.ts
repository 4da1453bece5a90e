/** What the control API shows of health and load (control/health-types.ts). Pure but for what it is given. */

import { addressPort } from '../../address-port.ts'
import type { DirectiveOrder } from '../../cluster/types.ts'
import { whenFailingOf } from '../../config/health-fields.ts'
import type { NodeConfig } from '../../config/schema.ts'
import type {
  AbsentRow,
  CachedTable,
  EndpointRow,
  GroupData,
  HealthData,
  OwnRow,
  ShareRow,
} from '../../control/types.ts'
import { appKey } from '../../health/app-id.ts'
import type { HealthNode } from '../../health/node.ts'
import type { Row, ServerState } from '../../health/types.ts'
import { absentRows, type KnownTable, knownTables } from './absent.ts'
import type { OwnApps } from './own-apps.ts'
import { type RowFact, rowFacts } from './row-facts.ts'
import { serviceOf } from './services.ts'
import type { UnitSide } from './unit-side.ts'

export interface HealthViewParts {
  config: NodeConfig
  node: HealthNode
  apps: OwnApps | null
  unit: UnitSide | null
  group: GroupData | null
  servers: ReadonlyMap<string, ServerState>
  leaving: ReadonlySet<string>
  /** The operator's, about a host's applications. */
  orders(host: string): readonly DirectiveOrder[]
  nowMs: number
}

const rowView = (config: NodeConfig, host: string, row: Row): EndpointRow => {
  const { app, health, load, capacity, target, current, cause } = row
  return {
    host,
    service: serviceOf(config, app)?.name ?? null,
    vip: addressPort(app.vip, app.port),
    protocol: app.protocol,
    physical: addressPort(app.physical, app.physicalPort),
    ...{ health, load, capacity, target, current, cause },
  }
}

const byPlace = (a: EndpointRow, b: EndpointRow): number =>
  (a.service ?? '').localeCompare(b.service ?? '') || a.vip.localeCompare(b.vip)

const ownView = (parts: HealthViewParts): HealthData['own'] => {
  const { config, node, apps, nowMs } = parts
  const { host, group } = node
  if (host === null) return null
  const own = config.node.name
  const pending = new Map(host.pending().map(each => [each.id, each]))
  const rows: OwnRow[] = host.rows().map(row => {
    const waits = pending.get(row.id)
    return {
      ...rowView(config, own, row),
      why: apps?.why(appKey(row.app)) ?? '',
      whenFailing: whenFailingOf(serviceOf(config, row.app) ?? {}),
      waiting:
        waits === undefined
          ? null
          : {
              sinceMs: nowMs - waits.sinceMs,
              atMostMs: Math.max(0, waits.lapsesMs - nowMs),
              units: waits.waiting.map(w => ({ ...w })),
            },
    }
  })
  return {
    generation: host.version.generation,
    group: group?.index ?? null,
    leader: group?.leader ?? null,
    rows: rows.sort(byPlace),
  }
}

const cacheView = ({ config, node, unit, nowMs }: HealthViewParts): CachedTable[] | null => {
  if (node.unit === null || unit === null) return null
  const known: CachedTable[] = node.unit
    .hosts()
    .map(({ name, version, inForce, leaseUntilMs, via, rows }) => ({
      host: name,
      generation: version?.generation ?? null,
      inForce: inForce?.generation ?? null,
      leaseMs: unit.isSilent(name) ? null : Math.max(0, Math.round(leaseUntilMs - nowMs)),
      via,
      rows: rows.map(row => rowView(config, name, row)).sort(byPlace),
    }))
  return known.sort((a, b) => a.host.localeCompare(b.host))
}

export const sharesView = (unit: UnitSide | null, nowMs: number): ShareRow[] | null => {
  if (unit === null) return null
  return [...unit.handler.allotments()].map(([service, allotment]) => {
    const shares = allotment?.shares ?? []
    const sum = shares.reduce((all, { weight }) => all + weight, 0)
    const slow = unit.handler.slowStarts(service, nowMs)
    return {
      service,
      scheme: allotment?.scheme ?? 'hash',
      panic: allotment?.panic ?? false,
      overload: allotment?.overload ?? false,
      hosts: shares.map(({ host, weight }) => ({
        host,
        percent: Math.round((1000 * weight) / sum) / 10,
        slowStartMs: Math.round(slow.get(host) ?? 0),
      })),
    }
  })
}

const tablesOf = ({ config, node, unit, nowMs }: HealthViewParts): KnownTable[] =>
  knownTables(config, node.host?.rows() ?? null, (unit && node.unit?.hosts()) ?? [], nowMs)

const absentOf = (parts: HealthViewParts, tables: readonly KnownTable[]): AbsentRow[] =>
  absentRows(parts.config, tables, parts.leaving, parts.orders)

/** What events are made of. */
export const factsOf = (parts: HealthViewParts): RowFact[] => {
  const { config, apps, unit } = parts
  const tables = tablesOf(parts)
  const allotments = unit?.handler.allotments()
  return rowFacts(
    config.node.name,
    tables,
    absentOf(parts, tables),
    service => allotments?.get(service) ?? null,
    row => apps?.why(appKey(row.app)) ?? '',
  )
}

export const healthView = (parts: HealthViewParts): HealthData => ({
  group: parts.group,
  own: ownView(parts),
  cache: cacheView(parts),
  shares: sharesView(parts.unit, parts.nowMs),
  absent: absentOf(parts, tablesOf(parts)),
  servers: [...parts.servers]
    .map(([host, state]) => ({ host, ...state }))
    .sort((a, b) => a.host.localeCompare(b.host)),
})
