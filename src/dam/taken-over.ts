/**
 * Own atoms that were another member's, and for which neither a host nor a packet has vouched here yet. Own ones give way to nothing, so what others
 * say must not fill the table with them: one member's word is good for a quarter of it, all together for half.
 */
import type { AtomTable } from './atom-table.ts'
import { Origins } from './origins.ts'

export class TakenOver {
  readonly #capacity: number
  /** By slot: who said so, by index and 1; 0: it is sure. */
  readonly #saidBy: Uint16Array
  readonly #members = new Origins()
  /** Slots whose host has to be asked. */
  readonly #unsure = new Set<number>()
  #size = 0

  constructor(capacity: number) {
    this.#capacity = capacity
    this.#saidBy = new Uint16Array(capacity)
  }

  get size(): number {
    return this.#size
  }

  get most(): number {
    return Math.floor(this.#capacity / 2)
  }

  /** Whether there may be one more. */
  get hasRoom(): boolean {
    return this.#size < this.most
  }

  /** Whether there may be one more on this member's word. */
  believes(member: string): boolean {
    return this.hasRoom && this.#members.usesOf({ member, incarnation: 0 }) * 4 < this.#capacity
  }

  /** @param member whose word it is, whatever life of it */
  add(slot: number, member: string): void {
    this.sure(slot)
    const index = this.#members.use({ member, incarnation: 0 })
    if (index < 0) return
    this.#saidBy[slot] = index + 1
    this.#size++
    this.#unsure.add(slot)
  }

  /** Somebody has vouched for it, or it is this member's no more. */
  sure(slot: number): void {
    if (this.#saidBy[slot] === 0) return
    this.#members.release(this.#saidBy[slot] - 1)
    this.#saidBy[slot] = 0
    this.#size--
    this.#unsure.delete(slot)
  }

  /** Keys whose host has not been asked for yet; each is given once. */
  unsure(table: AtomTable, most: number): Uint32Array[] {
    const found: Uint32Array[] = []
    for (const slot of this.#unsure) {
      if (found.length >= most) break
      this.#unsure.delete(slot)
      found.push(table.key(slot))
    }
    return found
  }
}
