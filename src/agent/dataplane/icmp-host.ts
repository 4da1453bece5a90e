import { DROP } from './drops.ts'
import { addressEquals } from './flow-key.ts'
import { readEnds } from './icmp-forwarder.ts'
import { ICMP_KIND, type IcmpView, innerPorts, mirrored } from './icmp-packet.ts'
import { rewriteIcmp } from './icmp-rewrite.ts'
import { type MappingTable, TUPLE_WORDS } from './mappings.ts'
import type { PacketRef } from './packet-ref.ts'

export interface IcmpHostPorts {
  /** Into the own stack. */
  inject(packet: PacketRef): void
  drop(reason: number): void
}

/**
 * A host's ICMP (R-A7): an error in tunnelled form (icmp-rewrite.ts) gets back what it is about, VIP and client, and goes into the own
 * stack, which sees by itself whether it fits a connection (TCP: by the sequence number; RFC 5927). To the stack it comes from the forwarder's
 * tunnel address: who told of the error at first is not in it any more.
 */
export class IcmpHost {
  readonly counters = { errorsRestored: 0 }
  readonly #mappings: MappingTable
  readonly #find: (tunnel: number, identifier: number) => number
  readonly #ports: IcmpHostPorts
  readonly #ends = new Uint32Array(8)
  readonly #inner = new Uint32Array(8)

  /** @param find HostCore.mappingOf */
  constructor(parts: {
    readonly mappings: MappingTable
    readonly find: (tunnel: number, identifier: number) => number
    readonly ports: IcmpHostPorts
  }) {
    this.#mappings = parts.mappings
    this.#find = parts.find
    this.#ports = parts.ports
  }

  /**
   * A message that parsed, from a forwarder's tunnel address to this node's.
   * @param tunnel by which its mappings are known
   */
  packet(packet: PacketRef, icmp: IcmpView, tunnel: number): void {
    const { buf, offset, view } = packet
    if (icmp.kind === ICMP_KIND.ECHO) return this.#ports.drop(DROP.ICMP_TYPE)
    const ends = this.#ends
    readEnds(buf, offset, view.family, ends)
    readEnds(buf, icmp.inner, view.family, this.#inner)
    if (!addressEquals(ends, 4, this.#inner, 0) || !addressEquals(ends, 0, this.#inner, 4))
      return this.#ports.drop(DROP.ICMP_EMBEDDED)
    const slot = this.#find(tunnel, mirrored(innerPorts(buf, icmp)))
    const { tuples } = this.#mappings
    const at = slot * TUPLE_WORDS
    if (slot < 0 || tuples[at + 9] !== icmp.innerProtocol) return this.#ports.drop(DROP.ICMP_NO_FLOW)
    rewriteIcmp(buf, offset, view, icmp, {
      ...{ source: ends, sourceAt: 0, sender: tuples, senderAt: at + 4 },
      ...{ receiver: tuples, receiverAt: at, ports: mirrored(tuples[at + 8]) },
    })
    this.counters.errorsRestored++
    this.#ports.inject(packet)
  }
}
