/** The worker's end of the probes of machines: the main thread says whom to probe, and is told of what changes. */
import type { ProbeTarget } from '../../health/node-probe.ts'
import type { PostToMain } from './messages.ts'
import { Prober } from './prober.ts'

export class ProbeDesk {
  readonly #post: PostToMain
  #prober: Prober | null = null

  constructor(post: PostToMain) {
    this.#post = post
  }

  /** Null until there is something to probe. */
  get fd(): number | null {
    return this.#prober?.fd ?? null
  }

  /** True: it has a descriptor from now on. Probes leave from `ownAddress`. Throws OsError as Prober.open. */
  take(targets: readonly ProbeTarget[], ownAddress: string, nowMs: number): boolean {
    const isFirst = this.#prober === null
    if (isFirst && targets.length === 0) return false
    this.#prober ??= Prober.open(ownAddress)
    this.#prober.setTargets(targets, nowMs)
    return isFirst
  }

  /** Each turn; `readable`: replies wait. */
  turn(nowMs: number, readable: boolean): void {
    const states = this.#prober?.turn(nowMs, readable) ?? null
    if (states !== null) this.#post({ type: 'nodes', states })
  }

  /** Milliseconds until it wants its turn. */
  waitMs(nowMs: number): number {
    return this.#prober?.waitMs(nowMs) ?? Number.POSITIVE_INFINITY
  }

  close(): void {
    this.#prober?.close()
  }
}
