/** VIPs that nobody holds any more, as far as one forwarder knows, why, and since when. Pure. */
import type { Holdings } from './holdings.ts'
import type { Members } from './members.ts'

/** Its holder said so, or is no forwarder any more; its machine is dead; its agent has been silent for long enough. */
export type Why = 'nobody' | 'dead' | 'silent'

export class Orphans {
  readonly #self: string
  readonly #own: Holdings
  readonly #members: Members
  /** For how long others wait for a silent agent. */
  readonly #patienceMs: (vip: string) => number
  readonly #sinceMs = new Map<string, number>()

  constructor(self: string, own: Holdings, members: Members, patienceMs: (vip: string) => number) {
    this.#self = self
    this.#own = own
    this.#members = members
    this.#patienceMs = patienceMs
  }

  get size(): number {
    return this.#sinceMs.size
  }

  has(vip: string): boolean {
    return this.#sinceMs.has(vip)
  }

  sinceMs(vip: string): number {
    return this.#sinceMs.get(vip)!
  }

  /** Forgets all other VIPs. */
  keep(vips: ReadonlySet<string>): void {
    for (const vip of this.#sinceMs.keys()) if (!vips.has(vip)) this.#sinceMs.delete(vip)
  }

  /** Those of now; `nextMs`: when to look again. */
  look(vips: readonly string[], nowMs: number): { why: Map<string, Why>; nextMs: number } {
    const why = new Map<string, Why>()
    let nextMs = Number.POSITIVE_INFINITY
    for (const vip of vips) {
      const orphan = this.#why(vip, nowMs)
      if (typeof orphan === 'number') {
        this.#sinceMs.delete(vip)
        nextMs = Math.min(nextMs, orphan)
      } else {
        why.set(vip, orphan)
        if (!this.#sinceMs.has(vip)) this.#sinceMs.set(vip, nowMs)
      }
    }
    return { why, nextMs }
  }

  /** Or when to ask again. */
  #why(vip: string, nowMs: number): Why | number {
    const holder = this.#own.claims.of(vip)?.holder ?? ''
    if (holder === this.#self) return this.#own.held.has(vip) ? Number.POSITIVE_INFINITY : 'nobody'
    const member = this.#members.get(holder)
    return member === undefined ? 'nobody' : this.#members.gone(member, this.#patienceMs(vip), nowMs)
  }
}
