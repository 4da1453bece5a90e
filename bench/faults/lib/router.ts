/**
 * The router of a balancer that is reached by equal-cost routes. It does what routers do with BFD: a next hop that does not answer for
 * 300 ms is taken out, and put back when it answers again; and what their operators or a routing daemon do: next hops are withdrawn and announced.
 */
import type { Lab } from '../../../src/lab/lab.ts'
import { Lines } from './lines.ts'
import { inside } from './topology.ts'

export class Router {
  readonly #lab: Lab
  readonly #vip: string
  readonly #hops: readonly string[]
  readonly #withdrawn = new Set<string>()
  readonly #down = new Set<string>()
  readonly #watch: Lines
  #change: Promise<void> = Promise.resolve()
  #set: string
  #seed = 1

  constructor(lab: Lab, vip: string, hops: readonly string[], program: string) {
    this.#lab = lab
    this.#vip = vip
    this.#hops = hops
    this.#set = hops.join()
    this.#watch = new Lines(lab.spawn('router', [program, 'watch', ...hops]))
    void this.#follow()
  }

  async #follow(): Promise<void> {
    try {
      for (;;) {
        const { down, up } = await this.#watch.next<{ down?: string; up?: string }>()
        if (down !== undefined) this.#down.add(down)
        if (up !== undefined) this.#down.delete(up)
        await this.#apply()
      }
    } catch {
      // The lab has ended.
    }
  }

  /** Routes to all that are there; to all that were announced if none is. */
  #apply(): Promise<void> {
    this.#change = this.#change.then(async () => {
      const announced = this.#hops.filter(hop => !this.#withdrawn.has(hop))
      const alive = announced.filter(hop => !this.#down.has(hop))
      const hops = alive.length > 0 ? alive : announced
      if (hops.join() === this.#set || hops.length === 0) return
      await this.#lab.setForwarders(this.#vip, hops)
      this.#set = hops.join()
    })
    return this.#change
  }

  withdraw(hop: string): Promise<void> {
    this.#withdrawn.add(hop)
    return this.#apply()
  }
  announce(hop: string): Promise<void> {
    this.#withdrawn.delete(hop)
    return this.#apply()
  }

  /** Whether it uses all of them. */
  get isWhole(): boolean {
    return this.#set === this.#hops.join()
  }

  /** Other next hops for many of the running connections. */
  async reseed(): Promise<void> {
    this.#seed = this.#seed * 7919 + 12_345
    const seed = this.#seed % 0x7fffffff
    await inside(this.#lab.netns('router'), ['sysctl', '-qw', `net.ipv4.fib_multipath_hash_seed=${seed}`])
  }
}
