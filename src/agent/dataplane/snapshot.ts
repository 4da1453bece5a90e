import type { Engine } from './engine.ts'
import { formatAddress, formatEndpoint } from './flow-key.ts'
import { LIST } from './flows.ts'
import { MAPPING_LIST } from './mappings.ts'
import type { FlowRow, Query, WorkerStatus } from './messages.ts'
import { ORIGIN_NAMES } from './origin-names.ts'
import { SlotTable } from './slot-table.ts'

export const STATES = {
  [LIST.EMBRYONIC]: 'embryonic',
  [LIST.TCP]: 'established',
  [LIST.UDP]: 'established',
  [LIST.TCP_YOUNG]: 'established',
  [LIST.UDP_YOUNG]: 'established',
  [LIST.CLOSING]: 'closing',
  [LIST.CLOSING_PLUMBED]: 'closing',
} as const
/** Neither half-open nor closing. */
const OPEN = [LIST.TCP, LIST.UDP, LIST.TCP_YOUNG, LIST.UDP_YOUNG] as const

/** Flows looked at for one answer at most, so that a listing never stalls the packet path. */
const MAX_SCAN = 200_000

const SHOWN_FIRST = [
  LIST.TCP,
  LIST.UDP,
  LIST.TCP_YOUNG,
  LIST.UDP_YOUNG,
  LIST.CLOSING_PLUMBED,
  LIST.CLOSING,
  LIST.EMBRYONIC,
] as const

/** The forwarder's flows that match, oldest first within each state, up to `query.limit`. */
export const flowRows = (
  engine: Engine,
  query: Query,
  nowMs: number,
): { total: number; flows: FlowRow[] } => {
  const rows: FlowRow[] = []
  if (engine.forwarder === null) return { total: 0, flows: rows }
  const { flows } = engine.forwarder
  const { table } = flows
  let scanned = 0
  for (const list of SHOWN_FIRST) {
    for (
      let slot = table.oldest(list);
      slot >= 0 && rows.length < query.limit && scanned < MAX_SCAN;
      slot = table.newer(slot)
    ) {
      scanned++
      if (query.service !== undefined && flows.service[slot] !== query.service) continue
      if (query.host !== undefined && flows.host[slot] !== query.host) continue
      const at = slot * 10
      const ports = table.keys[at + 8]
      const client = formatEndpoint(table.keys, at, ports >>> 16)
      if (query.client !== undefined && !client.replace('[', '').startsWith(query.client.replace('[', '')))
        continue
      rows.push({
        protocol: table.keys[at + 9],
        client,
        vip: formatEndpoint(table.keys, at + 4, ports & 0xffff),
        host: flows.host[slot],
        identifier: flows.identifier[slot],
        state: STATES[list],
        plumbed: flows.plumbedUntilMs[slot] > nowMs,
        origin: ORIGIN_NAMES[flows.origin[slot]],
        slowPackets: flows.slowPackets[slot],
        idleMs: Math.round(nowMs - table.lastUse[slot]),
      })
    }
  }
  return { total: table.size, flows: rows }
}

/** Of the arrays of a table, and of the tables that it is made of. */
const bytesOf = (table: object | null | undefined): number => {
  let bytes = 0
  for (const value of Object.values(table ?? {})) {
    if (ArrayBuffer.isView(value)) bytes += value.byteLength
    else if (value instanceof SlotTable) bytes += value.bytes
  }
  return table instanceof SlotTable ? table.bytes : bytes
}

/** Tables, counters and drops of all roles. Counter names are `<role>_<what>`. */
export const workerStatus = (
  engine: Engine,
  extra: Record<string, number>,
): Omit<WorkerStatus, 'edge' | 'xdp' | 'adopted'> => {
  const { forwarder, host, classifier, identifiers, resolving } = engine
  const counters: Record<string, number> = {
    ...extra,
    ...engine.allotment.counters,
    ...engine.affinity.counters,
    ...engine.clients.counters,
  }
  const add = (role: string, values: object | undefined): void => {
    for (const [name, value] of Object.entries(values ?? {}))
      counters[`${role}_${snake(name)}`] = value as number
  }
  add('forwarder', forwarder?.counters)
  add('forwarder', forwarder?.midFlow.counters)
  add('forwarder', forwarder?.atoms.counters)
  add('forwarder', forwarder?.doubts.counters)
  add('forwarder', resolving?.resolution.counters)
  Object.assign(counters, forwarder?.kernel.counters)
  add('classifier', classifier?.counters)
  add('host', host?.counters)
  add('host', host?.unknownCounters)
  add('icmp', engine.icmp.counters)
  counters.active_flows =
    (forwarder === null ? 0 : OPEN.reduce((sum, list) => sum + forwarder.flows.table.length(list), 0)) +
    (host === null
      ? 0
      : host.mappings.table.length(MAPPING_LIST.ESTABLISHED) +
        host.mappings.table.length(MAPPING_LIST.COMMITTED))
  const limits: WorkerStatus['limits'][number][] = []
  const limit = (name: string, used: number, capacity: number, evicted: number): void => {
    limits.push({ name, used, capacity, evicted })
  }
  if (engine.affinity.isUsed)
    limit(
      'clients',
      engine.affinity.size,
      engine.affinity.capacity,
      engine.affinity.counters.affinity_evicted,
    )
  if (forwarder !== null && identifiers !== null) {
    const { flows } = forwarder
    limit('flows', flows.routes, flows.routeCapacity, forwarder.counters.evictedRoutes)
    limit('embryonic', flows.embryonic, flows.embryonicCapacity, forwarder.counters.evictedEmbryonic)
    limit('identifiers', identifiers.inUse, identifiers.capacity, 0)
    limit('quarantine', identifiers.quarantined, identifiers.capacity, 0)
    limit(
      'held by forwarder',
      engine.heldByForwarder.size,
      engine.heldByForwarder.capacity,
      engine.heldByForwarder.refused,
    )
    if (resolving !== null) {
      const { size, capacity, counters } = resolving.resolution
      limit('flows asked about', size, capacity, counters.resolvesRefused)
    }
    counters.forwarder_identifiers_exhausted = identifiers.exhausted
    counters.forwarder_identifiers_not_neutral = identifiers.nonNeutral
  }
  if (host !== null) {
    limit('mappings', host.mappings.table.size, host.mappings.table.capacity, host.counters.evicted)
    limit('held by host', engine.heldByHost.size, engine.heldByHost.capacity, engine.heldByHost.refused)
  }
  if (classifier !== null) {
    limit(
      'sessions',
      classifier.inventory.size,
      classifier.inventory.capacity,
      classifier.counters.inventoryEvicted,
    )
  }
  const { user, system } = process.threadCpuUsage()
  return {
    cpuMs: (user + system) / 1000,
    tableBytes: {
      forwarder: bytesOf(forwarder?.flows) + bytesOf(identifiers),
      classifier: bytesOf(classifier?.inventory) + (classifier?.host.byteLength ?? 0),
      host: bytesOf(host?.mappings),
    },
    epoch: forwarder?.epoch ?? null,
    limits,
    counters,
    drops: Float64Array.from(engine.drops.counts),
    hostFlows: forwarder?.tally.hostFlows ?? [],
    hostConnections: forwarder?.tally.hostConnections ?? [],
    hostPackets: forwarder?.tally.hostPackets ?? [],
    hostBytes: forwarder?.tally.hostBytes ?? [],
    serviceFlows: forwarder?.tally.serviceFlows ?? [],
    serviceSessions: engine.affinity.byService,
    serviceConnections: forwarder?.tally.serviceConnections ?? [],
    hostVips: Object.fromEntries(
      [...(host?.mappings.vips.entries() ?? [])].map(([vip, count]) => [formatAddress(vip, 0), count]),
    ),
  }
}

const snake = (name: string): string => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
