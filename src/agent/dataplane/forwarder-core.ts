import type { Allotment } from '../classify/allotment.ts'
import type { DirectoryIndex } from './directory.ts'
import { DROP } from './drops.ts'
import { ipv4Word, readFlowKey } from './flow-key.ts'
import { FLOW_FLAG, type FlowTable, LIST } from './flows.ts'
import { type ForwarderPorts, type ForwarderSettings, forwarderCounters } from './forwarder-ports.ts'
import type { HeldPackets } from './held.ts'
import type { IdentifierAllocator } from './identifiers.ts'
import { createMappingHeader, KIND, MAPPING_OVERHEAD_IPV4, type MappingHeader } from './mapping-header.ts'
import { parsePacket } from './packet.ts'
import { createPacketRef, type PacketRef, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from './packet-ref.ts'
import { decrementTtl } from './rewrite.ts'
import { Tally } from './tally.ts'

const UDP = 17
const TCP = 6
/** Milliseconds between two mapping requests for packets that are held, and how often before giving up. */
const RETRY_MS = 20
const RETRIES = 12
const NO_ADDRESS = [0, 0, 0xffff, 0]
const RECENT = 65_536

/**
 * The forwarder's slow path (R-A3, R-E8, decisions 2-4): every packet of a service that the kernel's route
 * table did not forward comes here. Makes no policy of its own: an unknown flow goes to the classifier
 * (`allotment` when that role is on this node, else by datagram). Pure: effects through `ports`, time as an
 * argument.
 *
 * Life of a flow: EMBRYONIC (identifier and mapping travel with each packet) -> the handshake's ACK, or a
 * second packet of UDP or of an adopted flow -> TCP/UDP (tunnelled once the host acknowledged the mapping;
 * plumbed when it proves long) -> FIN or RST -> CLOSING -> purged, identifier quarantined.
 */
export class ForwarderCore {
  readonly counters = forwarderCounters()
  readonly tally = new Tally()
  readonly flows: FlowTable
  readonly #identifiers: IdentifierAllocator
  readonly #held: HeldPackets
  readonly #directory: DirectoryIndex
  readonly #allotment: Allotment
  readonly #ports: ForwarderPorts
  readonly #settings: ForwarderSettings
  #epoch: number
  #sequence = 0
  readonly #key = new Uint32Array(10)
  readonly #header: MappingHeader = createMappingHeader()
  readonly #replay = createPacketRef()

  constructor(parts: {
    flows: FlowTable
    identifiers: IdentifierAllocator
    held: HeldPackets
    directory: DirectoryIndex
    allotment: Allotment
    ports: ForwarderPorts
    settings: ForwarderSettings
  }) {
    this.flows = parts.flows
    this.#identifiers = parts.identifiers
    this.#held = parts.held
    this.#directory = parts.directory
    this.#allotment = parts.allotment
    this.#ports = parts.ports
    this.#settings = parts.settings
    this.#epoch = parts.settings.epoch
  }

  get epoch(): number {
    return this.#epoch
  }

  /** The sequence is one of the last that we sent: bounds what a replayed answer can do. */
  isRecent(sequence: number): boolean {
    return (this.#sequence - sequence) >>> 0 <= RECENT
  }

  /** A packet to a VIP that the kernel did not forward; already parsed, neither fragment nor damaged. */
  packet(packet: PacketRef, nowMs: number): void {
    this.counters.slowPackets++
    readFlowKey(packet.buf, packet.offset, packet.view, this.#key)
    let slot = this.flows.table.find(this.#key)
    if (slot < 0) slot = this.#open(this.#key, packet.view.tcpFlags, nowMs)
    if (slot >= 0) this.#forward(slot, packet, nowMs)
  }

  /** A new entry in the embryonic list; -1 when the packet is for no service. */
  #open(key: Uint32Array, tcpFlags: number, nowMs: number): number {
    const protocol = key[9]
    const service = this.#directory.service(ipv4Word(key, 4), key[8] & 0xffff, protocol)
    if (service === undefined) {
      this.#ports.drop(DROP.NOT_A_SERVICE)
      return -1
    }
    if (this.flows.embryonic >= this.flows.embryonicCapacity) {
      this.#purge(this.flows.table.oldest(LIST.EMBRYONIC), nowMs)
      this.counters.evictedEmbryonic++
    }
    const slot = this.flows.insert(key, service.index, nowMs)
    if (slot < 0) {
      this.#ports.drop(DROP.TABLE_FULL)
      return -1
    }
    this.counters.newFlows++
    if (protocol === TCP && (tcpFlags & TCP_SYN) === 0) {
      this.flows.set(slot, FLOW_FLAG.ADOPTED)
      this.counters.adoptedFlows++
    }
    return slot
  }

  #forward(slot: number, packet: PacketRef, nowMs: number): void {
    const { flows } = this
    flows.slowPackets[slot]++
    this.#transition(slot, packet.view.tcpFlags, nowMs)
    const current = this.#directory.host(flows.host[slot])
    if (current === undefined || (!current.live && isSyn(packet.view.tcpFlags))) {
      if (!this.#settings.hasClassifier) return this.#askClassifier(slot, packet, nowMs)
      const service = this.#directory.directory.services[flows.service[slot]]
      const chosen = this.#allotment.choose(service, flows.table.keys, slot * 10)
      if (chosen === 0) {
        if (current === undefined) this.#purge(slot, nowMs)
        return this.#ports.drop(DROP.NO_HOST)
      }
      if (!this.#assign(slot, chosen, nowMs)) return this.#ports.drop(DROP.IDENTIFIERS_EXHAUSTED)
    }
    this.#send(slot, packet, nowMs)
  }

  /** Moves a flow between lists on what its packet says; every packet that passes is a sign of life. */
  #transition(slot: number, tcpFlags: number, nowMs: number): void {
    const { flows } = this
    const { table } = flows
    const protocol = table.keyWord(slot, 9)
    const list = table.listOf(slot)
    if (protocol === UDP) {
      if (list === LIST.EMBRYONIC && flows.slowPackets[slot] > 1) return this.#promote(slot, LIST.UDP, nowMs)
      return table.touch(slot, nowMs)
    }
    const closes = tcpFlags & (TCP_FIN | TCP_RST)
    if (list === LIST.EMBRYONIC) {
      if (closes === 0 && !isSyn(tcpFlags) && (tcpFlags & TCP_ACK) !== 0) {
        if (!flows.has(slot, FLOW_FLAG.ADOPTED) || flows.slowPackets[slot] > 1) {
          return this.#promote(slot, LIST.TCP, nowMs)
        }
      }
      return table.touch(slot, nowMs)
    }
    if (closes !== 0) {
      flows.set(slot, (closes & TCP_FIN) !== 0 ? FLOW_FLAG.FIN : FLOW_FLAG.RST)
      flows.clear(slot, FLOW_FLAG.SYN_AGAIN)
      return table.move(slot, this.#closingList(slot, nowMs), nowMs)
    }
    if (list === LIST.TCP) return table.touch(slot, nowMs)
    if (isSyn(tcpFlags)) {
      if (!flows.has(slot, FLOW_FLAG.SYN_AGAIN)) {
        this.counters.reusedFlows++
        this.tally.reused(flows.host[slot], flows.service[slot])
      }
      flows.set(slot, FLOW_FLAG.SYN_AGAIN)
      flows.slowPackets[slot] = 1
      return table.touch(slot, nowMs)
    }
    // Data after a RST: the RST was forged or stale. Data after SYN: the ports live again. After FIN: half-closed.
    if (flows.has(slot, FLOW_FLAG.SYN_AGAIN) || !flows.has(slot, FLOW_FLAG.FIN)) {
      flows.clear(slot, FLOW_FLAG.SYN_AGAIN | FLOW_FLAG.FIN | FLOW_FLAG.RST)
      return table.move(slot, LIST.TCP, nowMs)
    }
    table.move(slot, this.#closingList(slot, nowMs), nowMs)
  }

  #closingList(slot: number, nowMs: number): number {
    return this.flows.plumbedUntilMs[slot] > nowMs ? LIST.CLOSING_PLUMBED : LIST.CLOSING
  }

  #promote(slot: number, list: number, nowMs: number): void {
    const { flows } = this
    while (flows.routes >= flows.routeCapacity) {
      const victim = flows.victim()
      if (victim < 0) break
      this.#purge(victim, nowMs)
      this.counters.evictedRoutes++
    }
    this.counters.promotedFlows++
    flows.table.move(slot, list, nowMs)
  }

  /** Gives the flow a host and a fresh identifier; an old one is taken out of the kernel and quarantined. */
  #assign(slot: number, hostIndex: number, nowMs: number): boolean {
    const { flows } = this
    this.#release(slot, nowMs)
    const host = this.#directory.host(hostIndex)
    if (host === undefined) return false
    flows.clear(slot, FLOW_FLAG.MAPPED | FLOW_FLAG.TUNNELLED)
    if (!host.self) {
      const identifier = this.#identifiers.allocate(hostIndex, flows.table.keyWord(slot, 8), slot, nowMs)
      if (identifier === 0) return false
      flows.identifier[slot] = identifier
      flows.firstSequence[slot] = (this.#sequence + 1) >>> 0
    }
    flows.host[slot] = hostIndex
    this.tally.assigned(hostIndex, flows.service[slot])
    return true
  }

  #release(slot: number, nowMs: number): void {
    const { flows } = this
    if (flows.plumbedUntilMs[slot] > nowMs) this.#ports.unplumb(slot)
    flows.plumbedUntilMs[slot] = 0
    if (flows.identifier[slot] !== 0) {
      this.#identifiers.free(flows.identifier[slot], nowMs, flows.has(slot, FLOW_FLAG.TUNNELLED))
      flows.identifier[slot] = 0
    }
    if (flows.host[slot] !== 0) this.tally.released(flows.host[slot], flows.service[slot])
    flows.host[slot] = 0
  }

  #send(slot: number, packet: PacketRef, nowMs: number): void {
    const { flows } = this
    const host = this.#directory.host(flows.host[slot])!
    if (host.self) {
      this.#ports.deliverLocal(packet)
      return this.#maybePlumb(slot, packet, nowMs)
    }
    if (!decrementTtl(packet.buf, packet.offset, packet.view)) return this.#ports.drop(DROP.TTL_EXPIRED)
    const embryonic = flows.table.listOf(slot) === LIST.EMBRYONIC
    if (flows.has(slot, FLOW_FLAG.MAPPED) && !embryonic && !this.#held.has(slot)) {
      flows.set(slot, FLOW_FLAG.TUNNELLED)
      this.#ports.tunnel(packet, flows.identifier[slot], host.index)
      return this.#maybePlumb(slot, packet, nowMs)
    }
    const fits = packet.gsoSize === 0 && packet.length + MAPPING_OVERHEAD_IPV4 <= this.#settings.mtuBytes
    if (fits && !this.#held.has(slot)) return this.#sendMapping(slot, packet)
    this.#hold(slot, packet, nowMs)
    if (this.#held.queues.get(slot)?.packets.length === 1) this.#sendMapping(slot, null)
  }

  #hold(slot: number, packet: PacketRef, nowMs: number): void {
    if (!this.#held.hold(slot, packet, nowMs, nowMs + RETRY_MS)) return this.#ports.drop(DROP.HOLD_FULL)
    this.counters.heldPackets++
  }

  #sendMapping(slot: number, packet: PacketRef | null): void {
    const host = this.#directory.host(this.flows.host[slot])!
    const header = this.#headerFor(slot, KIND.MAP)
    header.identifier = this.flows.identifier[slot]
    header.hostIndex = host.index
    this.counters.mappingsSent++
    this.#ports.datagram(header, host.ipv4, packet)
  }

  #headerFor(slot: number, kind: number): MappingHeader {
    const header = this.#header
    const { keys } = this.flows.table
    const at = slot * 10
    header.kind = kind
    header.epoch = this.#epoch
    this.#sequence = (this.#sequence + 1) >>> 0
    header.sequence = this.#sequence
    header.identifier = 0
    header.hostIndex = 0
    header.protocol = keys[at + 9]
    header.ports = keys[at + 8]
    for (let i = 0; i < 4; i++) {
      header.client[i] = keys[at + i]
      header.vip[i] = keys[at + 4 + i]
      header.node[i] = this.#settings.tunnelWords[i]
    }
    return header
  }

  /** The default route (R-A3): the packet travels to the classifier, or waits when it is too large. */
  #askClassifier(slot: number, packet: PacketRef, nowMs: number): void {
    const classifier = this.#directory.classifier()
    if (classifier === undefined) {
      this.#purge(slot, nowMs)
      return this.#ports.drop(DROP.NO_CLASSIFIER)
    }
    const fits = packet.gsoSize === 0 && packet.length + MAPPING_OVERHEAD_IPV4 <= this.#settings.mtuBytes
    if (!fits || this.#held.has(slot)) this.#hold(slot, packet, nowMs)
    this.counters.classifySent++
    const carried = fits && !this.#held.has(slot) ? packet : null
    this.#ports.datagram(this.#headerFor(slot, KIND.CLASSIFY), classifier.ipv4, carried)
  }

  /** The classifier's answer by datagram, with the packet when it travelled (R-A3). */
  classified(header: MappingHeader, inner: PacketRef | null, nowMs: number): void {
    const host = this.#directory.hostAt(ipv4Word(header.node, 0))
    if (host === undefined) return this.#ports.drop(DROP.NO_HOST)
    if (header.epoch !== this.#epoch) return this.#ports.drop(DROP.MAPPING_OLD_EPOCH)
    if (!this.isRecent(header.sequence)) return this.#ports.drop(DROP.MAPPING_OLD_SEQUENCE)
    headerKey(header, this.#key)
    const slot = this.#route(this.#key, host.index, inner === null ? TCP_SYN : inner.view.tcpFlags, nowMs)
    if (slot < 0) return
    // What travelled came before what waits here, so it does not queue behind it.
    if (inner !== null) this.#sendFirst(slot, inner)
    if (this.#held.has(slot)) this.#sendMappingOrFlush(slot, nowMs)
  }

  #sendFirst(slot: number, inner: PacketRef): void {
    if (this.#directory.host(this.flows.host[slot])?.self) return this.#ports.deliverLocal(inner)
    if (!decrementTtl(inner.buf, inner.offset, inner.view)) return this.#ports.drop(DROP.TTL_EXPIRED)
    this.#sendMapping(slot, inner)
  }

  /** A route from the classifier's kept stream; the datagram that said the same may have been lost. */
  plumbed(key: Uint32Array, hostIpv4: number, nowMs: number): void {
    const host = this.#directory.hostAt(hostIpv4)
    if (host === undefined) return
    const slot = this.#route(key, host.index, TCP_SYN, nowMs)
    if (slot >= 0 && this.#held.has(slot)) this.#sendMappingOrFlush(slot, nowMs)
  }

  #route(key: Uint32Array, hostIndex: number, tcpFlags: number, nowMs: number): number {
    let slot = this.flows.table.find(key)
    if (slot < 0) slot = this.#open(key, tcpFlags, nowMs)
    if (slot < 0) return -1
    const current = this.#directory.host(this.flows.host[slot])
    if (current === undefined || (!current.live && current.index !== hostIndex)) {
      if (!this.#assign(slot, hostIndex, nowMs)) {
        this.#ports.drop(DROP.IDENTIFIERS_EXHAUSTED)
        return -1
      }
    }
    return slot
  }

  #sendMappingOrFlush(slot: number, nowMs: number): void {
    if (this.#directory.host(this.flows.host[slot])?.self) this.#flushHeld(slot, nowMs)
    else this.#sendMapping(slot, null)
  }

  /** The host holds the mapping: packets may go in tunnelled form from here on. */
  acknowledged(header: MappingHeader, fromHostIpv4: number, nowMs: number): void {
    const slot = this.#identifiers.owner(header.identifier)
    if (slot < 0 || header.epoch !== this.#epoch) return this.#ports.drop(DROP.MAPPING_OLD_EPOCH)
    if (this.#directory.host(this.flows.host[slot])?.ipv4 !== fromHostIpv4) {
      return this.#ports.drop(DROP.MAPPING_NOT_A_PEER)
    }
    // An acknowledgement of the identifier's former owner must not open the tunnel for this one.
    if ((header.sequence - this.flows.firstSequence[slot]) >> 0 < 0) {
      return this.#ports.drop(DROP.MAPPING_OLD_SEQUENCE)
    }
    this.counters.mappingsAcknowledged++
    this.flows.set(slot, FLOW_FLAG.MAPPED)
    if (this.#held.has(slot)) this.#flushHeld(slot, nowMs)
  }

  #flushHeld(slot: number, nowMs: number): void {
    const packet = this.#replay
    for (const held of this.#held.take(slot)) {
      packet.buf = held.bytes
      packet.offset = 0
      packet.length = held.bytes.length
      packet.partialChecksum = held.partialChecksum
      packet.gsoSize = held.gsoSize
      packet.gsoType = held.gsoType
      parsePacket(held.bytes, 0, held.bytes.length, packet.view)
      this.flows.set(slot, FLOW_FLAG.TUNNELLED)
      const host = this.#directory.host(this.flows.host[slot])!
      if (host.self) this.#ports.deliverLocal(packet)
      else this.#ports.tunnel(packet, this.flows.identifier[slot], host.index)
    }
    this.flows.table.touch(slot, nowMs)
  }

  /** A host met an identifier that it does not know; answers with its mapping or with UNKNOWN, never silence. */
  asked(identifier: number, fromHostIpv4: number): void {
    const slot = this.#identifiers.owner(identifier)
    if (slot >= 0 && this.#directory.host(this.flows.host[slot])?.ipv4 === fromHostIpv4) {
      this.counters.asksAnswered++
      return this.#sendMapping(slot, null)
    }
    this.counters.asksUnknown++
    const header = this.#header
    header.kind = KIND.UNKNOWN
    header.epoch = this.#epoch
    header.sequence = this.#sequence
    header.identifier = identifier
    header.hostIndex = 0
    header.protocol = 0
    header.ports = 0
    header.client.set(NO_ADDRESS)
    header.vip.set(NO_ADDRESS)
    header.node.set(this.#settings.tunnelWords)
    this.#ports.datagram(header, fromHostIpv4, null)
  }

  #maybePlumb(slot: number, packet: PacketRef, nowMs: number): void {
    const { flows } = this
    if (flows.slowPackets[slot] < this.#settings.plumbAfterPackets || flows.plumbedUntilMs[slot] > nowMs)
      return
    if ((packet.view.tcpFlags & (TCP_SYN | TCP_RST | TCP_FIN)) !== 0 && packet.view.protocol === TCP) return
    const list = flows.table.listOf(slot)
    if (list === LIST.EMBRYONIC) return
    flows.plumbedUntilMs[slot] = nowMs + this.#settings.timeouts.routeLease
    if (list === LIST.CLOSING) flows.table.move(slot, LIST.CLOSING_PLUMBED, nowMs)
    this.counters.plumbs++
    this.#ports.plumb(slot)
  }

  /** The kernel refused the route of `slot`: the slow path goes on carrying the flow, and tries again later. */
  plumbFailed(slot: number): void {
    this.counters.plumbFailures++
    this.flows.plumbedUntilMs[slot] = 0
    this.flows.slowPackets[slot] = 0
  }

  /** Forget a route by key (unplumb order of a classifier). */
  unplumbed(key: Uint32Array, nowMs: number): void {
    const slot = this.flows.table.find(key)
    if (slot >= 0) this.#purge(slot, nowMs)
  }

  /**
   * A host knows a later epoch of this tunnel address than ours (state directory lost): go past it. Every
   * mapping is established anew before anything is tunnelled again.
   */
  advanceEpoch(epoch: number, nowMs: number): boolean {
    if ((epoch - this.#epoch) >> 0 < 0) return false
    this.#epoch = (epoch + 1) >>> 0
    const { flows } = this
    for (const list of Object.values(LIST)) {
      for (let slot = flows.table.oldest(list); slot >= 0; slot = flows.table.newer(slot)) {
        if (flows.plumbedUntilMs[slot] > nowMs) this.#ports.unplumb(slot)
        flows.plumbedUntilMs[slot] = 0
        flows.clear(slot, FLOW_FLAG.MAPPED)
      }
    }
    return true
  }

  /** Time-outs and retries; bounded work a call. Call at least every `RETRY_MS` while packets are held. */
  tick(nowMs: number, maxWork = 4096): void {
    const { timeouts } = this.#settings
    let work = maxWork
    work = this.#expire(LIST.EMBRYONIC, timeouts.embryonic, nowMs, work)
    work = this.#expire(LIST.CLOSING, timeouts.linger, nowMs, work)
    work = this.#expire(LIST.CLOSING_PLUMBED, timeouts.routeLease + timeouts.linger, nowMs, work)
    const margin = timeouts.routeLease + timeouts.linger
    work = this.#expire(LIST.UDP, Math.max(timeouts.udpIdle, margin), nowMs, work)
    work = this.#expire(LIST.TCP, Math.max(timeouts.tcpIdle, margin), nowMs, work)
    this.#identifiers.expire(nowMs, work)
    if (this.#held.size > 0) this.#retry(nowMs)
  }

  #expire(list: number, timeoutMs: number, nowMs: number, work: number): number {
    const { table } = this.flows
    while (work > 0) {
      const slot = table.oldest(list)
      if (slot < 0 || nowMs - table.lastUse[slot] < timeoutMs) return work
      this.#purge(slot, nowMs)
      work--
    }
    return work
  }

  #retry(nowMs: number): void {
    for (const [slot, queue] of this.#held.queues) {
      if (queue.retryAtMs > nowMs) continue
      if (++queue.tries > RETRIES) {
        for (const _ of this.#held.take(slot)) this.#ports.drop(DROP.HOLD_TIMEOUT)
        continue
      }
      queue.retryAtMs = nowMs + RETRY_MS * Math.min(2 ** (queue.tries >> 1), 16)
      const classifier = this.#directory.classifier()
      if (this.flows.host[slot] !== 0) this.#sendMapping(slot, null)
      else if (classifier !== undefined) {
        this.#ports.datagram(this.#headerFor(slot, KIND.CLASSIFY), classifier.ipv4, null)
      }
    }
  }

  #purge(slot: number, nowMs: number): void {
    for (const _ of this.#held.take(slot)) this.#ports.drop(DROP.HOLD_TIMEOUT)
    this.#ports.ended(slot)
    this.#release(slot, nowMs)
    this.counters.endedFlows++
    this.flows.table.remove(slot)
  }
}

const isSyn = (tcpFlags: number): boolean => (tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN

const headerKey = (header: MappingHeader, key: Uint32Array): void => {
  for (let i = 0; i < 4; i++) {
    key[i] = header.client[i]
    key[4 + i] = header.vip[i]
  }
  key[8] = header.ports
  key[9] = header.protocol
}
