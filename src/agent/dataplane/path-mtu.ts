/** How long an answer is used again: a change of routes is followed as soon as those of the rules are. */
const LIFE_MS = 1000
/** More hosts than there can be, with addresses that they had. */
const CAPACITY = 1024

/**
 * The MTU of the ways to hosts, as the kernel knows them: of their link, a route's own, or what a router said of it. Asked for only about
 * packets that might be too large, and at most once a second for each address.
 */
export class PathMtu {
  readonly #ask: (ipv4: number) => number
  readonly #known = new Map<number, { readonly mtuBytes: number; readonly untilMs: number }>()

  /** @param ask bytes; throws when there is no way */
  constructor(ask: (ipv4: number) => number) {
    this.#ask = ask
  }

  /** In bytes; `otherwise` when there is no way, so that sending says why. */
  to(ipv4: number, otherwise: number, nowMs: number): number {
    const known = this.#known.get(ipv4)
    if (known !== undefined && known.untilMs > nowMs) return known.mtuBytes
    let mtuBytes = otherwise
    try {
      mtuBytes = this.#ask(ipv4)
    } catch {
      // Sending fails too, and is counted.
    }
    if (this.#known.size >= CAPACITY) this.#known.clear()
    this.#known.set(ipv4, { mtuBytes, untilMs: nowMs + LIFE_MS })
    return mtuBytes
  }
}
