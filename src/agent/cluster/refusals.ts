/** Keeps what a peer sends from filling the event history: of its refused statements one is told a minute, with a count. Pure. */

const EVERY_MS = 60_000
/** Names of peers come from members' own; more than members there can be. */
const MAX_PEERS = 1_024

export class Refusals {
  readonly #peers = new Map<string, { toldMs: number; untold: number }>()

  /** The sentence to tell, or undefined. `nowMs`: monotonic. */
  refused(peer: string, why: string, nowMs: number): string | undefined {
    const known = this.#peers.get(peer)
    if (known !== undefined && nowMs - known.toldMs < EVERY_MS) {
      known.untold++
      return undefined
    }
    this.#peers.delete(peer)
    const [oldest] = this.#peers.keys()
    if (this.#peers.size >= MAX_PEERS && oldest !== undefined) this.#peers.delete(oldest)
    this.#peers.set(peer, { toldMs: nowMs, untold: 0 })
    const untold = known?.untold ?? 0
    const before =
      untold === 0 ? '' : ` (and ${untold} ${untold === 1 ? 'list' : 'lists'} of statements before it)`
    return `a statement from ${peer} was refused${before}: ${why}`
  }
}
