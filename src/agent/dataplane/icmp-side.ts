import { DROP, type DropCounters } from './drops.ts'
import type { IcmpForwarder } from './icmp-forwarder.ts'
import type { IcmpHost } from './icmp-host.ts'
import { createIcmpView, parseIcmp } from './icmp-packet.ts'
import type { PacketRef } from './packet-ref.ts'

/** ICMP messages out of the ring, to the role that they are for. */
export class IcmpSide {
  forwarder: IcmpForwarder | null = null
  host: IcmpHost | null = null
  readonly #drops: DropCounters
  readonly #icmp = createIcmpView()

  constructor(drops: DropCounters) {
    this.#drops = drops
  }

  /** @param tunnel of the forwarder from which it came to this node's cluster address, as mappings know it; undefined: it did not */
  packet(packet: PacketRef, tunnel: number | undefined, nowMs: number): void {
    const icmp = this.#icmp
    const reason = parseIcmp(packet.buf, packet.offset, packet.view, icmp)
    if (reason === DROP.ICMP_EMBEDDED && this.forwarder?.encapsulated(packet, icmp, nowMs)) return
    if (reason !== DROP.NONE) return this.#drops.add(reason)
    if (this.host !== null && tunnel !== undefined) return this.host.packet(packet, icmp, tunnel)
    if (this.forwarder === null) return this.#drops.add(DROP.NOT_A_SERVICE)
    this.forwarder.packet(packet, icmp, nowMs)
  }

  /** `icmp_errors_to_hosts` and so on, as status shows them. */
  get counters(): Record<string, number> {
    return { ...this.forwarder?.counters, ...this.host?.counters }
  }
}
