/** How many connections of each of its services this host has now: whoever stops an application wants to know that first. */
import type { ServiceConnections } from '../../control/types.ts'
import { type ServedEndpoint, serves } from '../../health/system/listeners.ts'
import { countingOpen } from '../../os/netlink/sock-diag.ts'
import type { Listener } from './listener-look.ts'
import { SLICE_MS } from './slices.ts'

export interface OwnService extends ServedEndpoint {
  readonly service: { readonly name: string }
}

/** It listens for a container, to which the kernel hands over the connections before they come to it. */
const CONTAINER_PROXY = 'docker-proxy'

/** Whether the kernel lists its connections here, with the VIP as their local end; an application that has gone may have left some. */
const endsHere = (endpoint: OwnService, sockets: readonly Listener[]): boolean =>
  endpoint.protocol === 'tcp' &&
  sockets.every(
    socket =>
      serves(socket, endpoint) === null ||
      (socket.namespace === null &&
        socket.owner?.name !== CONTAINER_PROXY &&
        // A translated connection has the VIP for its own address all the same.
        (endpoint.translated === true || serves(socket, endpoint) !== 'physical')),
  )

/** `counting`: connections by local end, a part at each `next`. Null for what the kernel cannot tell; never rejects. */
export const ownConnections = async (
  services: readonly OwnService[],
  sockets: readonly Listener[],
  counting: (ports: ReadonlySet<number>) => Generator<void, ReadonlyMap<string, number>> = countingOpen,
): Promise<ServiceConnections[]> => {
  const here = new Set(services.filter(each => endsHere(each, sockets)))
  const counts = here.size === 0 ? null : await finish(() => counting(new Set([...here].map(s => s.port))))
  return services.map(each => ({
    service: each.service.name,
    protocol: each.protocol,
    connections: counts === null || !here.has(each) ? null : (counts.get(`${each.vip}:${each.port}`) ?? 0),
  }))
}

/** There may be a million: the event loop turns in between. Null when the kernel refuses. */
export const finish = async <T>(begin: () => Generator<void, T>): Promise<T | null> => {
  try {
    const reading = begin()
    for (let sinceMs = performance.now(); ; ) {
      const step = reading.next()
      if (step.done === true) return step.value
      if (performance.now() - sinceMs < SLICE_MS) continue
      await new Promise(resolve => setTimeout(resolve, SLICE_MS))
      sinceMs = performance.now()
    }
  } catch {
    return null
  }
}
