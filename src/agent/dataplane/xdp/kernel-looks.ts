import { isIpv4 } from '../flow-key.ts'
import type { KernelLooks, KernelRoute } from '../trace.ts'
import type { FlowTablesByFamily } from './embryos.ts'
import { ageOf } from './route-buckets.ts'
import type { RouteTable } from './route-table.ts'
import { hostOf } from './route-value.ts'
import { TICK_MS } from './tick.ts'
import type { XdpTables } from './xdp-plumber.ts'

/** Looks into the tables of the kernel's programs; stamps stay as they are. */
export const kernelLooks = (
  tables: XdpTables,
  flows: FlowTablesByFamily,
  tick: () => number,
): KernelLooks => {
  const { mappings, mappings6, tunnels, services } = tables
  const find = (table: RouteTable, words: Uint32Array): KernelRoute | null => {
    const number = services.ofKey(words, 0)
    if (number === 0) return null
    const route = table.get(table.newKey().set(words, 0, words[8] >>> 16, number))
    if (route === null) return null
    const { identifier, state, mapped, stamp } = route
    const host = hostOf(route)
    return {
      ...{ by: 'xdp', host, state, mapped },
      // That byte alone: the own host.
      identifier: identifier === host * 2 ** 24 ? 0 : identifier,
      idleMs: Math.max(0, Math.round(ageOf(stamp, tick()) * TICK_MS)),
    }
  }
  return {
    route: words => {
      const { routes, embryos } = flows[isIpv4(words, 0) ? 4 : 6]
      return find(routes, words) ?? find(embryos, words)
    },
    mapping: (tunnel, identifier, family) => {
      const index = tunnels.indexOf(tunnel)
      if (index === 0) return false
      const key = { tunnel: index, generation: tunnels.generations[index], identifier }
      return (family === 4 ? mappings : mappings6).get(key) !== null
    },
  }
}
