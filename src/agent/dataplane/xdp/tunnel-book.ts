import { MAX_TUNNEL, TUNNEL_GENERATIONS } from './mapping-layout.ts'
import { NO_TUNNEL } from './mapping-sweep.ts'

/**
 * Indexes of forwarders' tunnel addresses (IPv4, host order) in a mapping table. An index that gets another meaning gets another generation,
 * so that mappings of the one before are found no more.
 */
export class TunnelBook {
  /** By index: the generation in force, or NO_TUNNEL. */
  readonly generations = new Uint8Array(MAX_TUNNEL + 1).fill(NO_TUNNEL)
  readonly #last = new Uint8Array(MAX_TUNNEL + 1)
  readonly #indexes = new Map<number, number>()
  readonly #addresses: number[] = []
  readonly #free = Array.from({ length: MAX_TUNNEL }, (_, i) => i + 1)

  /** The tunnel's index, or 0: it has none. */
  indexOf(tunnel: number): number {
    return this.#indexes.get(tunnel) ?? 0
  }

  /** The tunnel address of an index that is in use. */
  addressOf(index: number): number | undefined {
    return this.generations[index] === NO_TUNNEL ? undefined : this.#addresses[index]
  }

  get tunnels(): IterableIterator<number> {
    return this.#indexes.keys()
  }

  /** Gives it an index, the one that is free longest; 0: there is none left. */
  add(tunnel: number): number {
    const index = this.#indexes.get(tunnel) ?? this.#free.shift() ?? 0
    if (index === 0 || this.#indexes.has(tunnel)) return index
    this.#indexes.set(tunnel, index)
    this.#addresses[index] = tunnel
    this.#raise(index)
    return index
  }

  /** An index and generation that an agent before gave; false: it has one, or the index is taken. */
  adopt(tunnel: number, index: number, generation: number): boolean {
    const at = this.#free.indexOf(index)
    if (at < 0 || this.#indexes.has(tunnel)) return false
    this.#free.splice(at, 1)
    this.#indexes.set(tunnel, index)
    this.#addresses[index] = tunnel
    this.#last[index] = generation
    this.generations[index] = generation
    return true
  }

  /** A new generation, so that no mapping is found any more; answers the index, or 0: it has none. */
  renew(tunnel: number): number {
    const index = this.indexOf(tunnel)
    if (index !== 0) this.#raise(index)
    return index
  }

  #raise(index: number): void {
    this.#last[index] = (this.#last[index] + 1) % TUNNEL_GENERATIONS
    this.generations[index] = this.#last[index]
  }

  remove(tunnel: number): void {
    const index = this.#indexes.get(tunnel)
    if (index === undefined) return
    this.#indexes.delete(tunnel)
    this.generations[index] = NO_TUNNEL
    this.#free.push(index)
  }
}
