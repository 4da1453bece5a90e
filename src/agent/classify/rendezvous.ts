import { halfSipHash13 } from '../dataplane/half-siphash.ts'

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by -ln(u)/w). The choice depends on the flow, the
 * hosts and their weights alone, so every classifier, and every later moment with the same hosts, gives a flow the same host
 * (decision 6), and a host that goes moves only its own flows. Costs one hash and one logarithm a host.
 */
export class Rendezvous {
  readonly #k0: number
  readonly #k1: number
  readonly #words = new Uint32Array(2)
  #best = 0
  #bestScore = Number.POSITIVE_INFINITY

  /** `k0`, `k1`: 32-bit halves of a hash key that all nodes of a cluster share. */
  constructor(k0: number, k1: number) {
    this.#k0 = k0
    this.#k1 = k1
  }

  /** For a flow key (ten words at `at`); then `offer` each host, and take `best`. */
  begin(key: Uint32Array, at: number): void {
    this.#words[0] = halfSipHash13(this.#k0, this.#k1, key, at, 10)
    this.#best = 0
    this.#bestScore = Number.POSITIVE_INFINITY
  }

  /** `hash`: stable over the cluster; `weight`: above 0. */
  offer(index: number, hash: number, weight: number): void {
    this.#words[1] = hash
    const u = (halfSipHash13(this.#k0, this.#k1, this.#words, 0, 2) + 0.5) / 4294967296
    const score = -Math.log(u) / weight
    if (score >= this.#bestScore) return
    this.#bestScore = score
    this.#best = index
  }

  /** Index of the chosen host; 0 when none was offered. */
  get best(): number {
    return this.#best
  }
}
