/**
 * Kept links over a network: in order and without loss while they are up. A link goes down at both ends when the network
 * between them breaks or an end closes it, and what was on its way is lost; it comes up again after a while.
 */
import type { Network } from './network.ts'

/** What links need of a network, whatever its datagrams carry. */
type Carrier = Pick<Network<unknown>, 'world' | 'reachable' | 'delayMs' | 'onChange'>

export interface LinkEnd<Message> {
  /** Whether this node wants a link to that one now; a link needs both. */
  wants(peer: string): boolean
  up(peer: string): void
  down(peer: string): void
  receive(peer: string, message: Message): void
}

interface Link {
  a: string
  b: string
  /** Messages arrive in order: none before the one sent earlier, in each direction. */
  arrivals: Map<string, number>
}

export class Links<Message> {
  readonly #network: Carrier
  readonly #reconnectMs: number
  readonly #ends = new Map<string, LinkEnd<Message>>()
  readonly #links = new Set<Link>()
  /** By the one end, then by the other. */
  readonly #byEnds = new Map<string, Map<string, Link>>()
  #checking = false

  constructor(network: Carrier, reconnectMs = 100) {
    this.#network = network
    this.#reconnectMs = reconnectMs
    network.onChange(() => this.check())
  }

  attach(name: string, end: LinkEnd<Message>): void {
    this.#ends.set(name, end)
    this.check()
  }

  /** The node is gone without a word; its peers see their links go down. */
  detach(name: string): void {
    this.#ends.delete(name)
    this.check()
  }

  peers(name: string): string[] {
    return [...(this.#byEnds.get(name)?.keys() ?? [])]
  }

  isUp(a: string, b: string): boolean {
    return this.#between(a, b) !== undefined
  }

  send(from: string, to: string, message: Message): void {
    const link = this.#between(from, to)
    if (link === undefined) return
    const { world } = this.#network
    const atMs = Math.max(world.nowMs + this.#network.delayMs(), link.arrivals.get(to) ?? 0)
    link.arrivals.set(to, atMs)
    world.after(atMs - world.nowMs, () => {
      if (this.#links.has(link)) this.#ends.get(to)?.receive(from, message)
    })
  }

  /** Breaks a link once; it comes up again if both still want it. */
  cut(a: string, b: string): void {
    const link = this.#between(a, b)
    if (link !== undefined) this.#close(link)
    this.#later()
  }

  /** Closes what is no longer wanted or possible, at once; opens what is wanted, a little later. */
  check(): void {
    for (const link of [...this.#links]) if (!this.#possible(link.a, link.b)) this.#close(link)
    this.#later()
  }

  #possible(a: string, b: string): boolean {
    return (
      this.#network.reachable(a, b) &&
      this.#ends.get(a)?.wants(b) === true &&
      this.#ends.get(b)?.wants(a) === true
    )
  }

  #between(a: string, b: string): Link | undefined {
    return this.#byEnds.get(a)?.get(b)
  }

  #endsOf(name: string): Map<string, Link> {
    const ends = this.#byEnds.get(name) ?? new Map<string, Link>()
    this.#byEnds.set(name, ends)
    return ends
  }

  #close(link: Link): void {
    if (!this.#links.delete(link)) return
    this.#byEnds.get(link.a)?.delete(link.b)
    this.#byEnds.get(link.b)?.delete(link.a)
    this.#ends.get(link.a)?.down(link.b)
    this.#ends.get(link.b)?.down(link.a)
  }

  #later(): void {
    if (this.#checking) return
    this.#checking = true
    this.#network.world.after(this.#reconnectMs * (0.5 + this.#network.world.random()), () => {
      this.#checking = false
      this.#open()
    })
  }

  #open(): void {
    const names = [...this.#ends.keys()]
    for (const [i, a] of names.entries())
      for (const b of names.slice(i + 1)) {
        if (this.isUp(a, b) || !this.#possible(a, b)) continue
        const link = { a, b, arrivals: new Map() }
        this.#links.add(link)
        this.#endsOf(a).set(b, link)
        this.#endsOf(b).set(a, link)
        this.#ends.get(a)?.up(b)
        this.#ends.get(b)?.up(a)
      }
  }
}
