import type { KernelLooks } from '../trace.ts'
import { ageOf } from './route-buckets.ts'
import type { RouteKey } from './route-key.ts'
import { hostOf } from './route-value.ts'
import { TICK_MS } from './tick.ts'
import type { XdpTables } from './xdp-plumber.ts'

/** Looks into the tables of the kernel's programs; stamps stay as they are. @param keyOf null: there is no place for such a flow */
export const kernelLooks = (
  { routes, mappings, tunnels }: XdpTables,
  tick: () => number,
  keyOf: (key: Uint32Array) => RouteKey | null,
): KernelLooks => ({
  route: words => {
    const key = keyOf(words)
    const route = key === null ? null : routes.get(key)
    if (route === null) return null
    const { identifier, state, mapped, stamp } = route
    const host = hostOf(route)
    return {
      ...{ by: 'xdp', host, state, mapped },
      // That byte alone: the own host.
      identifier: identifier === host * 2 ** 24 ? 0 : identifier,
      idleMs: Math.max(0, Math.round(ageOf(stamp, tick()) * TICK_MS)),
    }
  },
  mapping: (tunnel, identifier) => {
    const index = tunnels.indexOf(tunnel)
    if (index === 0) return false
    return mappings.get({ tunnel: index, generation: tunnels.generations[index], identifier }) !== null
  },
})
