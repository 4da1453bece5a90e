/** What the kernel's tables hold that an agent before put there, in the words of the agent's own. */
import type { KernelMapping, KernelRoute } from '../adopt.ts'
import type { Mapping } from './mapping-slots.ts'
import { eachMapping } from './mapping-sweep.ts'
import { ageOf } from './route-buckets.ts'
import type { RouteKey } from './route-key.ts'
import { ROUTE_STATE } from './route-layout.ts'
import { eachRoute } from './route-sweep.ts'
import type { Route } from './route-value.ts'
import { TICK_MS } from './tick.ts'
import type { XdpTables } from './xdp-plumber.ts'

const CLOSING: ReadonlySet<number> = new Set([ROUTE_STATE.FIN, ROUTE_STATE.RESET, ROUTE_STATE.REOPENED])

export interface Now {
  readonly tick: number
  readonly ms: number
}

const usedMs = (stamp: number, { tick, ms }: Now): number => ms - ageOf(stamp, tick) * TICK_MS

/** Offers each route of IPv4, the longest unused first; what is not wanted is taken out. Answers how many stay. */
export const adoptRoutes = (tables: XdpTables, now: Now, wanted: (route: KernelRoute) => boolean): number => {
  const { routes } = tables
  const found: KernelRoute[] = []
  const places = new Map<KernelRoute, bigint>()
  const drop = routes.newKey()
  const gone: bigint[] = []
  for (const { key, route } of eachRoute(routes)) {
    const left = read(tables, key, route, now)
    if (left === null) gone.push(key.word)
    else {
      found.push(left)
      places.set(left, key.word)
    }
  }
  found.sort((a, b) => a.usedMs - b.usedMs)
  let stay = 0
  for (const left of found) {
    if (wanted(left)) stay++
    else gone.push(places.get(left)!)
  }
  for (const word of gone) routes.remove(drop.setStored(word, 0n, 0n))
  return stay
}

/** Null: its service is none of now. */
const read = ({ services }: XdpTables, key: RouteKey, route: Route, now: Now): KernelRoute | null => {
  const service = services.at(key.service)
  if (service === undefined) return null
  const words = new Uint32Array(10)
  key.client(words, 0)
  words.set([0, 0, 0xffff, service.vipIpv4], 4)
  words[8] = (key.port << 16) | service.port
  words[9] = service.protocol
  const { identifier, state, stamp } = route
  return { key: words, identifier, closing: CLOSING.has(state), usedMs: usedMs(stamp, now) }
}

/** The same for mappings. */
export const adoptMappings = (
  tables: XdpTables,
  now: Now,
  wanted: (mapping: KernelMapping) => boolean,
): number => {
  const found = [...eachMapping(tables.mappings)].sort(
    (a, b) => ageOf(b.stamp, now.tick) - ageOf(a.stamp, now.tick),
  )
  let stay = 0
  for (const mapping of found) {
    const left = readMapping(tables, mapping, now)
    if (left !== null && wanted(left)) stay++
    else tables.mappings.remove(mapping.tunnel, mapping.identifier)
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
  tuple.set([0, 0, 0xffff, service.vipIpv4], 4)
  tuple[8] = (port << 16) | service.port
  tuple[9] = service.protocol
  return { tunnel: address, identifier, tuple, usedMs: usedMs(stamp, now) }
}
