/** Owners of atoms by a small number, so that a table of a million atoms need not name each one's. */
import type { Origin } from './types.ts'

const MOST = 0xffff

export class Origins {
  readonly #byIndex: (Origin | undefined)[] = []
  readonly #indexes = new Map<string, number>()
  readonly #uses: number[] = []
  readonly #free: number[] = []

  get(index: number): Origin {
    const origin = this.#byIndex[index]
    if (origin === undefined) throw new RangeError(`there is no origin ${index}`)
    return origin
  }

  /** Of an origin that something is of; -1: nothing is. */
  indexOf(origin: Origin): number {
    return this.#indexes.get(nameOf(origin)) ?? -1
  }

  /** How many things are of an origin. */
  usesOf(origin: Origin): number {
    const index = this.indexOf(origin)
    return index < 0 ? 0 : this.#uses[index]
  }

  /** Counts one use more; each needs its `release`. -1: there are too many. @param most a new one is refused beyond so many in all */
  use(origin: Origin, most = MOST): number {
    const name = nameOf(origin)
    let index = this.#indexes.get(name)
    if (index === undefined) {
      if (this.#indexes.size >= most) return -1
      index = this.#free.pop() ?? this.#byIndex.length
      this.#byIndex[index] = { member: origin.member, incarnation: origin.incarnation }
      this.#indexes.set(name, index)
      this.#uses[index] = 0
    }
    this.#uses[index]++
    return index
  }

  release(index: number): void {
    const origin = this.get(index)
    if (--this.#uses[index] > 0) return
    this.#indexes.delete(nameOf(origin))
    this.#byIndex[index] = undefined
    this.#free.push(index)
  }

  /** Those that something is of. */
  *known(): Generator<{ readonly index: number; readonly origin: Origin }> {
    for (const [index, origin] of this.#byIndex.entries()) if (origin !== undefined) yield { index, origin }
  }
}

const nameOf = ({ member, incarnation }: Origin): string => `${incarnation} ${member}`
