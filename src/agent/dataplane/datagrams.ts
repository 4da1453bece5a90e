import type { UdpBatchSocket } from '../../os/udp-socket.ts'
import type { DropCounters } from './drops.ts'
import { DROP } from './drops.ts'
import { ipv4Word } from './flow-key.ts'
import {
  createMappingHeader,
  decodeMappingHeader,
  encodeMappingHeader,
  innerMatches,
  KIND,
  type MappingHeader,
  verifyMappingTag,
} from './mapping-header.ts'
import type { MappingKey } from './messages.ts'
import { parsePacket } from './packet.ts'
import { createPacketRef, type PacketRef } from './packet-ref.ts'
import { completeChecksum } from './segment.ts'

export type DatagramReceiver = (header: MappingHeader, inner: PacketRef | null, sourceIpv4: number) => void

/**
 * Mapping datagrams in and out (decision 3). Out: key number, time and tag are added here. In, step by step:
 * (1) structure; (2) a key that we have, of the tunnel address it speaks for and to us; (3) tag; (4) a packet inside must parse
 * and carry the header's own tuple; (5) the receiver for its kind, which checks epoch, sequence, time and sender.
 */
export class Datagrams {
  readonly received = new Float64Array(16)
  readonly sent = new Float64Array(16)
  readonly #socket: UdpBatchSocket
  readonly #port: number
  readonly #drops: DropCounters
  readonly #ownIpv4: number
  #keys = new Map<number, Map<number, Uint32Array>>()
  /** By tunnel address, then recipient. */
  #signing = new Map<number, Map<number, MappingKey>>()
  /** Tunnel address that CLASSIFIED answers speak of: ours. */
  #ownTunnel = 0
  readonly #receivers = new Map<number, DatagramReceiver>()
  readonly #incoming = createMappingHeader()
  readonly #inner = createPacketRef()
  readonly #bytes = new Uint8Array(128)
  /** Datagrams longer than any of ours, as far as they were counted. */
  #oversize = 0
  /** Seconds to add to our clock for a peer whose clock differs, learnt from STALE_TIME. */
  readonly #offsets = new Map<number, number>()

  constructor(
    socket: UdpBatchSocket,
    port: number,
    keys: readonly MappingKey[],
    ownTunnel: number,
    ownIpv4: number,
    drops: DropCounters,
  ) {
    this.#socket = socket
    this.#port = port
    this.#drops = drops
    this.#ownIpv4 = ownIpv4
    this.setKeys(keys, ownTunnel)
  }

  /**
   * Other keys in the place of these: what is under way and signed by one that stays is taken.
   * @param ownTunnel this node's tunnel address as a forwarder, or 0
   */
  setKeys(keys: readonly MappingKey[], ownTunnel: number): void {
    this.#ownTunnel = ownTunnel
    this.#keys = new Map()
    this.#signing = new Map()
    for (const key of keys) {
      const { tunnelIpv4, recipientIpv4, number, words } = key
      const signing = this.#signing.get(tunnelIpv4) ?? new Map<number, MappingKey>()
      this.#signing.set(tunnelIpv4, signing)
      if (!signing.has(recipientIpv4)) signing.set(recipientIpv4, key)
      if (recipientIpv4 !== this.#ownIpv4) continue
      const numbered = this.#keys.get(tunnelIpv4) ?? new Map<number, Uint32Array>()
      this.#keys.set(tunnelIpv4, numbered)
      // Of two with one number the first is the one that signs.
      if (!numbered.has(number)) numbered.set(number, words)
    }
  }

  /** Takes no datagrams any more until `on` says so again: the roles have changed. */
  reset(): void {
    this.#receivers.clear()
  }

  on(kind: number, receiver: DatagramReceiver): void {
    this.#receivers.set(kind, receiver)
  }

  /**
   * Queues a datagram about the flows of `tunnelIpv4`. A packet inside gets its checksum completed first.
   */
  send(
    header: MappingHeader,
    tunnelIpv4: number,
    destination: number,
    packet: PacketRef | null,
    nowS: number,
  ): void {
    const key = this.#signing.get(tunnelIpv4)?.get(destination)
    if (key === undefined) return this.#drops.add(DROP.MAPPING_UNKNOWN_KEY)
    header.keyNumber = key.number
    header.timeS = (nowS + (this.#offsets.get(destination) ?? 0)) >>> 0
    header.innerLength = packet === null ? 0 : packet.length
    if (packet?.partialChecksum) {
      completeChecksum(packet.buf, packet.offset, packet.view)
      packet.partialChecksum = false
    }
    const length = encodeMappingHeader(header, this.#bytes, 0, key.words)
    this.sent[header.kind]++
    this.#socket.queue(
      this.#bytes,
      length,
      packet?.buf ?? null,
      packet?.offset ?? 0,
      packet?.length ?? 0,
      destination,
      this.#port,
    )
  }

  /** The peer at `ipv4` says that our time is off by more than its window: use its clock when we write to it. */
  adjustClock(ipv4: number, peerTimeS: number, nowS: number): void {
    this.#offsets.set(ipv4, peerTimeS - nowS)
  }

  /** Seconds that the clock of a peer is ahead of ours. */
  offsetOf(ipv4: number): number {
    return this.#offsets.get(ipv4) ?? 0
  }

  /** Sends what is queued. */
  flush(): void {
    for (let refused = this.#socket.flush(); refused > 0; refused--) this.#drops.add(DROP.SEND_FAILED)
  }

  receive(max: number): number {
    const taken = this.#socket.receive(max, this.#handle)
    for (; this.#oversize < this.#socket.truncated; this.#oversize++) this.#drops.add(DROP.TOO_BIG)
    return taken
  }

  readonly #handle = (buf: Uint8Array, offset: number, length: number, source: number): void => {
    const reason = this.accept(buf, offset, length, source)
    if (reason !== DROP.NONE) this.#drops.add(reason)
  }

  /** One datagram; answers the reason when it goes no further. */
  accept(buf: Uint8Array, offset: number, length: number, source: number): number {
    const header = this.#incoming
    const reason = decodeMappingHeader(buf, offset, length, header)
    if (reason !== DROP.NONE) return reason
    const tunnel = header.kind === KIND.CLASSIFIED ? this.#ownTunnel : ipv4Word(header.node, 0)
    const keys = this.#keys.get(tunnel)
    if (keys === undefined) return DROP.MAPPING_NOT_A_PEER
    const key = keys.get(header.keyNumber)
    if (key === undefined) return DROP.MAPPING_UNKNOWN_KEY
    if (!verifyMappingTag(buf, offset, header, key)) return DROP.MAPPING_BAD_TAG
    const receiver = this.#receivers.get(header.kind)
    if (receiver === undefined) return DROP.MAPPING_WRONG_ROLE
    this.received[header.kind]++
    if (header.innerLength === 0) {
      receiver(header, null, source)
      return DROP.NONE
    }
    const inner = this.#inner
    inner.buf = buf
    inner.offset = header.innerOffset
    inner.length = header.innerLength
    const damaged = parsePacket(buf, inner.offset, inner.length, inner.view)
    if (damaged !== DROP.NONE) return damaged
    if (!innerMatches(header, inner.view, buf, inner.offset)) return DROP.MAPPING_TUPLE_MISMATCH
    inner.length = inner.view.end - inner.offset
    receiver(header, inner, source)
    return DROP.NONE
  }
}
