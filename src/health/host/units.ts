/** The load balancing units that may use this host's rows. */
import type { Hold } from './hold.ts'

export class Units {
  readonly #own: string
  readonly #hold: Hold
  #members: ReadonlySet<string> | null = null
  /** Units that are no members any more, until their leases must have run out. */
  readonly #former = new Map<string, number>()
  readonly #linked = new Set<string>()

  /** Until then others than members, that are not known here, may use rows of this host: units of its last run, not told yet that they are none. */
  readonly strangersUntilMs: number

  constructor(own: string, hold: Hold, strangersUntilMs: number) {
    this.#own = own
    this.#hold = hold
    this.strangersUntilMs = strangersUntilMs
  }

  /** Until the membership has been told nobody can say who holds what. */
  get isKnown(): boolean {
    return this.#members !== null
  }

  /** True when one is a member no more. */
  setMembers(units: readonly string[], nowMs: number): boolean {
    const members = new Set(units)
    const gone = [...(this.#members ?? [])].filter(unit => !members.has(unit))
    for (const unit of gone) this.#former.set(unit, this.#hold.untilMs(nowMs))
    for (const unit of members) this.#former.delete(unit)
    this.#members = members
    return gone.length > 0
  }

  setLink(unit: string, isUp: boolean): void {
    if (isUp) this.#linked.add(unit)
    else this.#linked.delete(unit)
  }

  isMember(unit: string): boolean {
    return this.#members?.has(unit) ?? false
  }

  isLinked(unit: string): boolean {
    return this.isMember(unit) && (unit === this.#own || this.#linked.has(unit))
  }

  /** Members that messages reach. */
  linked(): string[] {
    return [...(this.#members ?? [])].filter(unit => this.isLinked(unit))
  }

  /** All that may be using rows of this host: members, and those that were until a lease ago. */
  users(nowMs: number): string[] {
    for (const [unit, untilMs] of this.#former) if (untilMs <= nowMs) this.#former.delete(unit)
    return [...(this.#members ?? []), ...this.#former.keys()]
  }
}
