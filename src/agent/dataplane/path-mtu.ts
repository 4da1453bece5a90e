import { AddressMap } from './address-map.ts'

/** How long an answer is used again: a change of routes is followed as soon as those of the rules are. */
const LIFE_MS = 1000
/** More hosts than there can be, with addresses that they had. */
const CAPACITY = 1024

/**
 * The MTU of the ways to hosts, as the kernel knows them: of their link, a route's own, or what a router said of it. Asked for only about
 * packets that might be too large, and at most once a second for each address.
 */
export class PathMtu {
  readonly #ask: (host: Uint32Array) => number
  #known = new AddressMap<{ readonly mtuBytes: number; readonly untilMs: number }>()
  #size = 0

  /** @param ask bytes, for an address of four words; throws when there is no way */
  constructor(ask: (host: Uint32Array) => number) {
    this.#ask = ask
  }

  /** In bytes; `otherwise` when there is no way, so that sending says why. */
  to(host: Uint32Array, otherwise: number, nowMs: number): number {
    const known = this.#known.get(host)
    if (known !== undefined && known.untilMs > nowMs) return known.mtuBytes
    let mtuBytes = otherwise
    try {
      mtuBytes = this.#ask(host)
    } catch {
      // Sending fails too, and is counted.
    }
    if (known === undefined && ++this.#size > CAPACITY) {
      this.#known = new AddressMap()
      this.#size = 1
    }
    this.#known.set(host, 0, { mtuBytes, untilMs: nowMs + LIFE_MS })
    return mtuBytes
  }
}
