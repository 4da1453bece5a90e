import { DROP } from './drops.ts'
import { FLOW_KEY_WORDS } from './flow-key.ts'
import { type HeldPacket, HeldPackets } from './held.ts'
import type { PacketRef } from './packet-ref.ts'
import { SeenLately } from './seen-lately.ts'
import { SlotTable } from './slot-table.ts'

/** Milliseconds after which a question is asked again; after the last one nobody waits any more. Hosts are asked for 300 ms at most. */
const PATIENCE_MS = [500, 700, 800] as const
/** Packets of one flow: a sender's first window, and more. */
const PACKETS_PER_FLOW = 128
/** Two of these at most: a client repeats itself after some 300 ms, and then after twice the time before. */
const SEEN_MS = 4_000

export interface ResolutionPorts {
  /** Whose is it? Ten words from `at`, good during the call. @param again more than one packet of the flow has come lately */
  ask(keys: Uint32Array, at: number, service: number, again: boolean): void
  drop(reason: number): void
  /** Nobody has answered in time; true: it is asked on. Left out: what waits is dropped. */
  unanswered?(key: Uint32Array): boolean
}

/**
 * Flows whose host is being asked for, with their packets in order. Bounded in flows, packets, bytes and time. Once half of the
 * places are taken only a flow that has come twice within some seconds gets one: true clients repeat what is lost, floods of random ports do not. Who
 * is asked is told which of both it is.
 * Nothing is evicted: who waits for an answer gets it, or times out. Pure.
 */
export class Resolution {
  readonly counters = { resolves: 0, resolvesRepeated: 0, resolvesRefused: 0, resolvesUnanswered: 0 }
  readonly #table: SlotTable
  readonly #held: HeldPackets
  readonly #service: Uint16Array
  readonly #again: Uint8Array
  readonly #seen: SeenLately
  readonly #ports: ResolutionPorts

  constructor(capacity: number, k0: number, k1: number, ports: ResolutionPorts) {
    this.#table = new SlotTable({ capacity, keyWords: FLOW_KEY_WORDS, lists: PATIENCE_MS.length, k0, k1 })
    this.#held = new HeldPackets(capacity, capacity * 2048, PACKETS_PER_FLOW)
    this.#service = new Uint16Array(capacity)
    this.#again = new Uint8Array(capacity)
    this.#seen = new SeenLately(FLOW_KEY_WORDS, SEEN_MS, k1, k0)
    this.#ports = ports
  }

  get size(): number {
    return this.#table.size
  }

  get capacity(): number {
    return this.#table.capacity
  }

  /** Keeps the packet until its flow's host is known, or counts its drop; false: nobody is asked about the flow, for want of a place. */
  hold(key: Uint32Array, service: number, packet: PacketRef, nowMs: number): boolean {
    const slot = this.#slotOf(key, service, nowMs)
    if (slot < 0) return false
    if (!this.#held.hold(slot, packet, nowMs, 0)) this.#ports.drop(DROP.HOLD_FULL)
    return true
  }

  /** The same for no packet of the flow itself. */
  ask(key: Uint32Array, service: number, nowMs: number): void {
    this.#slotOf(key, service, nowMs)
  }

  #slotOf(key: Uint32Array, service: number, nowMs: number): number {
    const again = this.#seen.see(key, nowMs)
    const known = this.#table.find(key)
    if (known >= 0) {
      this.#again[known] = 1
      return known
    }
    const { size, capacity } = this.#table
    const slot = size * 2 < capacity || again ? this.#table.insert(key, 0, 0, nowMs) : -1
    if (slot < 0) {
      this.counters.resolvesRefused++
      return -1
    }
    this.counters.resolves++
    this.#service[slot] = service
    this.#again[slot] = again ? 1 : 0
    this.#ask(slot)
    return slot
  }

  #ask(slot: number): void {
    this.#ports.ask(this.#table.keys, slot * FLOW_KEY_WORDS, this.#service[slot], this.#again[slot] !== 0)
  }

  has(key: Uint32Array): boolean {
    return this.#table.size > 0 && this.#table.find(key) >= 0
  }

  /** What waits for the flow's host, oldest first, and nobody waits any more; null: nobody does. */
  take(key: Uint32Array): readonly HeldPacket[] | null {
    const slot = this.#table.find(key)
    if (slot < 0) return null
    this.#table.remove(slot)
    return this.#held.take(slot)
  }

  /** Nobody waits any more, and nothing goes on. */
  forget(key: Uint32Array): void {
    for (const _ of this.take(key) ?? []) this.#ports.drop(DROP.UNRESOLVED)
  }

  forgetAll(): void {
    for (const slot of this.#table.select(() => true)) this.#giveUp(slot)
  }

  tick(nowMs: number): void {
    // From the last list, so that none is looked at twice.
    for (let list = PATIENCE_MS.length - 1; list >= 0; list--)
      for (let slot = this.#table.oldest(list); slot >= 0; slot = this.#table.oldest(list)) {
        if (nowMs - this.#table.lastUse[slot] < PATIENCE_MS[list]) break
        if (list === PATIENCE_MS.length - 1) {
          this.counters.resolvesUnanswered++
          this.#unanswered(slot, nowMs)
          continue
        }
        this.counters.resolvesRepeated++
        this.#table.move(slot, list + 1, nowMs)
        this.#ask(slot)
      }
  }

  /** What is waited for now: keys. */
  keys(): Uint32Array[] {
    const { keys } = this.#table
    return this.#table
      .select(() => true)
      .map(slot => keys.slice(slot * FLOW_KEY_WORDS, (slot + 1) * FLOW_KEY_WORDS))
  }

  #unanswered(slot: number, nowMs: number): void {
    const { keys } = this.#table
    const goesOn = this.#ports.unanswered?.(keys.slice(slot * FLOW_KEY_WORDS, (slot + 1) * FLOW_KEY_WORDS))
    if (goesOn === true) {
      this.#table.move(slot, 0, nowMs)
      this.#ask(slot)
      return
    }
    // Whoever took it over has taken it.
    if (this.#table.listOf(slot) >= 0) this.#giveUp(slot)
  }

  #giveUp(slot: number): void {
    for (const _ of this.#held.take(slot)) this.#ports.drop(DROP.UNRESOLVED)
    this.#table.remove(slot)
  }
}
