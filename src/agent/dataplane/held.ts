import { parsePacket } from './packet.ts'
import type { PacketRef } from './packet-ref.ts'

/** A copy of a packet that waits for its flow's mapping. */
export interface HeldPacket {
  readonly bytes: Uint8Array
  readonly partialChecksum: boolean
  readonly gsoSize: number
  readonly gsoType: number
}

/** Makes `packet` the held one again; it parsed when it was held. */
export const loadHeld = (packet: PacketRef, held: HeldPacket): void => {
  packet.buf = held.bytes
  packet.offset = 0
  packet.length = held.bytes.length
  packet.partialChecksum = held.partialChecksum
  packet.gsoSize = held.gsoSize
  packet.gsoType = held.gsoType
  parsePacket(held.bytes, 0, held.bytes.length, packet.view)
}

export interface HeldQueue {
  readonly packets: HeldPacket[]
  readonly sinceMs: number
  retryAtMs: number
  tries: number
}

/**
 * Packets held in order until a mapping or a classification arrives (decision 3: bounded buffering),
 * by an integer owner (a slot or an identifier). Capacity counts packets and bytes over all owners;
 * a packet that does not fit is refused and its caller counts the drop. Nothing is evicted: what was
 * taken first is delivered first or times out.
 */
export class HeldPackets {
  readonly capacity: number
  readonly byteCapacity: number
  readonly perOwner: number
  readonly queues = new Map<number, HeldQueue>()
  size = 0
  bytes = 0
  refused = 0

  constructor(capacity: number, byteCapacity = capacity * 2048, perOwner = 128) {
    this.capacity = capacity
    this.byteCapacity = byteCapacity
    this.perOwner = perOwner
  }

  /** Copies the packet; false when a bound is reached. */
  hold(owner: number, packet: PacketRef, nowMs: number, retryAtMs: number): boolean {
    let queue = this.queues.get(owner)
    if (
      this.size >= this.capacity ||
      this.bytes + packet.length > this.byteCapacity ||
      (queue !== undefined && queue.packets.length >= this.perOwner)
    ) {
      this.refused++
      return false
    }
    if (queue === undefined) {
      queue = { packets: [], sinceMs: nowMs, retryAtMs, tries: 0 }
      this.queues.set(owner, queue)
    }
    queue.packets.push({
      bytes: packet.buf.slice(packet.offset, packet.offset + packet.length),
      partialChecksum: packet.partialChecksum,
      gsoSize: packet.gsoSize,
      gsoType: packet.gsoType,
    })
    this.size++
    this.bytes += packet.length
    return true
  }

  has(owner: number): boolean {
    return this.size > 0 && this.queues.has(owner)
  }

  /** Takes all packets of an owner, oldest first; empty when there are none. */
  take(owner: number): readonly HeldPacket[] {
    const queue = this.queues.get(owner)
    if (queue === undefined) return NONE
    this.queues.delete(owner)
    this.size -= queue.packets.length
    for (const packet of queue.packets) this.bytes -= packet.bytes.length
    return queue.packets
  }
}

const NONE: readonly HeldPacket[] = []
