/**
 * VIPs on the uplinks of their holder: the kernel answers ARP and neighbour discovery for them, also without an agent, until the lease ends.
 * Packets to a VIP never get into the stack by that: what is no service's is dropped before (decision 1).
 */
import type { Logger } from 'pino'
import { errorText } from '../../errors.ts'
import { sendFrames } from '../../os/frame-sender.ts'
import { addresses, deleteAddress, type Link, leaseAddress, links } from '../../os/netlink/route.ts'
import { announcement } from './neighbour-frames.ts'

/** After a VIP was taken (ms): a frame may be lost, and a switch busy with a port that has just gone. */
const REPEATS_MS = [0, 100, 300, 1000, 3000, 10_000]
/** And ever after: for who has missed all of it. */
const RARELY_MS = 60_000

export const cidrOf = (vip: string): string => `${vip}/${vip.includes(':') ? 128 : 32}`

export class VipAddresses {
  readonly #log: Logger
  #uplinks: readonly string[]
  /** By VIP, the next announcement. */
  readonly #timers = new Map<string, NodeJS.Timeout>()

  constructor(uplinks: readonly string[], log: Logger) {
    this.#uplinks = uplinks
    this.#log = log
  }

  follow(uplinks: readonly string[]): void {
    this.#uplinks = uplinks
  }

  /** Those of them that an uplink has, and for how long (ms) at least. */
  present(vips: readonly string[]): Map<string, number> {
    const indexes = new Set(this.#links().map(({ index }) => index))
    const present = new Map<string, number>()
    // The kernel rounds up.
    for (const { interfaceIndex, address, validS } of addresses())
      if (indexes.has(interfaceIndex) && vips.includes(address))
        present.set(address, Math.min((validS - 1) * 1000, present.get(address) ?? Number.POSITIVE_INFINITY))
    return present
  }

  hold(vip: string, leaseMs: number): void {
    this.renew([vip], leaseMs)
    this.#announce(vip, 0)
  }

  renew(vips: readonly string[], leaseMs: number): void {
    const seconds = Math.ceil(leaseMs / 1000)
    for (const { index, name } of this.#links())
      for (const vip of vips)
        this.#attempt(`${vip} cannot be held on ${name}`, () => leaseAddress(index, cidrOf(vip), seconds))
  }

  release(vip: string): void {
    clearTimeout(this.#timers.get(vip))
    this.#timers.delete(vip)
    for (const { index, name } of this.#links())
      this.#attempt(`${vip} cannot be taken off ${name}`, () => deleteAddress(index, cidrOf(vip)))
  }

  /** Addresses stay. */
  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }

  #announce(vip: string, turn: number): void {
    clearTimeout(this.#timers.get(vip))
    for (const { index, mac, name } of this.#links())
      if (mac !== null)
        this.#attempt(`${vip} cannot be announced on ${name}`, () =>
          sendFrames(index, [announcement(vip, Buffer.from(mac.replaceAll(':', ''), 'hex'))]),
        )
    const nextMs = turn + 1 < REPEATS_MS.length ? REPEATS_MS[turn + 1]! - REPEATS_MS[turn]! : RARELY_MS
    const timer = setTimeout(() => this.#announce(vip, turn + 1), nextMs)
    timer.unref()
    this.#timers.set(vip, timer)
  }

  #links(): Link[] {
    return links().filter(({ name }) => this.#uplinks.includes(name))
  }

  #attempt(what: string, step: () => unknown): void {
    try {
      step()
    } catch (error) {
      this.#log.error({ error: errorText(error) }, what)
    }
  }
}
