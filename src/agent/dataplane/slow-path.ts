import type { RawSender } from '../../os/raw-socket.ts'
import type { Tun } from '../../os/tun.ts'
import { DROP, type DropCounters } from './drops.ts'
import { outerBytes, writeOuter } from './encapsulate.ts'
import { isIcmp } from './icmp-packet.ts'
import { parsePacket } from './packet.ts'
import { createPacketRef, type PacketRef } from './packet-ref.ts'
import { rewriteTuple } from './rewrite.ts'
import { completeChecksum, type EmitPacket, segmentPacket } from './segment.ts'
import {
  VNET_HEADER_LENGTH,
  VNET_NEEDS_CSUM,
  vnetGsoSize,
  vnetGsoType,
  vnetNeedsChecksum,
  writeVnetHeader,
} from './vnet-header.ts'

const TCP = 6

/** Reads one packet of the ring into a reused PacketRef; answers DROP.NONE or why it cannot be carried. An ICMP message can (`isIcmp`). */
export const readRingPacket = (
  packet: PacketRef,
  buf: Uint8Array,
  offset: number,
  length: number,
  vnet: number,
): number => {
  const reason = parsePacket(buf, offset, length, packet.view)
  packet.partialChecksum = vnetNeedsChecksum(buf, vnet)
  packet.gsoType = vnetGsoType(buf, vnet)
  packet.gsoSize = packet.gsoType === 0 ? 0 : vnetGsoSize(buf, vnet)
  packet.buf = buf
  packet.offset = offset
  if (reason !== DROP.NONE && !(reason === DROP.UNSUPPORTED_PROTOCOL && isIcmp(packet.view))) return reason
  if (packet.view.fragment) return DROP.FRAGMENT
  packet.length = packet.view.end - offset
  return DROP.NONE
}

export const createRingPacket = createPacketRef

/**
 * Packets out of the slow path: tunnelled ones by a raw socket (the kernel finds route and neighbour), restored and
 * local ones through a TUN device into the own stack. Packets leave in the order in which they were given.
 */
export class PacketOutput {
  #raw: RawSender | null
  #tun: Tun | null
  readonly #drops: DropCounters
  readonly #largestBytes: number
  readonly #vnet = new Uint8Array(VNET_HEADER_LENGTH)
  /** One packet in full encapsulation. */
  readonly #whole = new Uint8Array(65_536 + 40)
  #destination = 0
  readonly #emit = (buf: Uint8Array, offset: number, length: number): void => {
    this.#raw!.queue(buf, offset, length, this.#destination)
  }

  /** Other ways out, as roles come and go; what was queued goes first. */
  use(raw: RawSender | null, tun: Tun | null): void {
    this.flush()
    this.#raw = raw
    this.#tun = tun
  }

  /** @param largestBytes of what `raw` takes: an uplink may carry larger packets than the cluster's links. */
  constructor(
    raw: RawSender | null,
    tun: Tun | null,
    drops: DropCounters,
    largestBytes = Number.POSITIVE_INFINITY,
  ) {
    this.#raw = raw
    this.#largestBytes = largestBytes
    this.#tun = tun
    this.#drops = drops
  }

  /** (client, VIP, ports) -> (tunnel address, host, identifier), and out. A super-packet is cut to size first. */
  tunnel(packet: PacketRef, source: Uint32Array, host: Uint32Array, identifier: number): void {
    if (packet.gsoSize === 0 && packet.length > this.#largestBytes) return this.#drops.add(DROP.TOO_BIG)
    rewriteTuple(
      packet.buf,
      packet.offset,
      packet.view,
      source,
      0,
      host,
      0,
      identifier,
      packet.partialChecksum,
    )
    this.#destination = host[3]
    if (packet.gsoSize > 0) segmentPacket(packet.buf, packet.offset, packet.view, packet.gsoSize, this.#emit)
    else {
      if (packet.partialChecksum) {
        completeChecksum(packet.buf, packet.offset, packet.view)
        packet.partialChecksum = false
      }
      this.#raw!.queue(packet.buf, packet.offset, packet.length, this.#destination)
    }
  }

  /** Out as it is, routed by an address of its family: four words from `at`. */
  send(buf: Uint8Array, offset: number, length: number, destination: Uint32Array, at: number): void {
    if (length > this.#largestBytes) return this.#drops.add(DROP.TOO_BIG)
    this.#raw!.queue(buf, offset, length, destination[at + 3])
  }

  /**
   * Whole, in another packet from the tunnel address to the host. A super-packet is cut to size first.
   * @param mtuBytes of what it becomes
   */
  encapsulate(packet: PacketRef, source: Uint32Array, host: Uint32Array, mtuBytes: number): void {
    const { view } = packet
    const overhead = outerBytes(view.family)
    const room = Math.min(mtuBytes, this.#largestBytes) - overhead
    const emit: EmitPacket = (buf, offset, length) => {
      if (length > room) return this.#drops.add(DROP.TOO_BIG)
      writeOuter(this.#whole, buf, offset, length, source, host)
      this.#whole.set(buf.subarray(offset, offset + length), overhead)
      this.#raw!.queue(this.#whole, 0, length + overhead, host[3])
    }
    if (packet.gsoSize > 0) segmentPacket(packet.buf, packet.offset, view, packet.gsoSize, emit)
    else {
      if (packet.partialChecksum) {
        completeChecksum(packet.buf, packet.offset, view)
        packet.partialChecksum = false
      }
      emit(packet.buf, packet.offset, packet.length)
    }
  }

  /** (tunnel address, host, identifier) -> the tuple at `at` (ten words), and into the own stack. */
  restore(packet: PacketRef, tuples: Uint32Array, at: number): void {
    rewriteTuple(
      packet.buf,
      packet.offset,
      packet.view,
      tuples,
      at,
      tuples,
      at + 4,
      tuples[at + 8],
      packet.partialChecksum,
    )
    this.inject(packet)
  }

  /** Into the own stack as it is; merged segments and partial checksums stay so. */
  inject(packet: PacketRef): void {
    const { view } = packet
    let header: Uint8Array | null = null
    if (packet.gsoSize > 0 || packet.partialChecksum) {
      header = this.#vnet
      const l4 = view.l4 - packet.offset
      const headers = l4 + (view.protocol === TCP ? (packet.buf[view.l4 + 12] >> 4) * 4 : 8)
      const partial = packet.partialChecksum
      const checksumAt = view.protocol === TCP ? 16 : 6
      writeVnetHeader(
        header,
        0,
        partial ? VNET_NEEDS_CSUM : 0,
        packet.gsoType,
        headers,
        packet.gsoSize,
        partial ? l4 : 0,
        partial ? checksumAt : 0,
      )
    }
    if (this.#tun === null || !this.#tun.write(header, packet.buf, packet.offset, packet.length)) {
      this.#drops.add(DROP.SEND_FAILED)
    }
  }

  flush(): void {
    const failed = this.#raw?.flush() ?? 0
    for (let i = 0; i < failed; i++) this.#drops.add(DROP.SEND_FAILED)
  }
}
