import { halfSipHash13 } from '../dataplane/half-siphash.ts'

/** Parts that the flows of a service fall into; of bpf/class-maps.h too. */
export const CHOICES = 16_384
const CHOICE_SHIFT = 18

/** The part of a flow, by its key (ten words at `at`). `k0`, `k1`: see Rendezvous. */
export const choiceOf = (k0: number, k1: number, key: Uint32Array, at: number): number =>
  halfSipHash13(k0, k1, key, at, 10) >>> CHOICE_SHIFT

const words = new Uint32Array(2)

/** How little the host suits a part, before its weight: the smallest of a part gets it. `hash`: the host's, stable over the cluster. */
export const reluctance = (k0: number, k1: number, part: number, hash: number): number => {
  words[0] = part
  words[1] = hash
  return -Math.log((halfSipHash13(k0, k1, words, 0, 2) + 0.5) / 4294967296)
}

/**
 * Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by -ln(u)/w) of the parts that flows fall into. The choice depends on
 * the flow, the hosts and their weights alone, so every classifier, the kernel's programs among them (choice-table.ts), and every later moment
 * with the same hosts, gives a flow the same host (decision 9), and a host that goes moves only its own flows. Costs one hash and one logarithm
 * a host.
 */
export class Rendezvous {
  readonly #k0: number
  readonly #k1: number
  #part = 0
  #best = 0
  #bestScore = Number.POSITIVE_INFINITY

  /** `k0`, `k1`: 32-bit halves of a hash key that all nodes of a cluster share. */
  constructor(k0: number, k1: number) {
    this.#k0 = k0
    this.#k1 = k1
  }

  /** For a flow key (ten words at `at`); then `offer` each host, and take `best`. */
  begin(key: Uint32Array, at: number): void {
    this.#part = choiceOf(this.#k0, this.#k1, key, at)
    this.#best = 0
    this.#bestScore = Number.POSITIVE_INFINITY
  }

  /** `hash`: stable over the cluster; `weight`: above 0. */
  offer(index: number, hash: number, weight: number): void {
    const score = reluctance(this.#k0, this.#k1, this.#part, hash) / weight
    if (score >= this.#bestScore) return
    this.#bestScore = score
    this.#best = index
  }

  /** Index of the chosen host; 0 when none was offered. */
  get best(): number {
    return this.#best
  }
}
