import type { DirectoryIndex, ServiceEntry } from '../dataplane/directory.ts'
import type { ChoiceHost } from './choice-table.ts'
import { Rendezvous } from './rendezvous.ts'

/** In the place of a host: it is being found out whether the client has a session, and its packet waits for that. */
export const WAITS = -1

/** What a classifier asks for a host (R-B10). */
export interface Allotment {
  /**
   * Host index for a flow key (ten words at `at`), or 0 when no host may take it; of a service with sessions also WAITS.
   * @param opens false: a packet from the middle of a flow whose host is not known
   */
  choose(service: ServiceEntry, key: Uint32Array, at: number, opens: boolean): number
}

/** As long as nothing is known of health and load: the live hosts by their configured capacity. */
export class CapacityAllotment implements Allotment {
  readonly #directory: DirectoryIndex
  readonly #rendezvous: Rendezvous

  /** `k0`, `k1`: 32-bit halves of a hash key that all nodes of a cluster share. */
  constructor(directory: DirectoryIndex, k0: number, k1: number) {
    this.#directory = directory
    this.#rendezvous = new Rendezvous(k0, k1)
  }

  choose(service: ServiceEntry, key: Uint32Array, at: number): number {
    const rendezvous = this.#rendezvous
    rendezvous.begin(key, at)
    for (const member of service.hosts) {
      const hash = this.#hashOf(member)
      if (hash !== null) rendezvous.offer(member.index, hash, member.capacity)
    }
    return rendezvous.best
  }

  /** Those that it chooses among, in its order. */
  hosts(service: ServiceEntry): ChoiceHost[] {
    return service.hosts.flatMap(member => {
      const hash = this.#hashOf(member)
      return hash === null ? [] : [{ index: member.index, hash, weight: member.capacity }]
    })
  }

  /** Null: nothing new goes there. */
  #hashOf({ index, capacity }: ServiceEntry['hosts'][number]): number | null {
    const host = capacity === 0 ? undefined : this.#directory.host(index)
    return host === undefined || !host.live || host.draining ? null : host.hash
  }
}
