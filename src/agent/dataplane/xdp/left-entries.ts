/** What the kernel's tables hold that an agent before put there, in the words of the agent's own. */
import type { KernelMapping, KernelRoute } from '../adopt.ts'
import type { Mapping } from './mapping-slots.ts'
import { eachMapping } from './mapping-sweep.ts'
import { ageOf } from './route-buckets.ts'
import type { RouteKey } from './route-key.ts'
import { ROUTE_STATE } from './route-layout.ts'
import { eachRoute } from './route-sweep.ts'
import type { RouteTable } from './route-table.ts'
import type { Route } from './route-value.ts'
import type { ServiceNumbers } from './service-numbers.ts'
import { TICK_MS } from './tick.ts'
import type { XdpTables } from './xdp-plumber.ts'

const CLOSING: ReadonlySet<number> = new Set([ROUTE_STATE.FIN, ROUTE_STATE.RESET, ROUTE_STATE.REOPENED])

export interface Now {
  readonly tick: number
  readonly ms: number
}

const usedMs = (stamp: number, { tick, ms }: Now): number => ms - ageOf(stamp, tick) * TICK_MS

/** Offers each route, the longest unused first; what is not wanted is taken out. Answers how many stay. */
export const adoptRoutes = (tables: XdpTables, now: Now, wanted: (route: KernelRoute) => boolean): number => {
  const found: Found[] = []
  for (const table of [tables.routes, tables.routes6])
    for (const { key, route } of eachRoute(table)) {
      const { word, clientHigh, clientLow } = key
      found.push({ table, stored: [word, clientHigh, clientLow], left: read(tables, key, route, now) })
    }
  found.sort((a, b) => (a.left?.usedMs ?? 0) - (b.left?.usedMs ?? 0))
  let stay = 0
  for (const { table, stored, left } of found) {
    if (left !== null && wanted(left)) stay++
    else table.remove(table.newKey().setStored(...stored))
  }
  return stay
}

interface Found {
  readonly table: RouteTable
  /** Its key, as it stands in a bucket. */
  readonly stored: readonly [word: bigint, clientHigh: bigint, clientLow: bigint]
  readonly left: KernelRoute | null
}

/** Null: its service is none of now. */
const read = ({ services }: XdpTables, key: RouteKey, route: Route, now: Now): KernelRoute | null => {
  const words = wordsOf(services, key)
  if (words === null) return null
  const { identifier, state, stamp } = route
  const young = state === ROUTE_STATE.YOUNG
  return { key: words, identifier, closing: CLOSING.has(state), young, usedMs: usedMs(stamp, now) }
}

const wordsOf = (services: ServiceNumbers, key: RouteKey): Uint32Array | null => {
  const service = services.at(key.service)
  if (service === undefined) return null
  const words = new Uint32Array(10)
  key.client(words, 0)
  words.set(service.vip, 4)
  words[8] = (key.port << 16) | service.port
  words[9] = service.protocol
  return words
}

export const clearRoutes = (table: RouteTable): void => {
  for (const { key } of eachRoute(table)) table.remove(key)
}

/** Offers the keys of flows that the kernel has begun by itself (ten words each). */
export const adoptEmbryos = (
  embryos: RouteTable,
  services: ServiceNumbers,
  offer: (key: Uint32Array) => void,
): void => {
  const found: Uint32Array[] = []
  for (const { key, route } of eachRoute(embryos)) {
    // Who held packets of it is gone, and they with it.
    if (route.state === ROUTE_STATE.HELD) embryos.setState(key, ROUTE_STATE.EMBRYONIC)
    const words = wordsOf(services, key)
    if (words !== null) found.push(words)
  }
  found.forEach(offer)
}

/** The same for mappings. */
export const adoptMappings = (
  tables: XdpTables,
  now: Now,
  wanted: (mapping: KernelMapping) => boolean,
): number => {
  const found = [tables.mappings, tables.mappings6].flatMap(table =>
    [...eachMapping(table)].map(mapping => ({ table, mapping })),
  )
  found.sort((a, b) => ageOf(b.mapping.stamp, now.tick) - ageOf(a.mapping.stamp, now.tick))
  let stay = 0
  for (const { table, mapping } of found) {
    const left = readMapping(tables, mapping, now)
    if (left !== null && wanted(left)) stay++
    else table.remove(mapping.tunnel, mapping.identifier)
  }
  return stay
}

/** Null: its service or its tunnel is none of now, or its epoch is over. */
const readMapping = (
  { services, tunnels }: XdpTables,
  { tunnel, generation, identifier, client, port, service: number, stamp }: Mapping,
  now: Now,
): KernelMapping | null => {
  const service = services.at(number)
  const address = tunnels.addressOf(tunnel)
  if (service === undefined || address === undefined || tunnels.generations[tunnel] !== generation)
    return null
  const tuple = new Uint32Array(10)
  tuple.set(client, 0)
  tuple.set(service.vip, 4)
  tuple[8] = (port << 16) | service.port
  tuple[9] = service.protocol
  return { tunnel: address, identifier, tuple, usedMs: usedMs(stamp, now) }
}
