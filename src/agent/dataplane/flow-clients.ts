import type { Affinity } from '../classify/affinity.ts'
import type { DirectoryIndex } from './directory.ts'
import { FLOW_KEY_WORDS, type FlowTable, LIST } from './flows.ts'

/** A pass through all flows takes so long: short next to every time-out of sessions. */
const PASS_MS = 5_000
const SLOTS_A_STEP = 8_192

/** Clients' connections keep their sessions alive (R-C2): as they are established, and as long as packets pass. Pure. */
export class FlowClients {
  readonly #flows: FlowTable
  readonly #directory: DirectoryIndex
  readonly #affinity: Affinity
  #cursor = 0
  #passMs = Number.NEGATIVE_INFINITY

  constructor(parts: {
    readonly flows: FlowTable
    readonly directory: DirectoryIndex
    readonly affinity: Affinity
  }) {
    this.#flows = parts.flows
    this.#directory = parts.directory
    this.#affinity = parts.affinity
  }

  established(slot: number): void {
    const { table, host, service } = this.#flows
    const list = table.listOf(slot)
    if (list < 0 || list === LIST.EMBRYONIC || list === LIST.CLOSING || list === LIST.CLOSING_PLUMBED) return
    const entry = this.#directory.serviceAt(service[slot])
    if (entry?.affinity !== undefined)
      this.#affinity.inUse(entry, table.keys, slot * FLOW_KEY_WORDS, host[slot])
  }

  tick(nowMs: number): void {
    if (!this.#directory.directory.services.some(({ affinity }) => affinity !== undefined)) return
    const { table } = this.#flows
    const slots = table.capacity
    const due = Math.ceil(((nowMs - this.#passMs) / PASS_MS) * slots)
    const until = Math.min(slots, due, this.#cursor + SLOTS_A_STEP)
    for (; this.#cursor < until; this.#cursor++)
      if (table.lastUse[this.#cursor]! > nowMs - 2 * PASS_MS) this.established(this.#cursor)
    if (this.#cursor < slots) return
    this.#cursor = 0
    this.#passMs = nowMs
  }
}
