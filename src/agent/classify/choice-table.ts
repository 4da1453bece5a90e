import { CHOICES, reluctance } from './rendezvous.ts'

/** A host that a service's new flows may go to. */
export interface ChoiceHost {
  /** 1..255 */
  readonly index: number
  /** Stable over the cluster. */
  readonly hash: number
  /** Above 0. */
  readonly weight: number
}

/**
 * The rendezvous' answer for every part at once: a table that the kernel's programs look up. What a host's hash gives is kept, because weights
 * change often and hosts do not; a table is then some multiplications a part and host. Pure.
 */
export class ChoiceTables {
  readonly #k0: number
  readonly #k1: number
  readonly #known = new Map<number, Float64Array>()

  /** `k0`, `k1`: see Rendezvous. */
  constructor(k0: number, k1: number) {
    this.#k0 = k0
    this.#k1 = k1
  }

  /** Fills `out` (CHOICES bytes) with hosts' indexes; 0 everywhere when there are none. Hosts in the order in which a Rendezvous is offered them. */
  fill(hosts: readonly ChoiceHost[], out: Uint8Array): void {
    const best = new Float64Array(CHOICES).fill(Number.POSITIVE_INFINITY)
    const chosen = new Uint8Array(CHOICES)
    for (const { index, hash, weight } of hosts) {
      const scores = this.#scoresOf(hash)
      for (let part = 0; part < CHOICES; part++) {
        const score = scores[part] / weight
        if (score >= best[part]) continue
        best[part] = score
        chosen[part] = index
      }
    }
    // A part is never nobody's in between.
    out.set(chosen)
  }

  #scoresOf(hash: number): Float64Array {
    let scores = this.#known.get(hash)
    if (scores === undefined) {
      scores = Float64Array.from({ length: CHOICES }, (_, part) => reluctance(this.#k0, this.#k1, part, hash))
      this.#known.set(hash, scores)
    }
    return scores
  }

  /** Forgets the hosts that are not among these. */
  keep(hashes: ReadonlySet<number>): void {
    for (const hash of this.#known.keys()) if (!hashes.has(hash)) this.#known.delete(hash)
  }
}
