/**
 * A network between named nodes, with everything that networks do: delay, loss, duplication, reordering (by differing delays)
 * and partitions. Two services: `datagram` is as bad as all that; `Links` (links.ts) are kept streams over it.
 */
import type { World } from './world.ts'

export interface Faults {
  minDelayMs: number
  maxDelayMs: number
  /** Probabilities, of datagrams. */
  loss: number
  duplication: number
}

export const CALM: Faults = { minDelayMs: 1, maxDelayMs: 5, loss: 0, duplication: 0 }

export class Network<Message> {
  readonly world: World
  faults: Faults
  readonly #receivers = new Map<string, (from: string, message: Message) => void>()
  /** Which side of the partition a node is on; those that are not named are on side 0. */
  #sides = new Map<string, number>()
  readonly #onChange: (() => void)[] = []

  constructor(world: World, faults: Faults = CALM) {
    this.world = world
    this.faults = faults
  }

  get names(): string[] {
    return [...this.#receivers.keys()]
  }

  /** A node comes up, or takes its place again after a crash. */
  attach(name: string, receive: (from: string, message: Message) => void): void {
    this.#receivers.set(name, receive)
    this.changed()
  }

  /** A node is gone; what is on its way to it is lost. */
  detach(name: string): void {
    this.#receivers.delete(name)
    this.changed()
  }

  /** Nodes of different groups cannot reach each other. */
  partition(...groups: string[][]): void {
    this.#sides = new Map(groups.flatMap((group, side) => group.map(name => [name, side + 1] as const)))
    this.changed()
  }

  heal(): void {
    this.partition()
  }

  reachable(a: string, b: string): boolean {
    return (
      this.#receivers.has(a) &&
      this.#receivers.has(b) &&
      (this.#sides.get(a) ?? 0) === (this.#sides.get(b) ?? 0)
    )
  }

  /** Told when nodes or partitions change. */
  onChange(listener: () => void): void {
    this.#onChange.push(listener)
  }

  changed(): void {
    for (const listener of this.#onChange) listener()
  }

  delayMs(): number {
    const { minDelayMs, maxDelayMs } = this.faults
    return minDelayMs + this.world.random() * (maxDelayMs - minDelayMs)
  }

  datagram(from: string, to: string, message: Message): void {
    if (this.world.chance(this.faults.loss)) return
    for (let copies = this.world.chance(this.faults.duplication) ? 2 : 1; copies > 0; copies--)
      this.world.after(this.delayMs(), () => {
        if (this.reachable(from, to)) this.#receivers.get(to)?.(from, message)
      })
  }
}
