import type { DirectoryIndex, ServiceEntry } from '../dataplane/directory.ts'
import { halfSipHash13 } from '../dataplane/half-siphash.ts'

/**
 * What a classifier asks for a host (R-B10). Today's allotment is the configured capacity of the live
 * hosts; the health and load handler will stand behind the same interface.
 */
export interface Allotment {
  /** Host index for a flow key (ten words at `at`), or 0 when no host may take it. */
  choose(service: ServiceEntry, key: Uint32Array, at: number): number
}

const scratch = new Uint32Array(2)

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by -ln(u)/w). The choice depends on
 * the flow, the live hosts and their capacities alone, so every classifier, and every later moment with
 * the same hosts, gives a flow the same host (decision 6), and a host that goes moves only its own flows.
 * Costs one hash and one logarithm a host.
 */
export class CapacityAllotment implements Allotment {
  readonly #directory: DirectoryIndex
  readonly #k0: number
  readonly #k1: number

  /** `k0`, `k1`: 32-bit halves of a hash key that all nodes of a cluster share. */
  constructor(directory: DirectoryIndex, k0: number, k1: number) {
    this.#directory = directory
    this.#k0 = k0
    this.#k1 = k1
  }

  choose(service: ServiceEntry, key: Uint32Array, at: number): number {
    scratch[0] = halfSipHash13(this.#k0, this.#k1, key, at, 10)
    let best = 0
    let bestScore = Number.POSITIVE_INFINITY
    for (const member of service.hosts) {
      if (member.capacity === 0) continue
      const host = this.#directory.host(member.index)
      if (host === undefined || !host.live || host.draining) continue
      scratch[1] = host.hash
      const u = (halfSipHash13(this.#k0, this.#k1, scratch, 0, 2) + 0.5) / 4294967296
      const score = -Math.log(u) / member.capacity
      if (score < bestScore) {
        bestScore = score
        best = member.index
      }
    }
    return best
  }
}
