import type { HostPorts, HostSettings } from './host-ports.ts'
import { MAPPING_LIST, type MappingTable } from './mappings.ts'

/** Half-open mappings that turn out to be in use, passed over at a time. */
const VICTIM_TRIES = 8

/** How mappings end: unused for too long, in the way of a new one, or taken away. In the kernel they end first. Pure. */
export class MappingEnds {
  readonly #mappings: MappingTable
  readonly #ports: Pick<HostPorts, 'usedMs' | 'withdraw'>
  readonly #settings: Pick<HostSettings, 'timeouts'>

  constructor(parts: {
    readonly mappings: MappingTable
    readonly ports: Pick<HostPorts, 'usedMs' | 'withdraw'>
    readonly settings: Pick<HostSettings, 'timeouts'>
  }) {
    this.#mappings = parts.mappings
    this.#ports = parts.ports
    this.#settings = parts.settings
  }

  /** Out of the kernel, if it is there; it stays in the table. */
  withdraw(slot: number, nowMs: number): void {
    if (this.#mappings.committedUntilMs[slot] > nowMs) this.#ports.withdraw([slot])
    this.#mappings.committedUntilMs[slot] = 0
  }

  removeAll(slots: readonly number[], nowMs: number): void {
    const committed = slots.filter(slot => this.#mappings.committedUntilMs[slot] > nowMs)
    if (committed.length > 0) this.#ports.withdraw(committed)
    for (const slot of slots) this.#mappings.remove(slot)
  }

  /** For a new entry; answers whether another one had to go. */
  makeRoom(nowMs: number): boolean {
    const victim = this.#victim(nowMs)
    if (victim < 0) return false
    this.#remove(victim, nowMs)
    return true
  }

  tick(nowMs: number, maxWork: number): void {
    const { timeouts } = this.#settings
    let work = this.#expire(MAPPING_LIST.EMBRYONIC, timeouts.embryonic, nowMs, maxWork)
    work = this.#expire(MAPPING_LIST.CLOSING, timeouts.routeLease + timeouts.linger, nowMs, work)
    const unused = Math.max(timeouts.mapping, timeouts.routeLease + timeouts.linger)
    work = this.#expire(MAPPING_LIST.ESTABLISHED, unused, nowMs, work)
    this.#expire(MAPPING_LIST.COMMITTED, unused, nowMs, work)
  }

  #remove(slot: number, nowMs: number): void {
    this.withdraw(slot, nowMs)
    this.#mappings.remove(slot)
  }

  /** The slot to give up for a new entry, or -1. A half-open mapping that packets follow in the kernel is not half-open any more. */
  #victim(nowMs: number): number {
    const mappings = this.#mappings
    for (let tries = 0; ; tries++) {
      const victim = mappings.victim()
      if (victim < 0 || tries === VICTIM_TRIES || !this.#wasUsed(victim, nowMs)) return victim
    }
  }

  /** Whether the kernel knows that a half-open mapping is none; then it is in another list. */
  #wasUsed(slot: number, nowMs: number): boolean {
    const { table } = this.#mappings
    if (table.listOf(slot) !== MAPPING_LIST.EMBRYONIC) return false
    const usedMs = this.#ports.usedMs?.(slot, nowMs) ?? 0
    if (usedMs <= table.lastUse[slot]) return false
    table.move(slot, MAPPING_LIST.COMMITTED, usedMs)
    return true
  }

  #expire(list: number, timeoutMs: number, nowMs: number, work: number): number {
    const { table } = this.#mappings
    while (work > 0) {
      const slot = table.oldest(list)
      if (slot < 0 || nowMs - table.lastUse[slot] < timeoutMs) return work
      work--
      if (this.#wasUsed(slot, nowMs)) continue
      // Still in the kernel only when a longer lease was in force before.
      this.#remove(slot, nowMs)
    }
    return work
  }
}
