import { ATOM_KIND } from '../../dam/types.ts'
import type { DirectoryIndex } from './directory.ts'
import type { FlowLife } from './flow-life.ts'
import { FLOW_KEY_WORDS, type FlowTable, LIST } from './flows.ts'
import type { ForwarderSettings } from './forwarder-ports.ts'
import { RESOLVE_WORDS, RESOLVED } from './messages.ts'
import { TCP_ACK, TCP_FIN } from './packet-ref.ts'
import { RecordQueue } from './record-queue.ts'

/**
 * Milliseconds without a packet after which a flow is asked about, by how often it was confirmed already. The second time is later than
 * TIME-WAIT (60 s), in which a host still answers for a connection that is over.
 */
export const DOUBT_IDLE_MS = [10_000, 90_000] as const
/** A pass through all flows takes so long at least. */
const PASS_MS = 5_000
const SLOTS_A_STEP = 65_536
/** Questions a second, and at once: a small part of what hosts answer, and of what forwarders ask of packets that wait. */
const RATE_PER_S = 256
const BURST = 64

/**
 * Flows of TCP whose end may have passed where this agent saw nothing of it: those that it goes on with from an agent before, that came in their
 * middle, or that another forwarder says have ended. Once such a flow is idle its hosts are asked whether one has the socket: what none
 * has closes as by a FIN, what nobody can tell stays (R-D5). A host does not find every kind of socket, those of containers behind an address
 * translation for one: its denial counts only once it has found some connection of the same service. Pure.
 */
export class FlowDoubts {
  readonly counters = { doubtsAsked: 0, doubtsConfirmed: 0, doubtsEnded: 0, doubtsUnproven: 0 }
  readonly queue = new RecordQueue(RESOLVE_WORDS, 4 * BURST)
  readonly #flows: FlowTable
  readonly #life: FlowLife
  readonly #directory: DirectoryIndex
  readonly #settings: ForwarderSettings
  /** Hosts that have found a connection of a service, by both indexes. */
  readonly #finders = new Set<string>()
  #cursor = 0
  #passMs = 0
  #left = BURST
  #leftMs = 0

  constructor(parts: {
    readonly flows: FlowTable
    readonly life: FlowLife
    readonly directory: DirectoryIndex
    readonly settings: ForwarderSettings
  }) {
    this.#flows = parts.flows
    this.#life = parts.life
    this.#directory = parts.directory
    this.#settings = parts.settings
  }

  doubt(slot: number): void {
    this.#flows.doubt[slot] = 1
  }

  /** The agent, or this machine, was away for a while. */
  doubtAll(): void {
    for (const slot of this.#flows.table.select(() => true)) this.doubt(slot)
  }

  tick(nowMs: number): void {
    if (this.#settings.resolves !== true) return
    this.#left = Math.min(BURST, this.#left + ((nowMs - this.#leftMs) / 1_000) * RATE_PER_S)
    this.#leftMs = nowMs
    const { doubt } = this.#flows
    const due = Math.ceil(((nowMs - this.#passMs) / PASS_MS) * doubt.length)
    const until = Math.min(doubt.length, due, this.#cursor + SLOTS_A_STEP)
    while (this.#cursor < until && this.#left >= 1) {
      const slot = this.#cursor++
      if (doubt[slot] !== 0 && this.#isIdle(slot, nowMs)) this.#ask(slot)
    }
    if (this.#cursor < doubt.length) return
    this.#cursor = 0
    this.#passMs = nowMs
  }

  /** Open, and without a packet for as long as its doubt asks for. */
  #isIdle(slot: number, nowMs: number): boolean {
    const { table, doubt } = this.#flows
    const list = table.listOf(slot)
    if (list !== LIST.TCP && list !== LIST.TCP_YOUNG) return false
    return nowMs - table.lastUse[slot] >= DOUBT_IDLE_MS[doubt[slot] - 1]!
  }

  /** One that finds no room is asked about in the next pass. */
  #ask(slot: number): void {
    const { table, service } = this.#flows
    if (!this.queue.add(table.keys, slot * FLOW_KEY_WORDS, ATOM_KIND.flow, service[slot], 0)) return
    this.#left--
    this.counters.doubtsAsked++
  }

  /**
   * What its hosts say; without an answer nothing changes. @param hostIpv4 of the one that has the socket, its cluster address
   * @param how RESOLVED; nobody: every host that could have it says that it has not
   */
  answered(key: Uint32Array, hostIpv4: number, how: number, nowMs: number): void {
    const flows = this.#flows
    const slot = flows.table.find(key)
    // A packet came meanwhile, perhaps of another connection.
    if (slot < 0 || flows.doubt[slot] === 0 || !this.#isIdle(slot, nowMs)) return
    const finder = `${flows.host[slot]} ${flows.service[slot]}`
    if (how === RESOLVED.nobody) {
      if (!this.#finders.has(finder)) {
        this.counters.doubtsUnproven++
        return this.#later(slot)
      }
      flows.doubt[slot] = 0
      this.counters.doubtsEnded++
      this.#life.transition(slot, TCP_FIN | TCP_ACK, nowMs)
    } else if (this.#directory.hostAt(hostIpv4)?.index === flows.host[slot]) {
      this.#finders.add(finder)
      this.counters.doubtsConfirmed++
      this.#later(slot)
    }
  }

  #later(slot: number): void {
    const { doubt } = this.#flows
    doubt[slot] = doubt[slot] < DOUBT_IDLE_MS.length ? doubt[slot] + 1 : 0
  }
}
