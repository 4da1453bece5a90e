import { isIpv4 } from '../flow-key.ts'
import { ENTRY_HALVES, MAX_TUNNEL, TUNNEL_GENERATIONS } from './mapping-layout.ts'
import type { MappingMemory } from './mapping-memory.ts'
import { type Mapping, type MappingContent, type MappingKey, MappingSlots, swap32 } from './mapping-slots.ts'
import { ageOf } from './route-buckets.ts'
import { ROUTE_WAYS } from './route-layout.ts'

/** What `put` came to. */
export type MappingResult =
  | 'inserted'
  /** Inserted; another mapping has moved to its second bucket. */
  | 'moved'
  /** Inserted; the victim has gone. */
  | 'evicted'
  /** The identifier meant something else until now. */
  | 'replaced'
  /** It was there, and is as new. */
  | 'renewed'

export interface MappingPut {
  readonly result: MappingResult
  /** What made room: it is in the kernel no more. */
  readonly victim: Mapping | null
}

/**
 * The agent's side of a host's mappings (R-E8) that the kernel's programs look up at the same time: see bpf/mapping-table.h. There must be one
 * agent. What is removed or replaced is in force for no packet that comes after the call.
 */
export class KernelMappings {
  readonly slots: MappingSlots
  readonly counts: Record<MappingResult | 'removed', number> = {
    inserted: 0,
    moved: 0,
    evicted: 0,
    replaced: 0,
    renewed: 0,
    removed: 0,
  }

  /** Takes over what is there. */
  constructor(memory: MappingMemory) {
    this.slots = new MappingSlots(memory)
    this.#tidy()
  }

  get(key: MappingKey): Mapping | null {
    const { slots } = this
    const identifier = swap32(key.identifier)
    slots.place(identifier, key.tunnel)
    const slot = this.#find(identifier, key.tunnel)
    return slot >= 0 && slots.generationAt(slot) === key.generation ? slots.read(slot) : null
  }

  /**
   * Makes an identifier stand for `content`, whatever it stood for. When its eight places are taken, one of the mappings there moves on, else the
   * one that is unused longest goes.
   * @param now the current tick
   * @throws RangeError for a key or content that does not fit the table
   */
  put(key: MappingKey, content: MappingContent, now: number): MappingPut {
    const { slots } = this
    this.#check(key, content)
    const identifier = swap32(key.identifier)
    slots.place(identifier, key.tunnel)
    const { first, second } = slots
    const known = this.#find(identifier, key.tunnel)
    if (known >= 0) {
      if (slots.generationAt(known) === key.generation && slots.says(known, content)) {
        slots.touch(known, now)
        return this.#done('renewed', null)
      }
      slots.free(known)
      slots.fill(known, key, content, now)
      return this.#done('replaced', null)
    }
    let slot = slots.freeSlot(first)
    if (slot < 0) slot = slots.freeSlot(second)
    if (slot >= 0) {
      slots.fill(slot, key, content, now)
      return this.#done('inserted', null)
    }
    slot = this.#moveOn(first)
    if (slot < 0) slot = this.#moveOn(second)
    if (slot >= 0) {
      slots.fill(slot, key, content, now)
      return this.#done('moved', null)
    }
    slot = this.#oldest(first, second, now)
    const victim = slots.read(slot)
    slots.free(slot)
    slots.fill(slot, key, content, now)
    return this.#done('evicted', victim)
  }

  /** The mapping that the identifier had, of whatever generation, or null. */
  remove(tunnel: number, identifier: number): Mapping | null {
    const { slots } = this
    const stored = swap32(identifier)
    slots.place(stored, tunnel)
    const slot = this.#find(stored, tunnel)
    if (slot < 0) return null
    const removed = slots.read(slot)
    slots.free(slot)
    this.counts.removed++
    return removed
  }

  /** Where it stands by the last `place`, or -1. */
  #find(identifier: number, tunnel: number): number {
    const { slots } = this
    const slot = slots.slotOf(slots.first, identifier, tunnel)
    return slot >= 0 ? slot : slots.slotOf(slots.second, identifier, tunnel)
  }

  /** An agent that died while it moved a mapping left it twice: the copy would come to light when the other goes. */
  #tidy(): void {
    const { slots } = this
    for (const slot of slots.used()) {
      const [identifier, tunnel] = [slots.identifierAt(slot), slots.tunnelAt(slot)]
      slots.place(identifier, tunnel)
      if (this.#find(identifier, tunnel) !== slot) slots.free(slot)
    }
  }

  /** Makes a slot of the bucket free by moving a mapping from there, its first, to its second; -1: none can go. */
  #moveOn(bucket: number): number {
    const { slots } = this
    for (let slot = bucket; slot < bucket + ENTRY_HALVES * ROUTE_WAYS; slot += ENTRY_HALVES) {
      slots.place(slots.identifierAt(slot), slots.tunnelAt(slot))
      if (slots.first !== bucket) continue
      const to = slots.freeSlot(slots.second)
      if (to < 0) continue
      slots.copy(slot, to)
      slots.free(slot)
      return slot
    }
    return -1
  }

  #oldest(first: number, second: number, now: number): number {
    let found = first
    let oldest = -1
    for (const bucket of [first, second])
      for (let slot = bucket; slot < bucket + ENTRY_HALVES * ROUTE_WAYS; slot += ENTRY_HALVES) {
        const age = ageOf(this.slots.stampAt(slot), now)
        if (age <= oldest) continue
        oldest = age
        found = slot
      }
    return found
  }

  #check({ tunnel, generation, identifier }: MappingKey, { client, service }: MappingContent): void {
    if (!(tunnel >= 1 && tunnel <= MAX_TUNNEL))
      throw new RangeError(`tunnel index ${tunnel} is not within 1..${MAX_TUNNEL}`)
    if (!(generation >= 0 && generation < TUNNEL_GENERATIONS))
      throw new RangeError(`generation ${generation} is not within 0..${TUNNEL_GENERATIONS - 1}`)
    if (identifier === 0) throw new RangeError('0 is no flow identifier')
    if (!(service >= 1 && service <= 0xffff))
      throw new RangeError(`service number ${service} is not within 1..65535`)
    const { family } = this.slots.memory
    if (isIpv4(client, 0) !== (family === 4)) throw new RangeError(`the client's address is not IPv${family}`)
  }

  #done(result: MappingResult, victim: Mapping | null): MappingPut {
    this.counts[result]++
    return { result, victim }
  }
}
