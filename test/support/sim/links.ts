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

const keyOf = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`)

export class Links<Message> {
  readonly #network: Carrier
  readonly #reconnectMs: number
  readonly #ends = new Map<string, LinkEnd<Message>>()
  readonly #links = new Map<string, Link>()
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
    return [...this.#links.values()].flatMap(({ a, b }) => (a === name ? [b] : b === name ? [a] : []))
  }

  isUp(a: string, b: string): boolean {
    return this.#links.has(keyOf(a, b))
  }

  send(from: string, to: string, message: Message): void {
    const link = this.#links.get(keyOf(from, to))
    if (link === undefined) return
    const { world } = this.#network
    const atMs = Math.max(world.nowMs + this.#network.delayMs(), link.arrivals.get(to) ?? 0)
    link.arrivals.set(to, atMs)
    world.after(atMs - world.nowMs, () => {
      if (this.#links.get(keyOf(from, to)) === link) this.#ends.get(to)?.receive(from, message)
    })
  }

  /** Breaks a link once; it comes up again if both still want it. */
  cut(a: string, b: string): void {
    const link = this.#links.get(keyOf(a, b))
    if (link !== undefined) this.#close(link)
    this.#later()
  }

  /** Closes what is no longer wanted or possible, at once; opens what is wanted, a little later. */
  check(): void {
    for (const link of [...this.#links.values()]) if (!this.#possible(link.a, link.b)) this.#close(link)
    this.#later()
  }

  #possible(a: string, b: string): boolean {
    return (
      this.#network.reachable(a, b) &&
      this.#ends.get(a)?.wants(b) === true &&
      this.#ends.get(b)?.wants(a) === true
    )
  }

  #close(link: Link): void {
    if (!this.#links.delete(keyOf(link.a, link.b))) return
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
        this.#links.set(keyOf(a, b), { a, b, arrivals: new Map() })
        this.#ends.get(a)?.up(b)
        this.#ends.get(b)?.up(a)
      }
  }
}
