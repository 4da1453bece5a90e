import type { DirectoryIndex } from './directory.ts'
import { FLOW_KEY_WORDS, type FlowTable, LIST, ORIGIN } from './flows.ts'
import type { ForwarderSettings } from './forwarder-ports.ts'
import { ATOM_OP, ATOM_TOUCH_MS, ATOM_WORDS } from './messages.ts'
import { RecordQueue } from './record-queue.ts'

/** Records that wait at most: some MB a second at the pace at which they are taken. */
const QUEUE = 16_384
/** Slots looked at in one step while all routes are told of again. */
const SLOTS_A_STEP = 4_096

/**
 * Routes that the other load balancing units are to know (R-C4): which of this forwarder's flows they were told of, with which host. Told of
 * when a flow is established, when it ends, and once in a while as long as it is used. What finds no room in the queue is told by the sweep that does
 * the latter; only an end that finds none is lost. Nothing here is done for each packet. Pure.
 */
export class FlowAtoms {
  readonly counters = { atomsPut: 0, atomsEnded: 0, atomsTouched: 0, atomsRefused: 0 }
  readonly queue = new RecordQueue(ATOM_WORDS, QUEUE)
  readonly #flows: FlowTable
  readonly #directory: DirectoryIndex
  readonly #settings: ForwarderSettings
  /** By slot: index of the host that was told; 0: none. */
  readonly #told: Uint8Array
  /** By slot: 1 once it has been told of against another forwarder's word. */
  readonly #repeated: Uint8Array
  #cursor = 0
  /** Since when the pass at hand has run. */
  #passMs = 0
  /** Next slot of a pass that tells of all; none is under way beyond the last one. */
  #again: number
  #lost = false

  constructor(parts: {
    readonly flows: FlowTable
    readonly directory: DirectoryIndex
    readonly settings: ForwarderSettings
  }) {
    this.#flows = parts.flows
    this.#directory = parts.directory
    this.#settings = parts.settings
    const { capacity } = parts.flows.table
    this.#told = new Uint8Array(capacity)
    this.#repeated = new Uint8Array(capacity)
    this.#again = capacity
  }

  /** Others know that the flow is carried here. */
  isTold(slot: number): boolean {
    return this.#told[slot] !== 0
  }

  /** The flow is established, perhaps at another host than before. */
  established(slot: number): void {
    if (!this.#isAtom(slot) || this.#told[slot] === this.#flows.host[slot]) return
    this.#repeated[slot] = 0
    this.#put(slot)
  }

  /** Taken over from the agent before, which told of it: one that is closing ends for all. */
  kept(slot: number): void {
    const list = this.#flows.table.listOf(slot)
    if ((list === LIST.CLOSING || list === LIST.CLOSING_PLUMBED) && this.#hasAtoms(slot))
      this.#told[slot] = this.#flows.host[slot]
  }

  /** Tells of it against what another forwarder says: once a connection, so that two that both do so come to an end. False: not again. */
  repeat(slot: number): boolean {
    if (this.#repeated[slot] !== 0 || !this.#isAtom(slot)) return false
    this.#repeated[slot] = 1
    // Of what nobody was told the sweep tells.
    if (!this.#put(slot)) this.#told[slot] = 0
    return true
  }

  /** The slot is about to become free. @param isOver the flow has ended; else it may go on somewhere, or here again */
  removed(slot: number, isOver: boolean): void {
    if (this.#told[slot] === 0) return
    const host = this.#told[slot]
    this.#told[slot] = 0
    this.#repeated[slot] = 0
    if (isOver) this.#end(slot, host)
  }

  /** Everything again: whoever kept it begins anew, or missed some. */
  tellAll(): void {
    this.#again = 0
  }

  /** There is more to tell at once than is in the queue. */
  get isTelling(): boolean {
    return this.#again < this.#told.length
  }

  /** Some ends found no room since this was asked last. */
  takeLost(): boolean {
    const lost = this.#lost
    this.#lost = false
    return lost
  }

  /** Some routes of those that are told of again. Only while the queue is taken. */
  step(): void {
    const last = Math.min(this.#again + SLOTS_A_STEP, this.#told.length)
    while (this.#again < last && this.queue.size * 2 < this.queue.capacity) {
      const slot = this.#again++
      if (this.#isAtom(slot)) this.#put(slot)
    }
  }

  /** Goes on with the sweep through all routes, which takes ATOM_TOUCH_MS. */
  tick(nowMs: number): void {
    if (this.#settings.resolves !== true) return
    const slots = this.#told.length
    const due = Math.ceil(((nowMs - this.#passMs) / ATOM_TOUCH_MS) * slots)
    const until = Math.min(slots, due, this.#cursor + SLOTS_A_STEP)
    for (; this.#cursor < until; this.#cursor++) this.#look(this.#cursor, nowMs)
    if (this.#cursor < slots) return
    this.#cursor = 0
    this.#passMs = nowMs
  }

  #look(slot: number, nowMs: number): void {
    const told = this.#told[slot]
    const { table, host, service } = this.#flows
    if (told !== 0 && !this.#hasAtoms(slot)) {
      // Its service's routes are atoms no more.
      this.#told[slot] = 0
      return this.#end(slot, told)
    }
    if (!this.#isAtom(slot)) return
    if (told !== host[slot]) {
      this.#put(slot)
      return
    }
    if (table.lastUse[slot] <= nowMs - ATOM_TOUCH_MS) return
    const { ipv4 } = this.#directory.host(host[slot])!
    if (this.queue.add(table.keys, slot * FLOW_KEY_WORDS, ipv4, ATOM_OP.touch, service[slot]))
      this.counters.atomsTouched++
    else this.counters.atomsRefused++
  }

  /** Established, at a host that it is known to belong to. */
  #isAtom(slot: number): boolean {
    const { table, host, origin } = this.#flows
    const list = table.listOf(slot)
    if (list < 0 || list === LIST.EMBRYONIC || list === LIST.CLOSING || list === LIST.CLOSING_PLUMBED)
      return false
    if (origin[slot] === ORIGIN.NOBODY || origin[slot] === ORIGIN.GUESS) return false
    return this.#directory.host(host[slot]) !== undefined && this.#hasAtoms(slot)
  }

  #hasAtoms(slot: number): boolean {
    if (this.#settings.resolves !== true) return false
    return (this.#directory.serviceAt(this.#flows.service[slot])?.copies ?? null) !== null
  }

  #put(slot: number): boolean {
    const { table, host, service } = this.#flows
    const { ipv4 } = this.#directory.host(host[slot])!
    if (this.queue.add(table.keys, slot * FLOW_KEY_WORDS, ipv4, ATOM_OP.put, service[slot])) {
      this.#told[slot] = host[slot]
      this.counters.atomsPut++
      return true
    }
    this.counters.atomsRefused++
    return false
  }

  #end(slot: number, told: number): void {
    const { table, service } = this.#flows
    const ipv4 = this.#directory.host(told)?.ipv4 ?? 0
    if (this.queue.add(table.keys, slot * FLOW_KEY_WORDS, ipv4, ATOM_OP.end, service[slot])) {
      this.counters.atomsEnded++
      return
    }
    this.counters.atomsRefused++
    this.#lost = true
  }
}
