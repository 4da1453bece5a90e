/** Whom a forwarder that leaves has asked to take what it holds. Pure. */
export class Asked {
  readonly #waitMs: number
  readonly #asked = new Map<string, { readonly names: Set<string>; endMs: number }>()

  /** @param waitMs for each that is asked */
  constructor(waitMs: number) {
    this.#waitMs = waitMs
  }

  ask(vip: string, name: string, nowMs: number): void {
    const asked = this.#asked.get(vip) ?? { names: new Set(), endMs: 0 }
    asked.names.add(name)
    asked.endMs = nowMs + this.#waitMs
    this.#asked.set(vip, asked)
  }

  of(vip: string): ReadonlySet<string> {
    return this.#asked.get(vip)?.names ?? new Set()
  }

  /** Until when the last one is waited for. */
  endMs(vip: string): number {
    return this.#asked.get(vip)?.endMs ?? Number.POSITIVE_INFINITY
  }

  awaits(vip: string, nowMs: number): boolean {
    return nowMs < (this.#asked.get(vip)?.endMs ?? 0)
  }
}
