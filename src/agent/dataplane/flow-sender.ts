import type { DirectoryIndex } from './directory.ts'
import { DROP } from './drops.ts'
import type { FlowLife } from './flow-life.ts'
import type { FlowMapping } from './flow-mapping.ts'
import { FLOW_FLAG, type FlowTable, LIST } from './flows.ts'
import type { ForwarderCounters, ForwarderPorts, ForwarderSettings } from './forwarder-ports.ts'
import { type HeldPackets, loadHeld } from './held.ts'
import { RETRY_MS, retryHeld } from './held-retry.ts'
import type { IdentifierAllocator } from './identifiers.ts'
import { mappingOverhead } from './mapping-header.ts'
import { PROTOCOL_TCP as TCP } from './packet.ts'
import { createPacketRef, isSyn, type PacketRef, TCP_FIN, TCP_RST, TCP_SYN } from './packet-ref.ts'
import { leaseEnd } from './plumber.ts'
import { decrementTtl } from './rewrite.ts'

/** Of the packets of a flow whose mapping nobody has acknowledged, each so many-th is followed by the mapping alone. */
const REMIND_EACH = 8

/** How the packets of a flow get to its host, or to the classifier that has to name one: tunnelled, with their mapping, whole, or held until one of these is possible. */
export class FlowSender {
  readonly #flows: FlowTable
  readonly #life: FlowLife
  readonly #mapping: FlowMapping
  readonly #identifiers: IdentifierAllocator
  readonly #held: HeldPackets
  readonly #directory: DirectoryIndex
  readonly #ports: ForwarderPorts
  readonly #settings: ForwarderSettings
  readonly #counters: ForwarderCounters
  readonly #replay = createPacketRef()

  constructor(
    parts: {
      readonly flows: FlowTable
      readonly life: FlowLife
      readonly mapping: FlowMapping
      readonly identifiers: IdentifierAllocator
      readonly held: HeldPackets
      readonly directory: DirectoryIndex
      readonly ports: ForwarderPorts
      readonly settings: ForwarderSettings
    },
    counters: ForwarderCounters,
  ) {
    this.#flows = parts.flows
    this.#life = parts.life
    this.#mapping = parts.mapping
    this.#identifiers = parts.identifiers
    this.#held = parts.held
    this.#directory = parts.directory
    this.#ports = parts.ports
    this.#settings = parts.settings
    this.#counters = counters
  }

  /** Packets of the flow wait here. */
  holds(slot: number): boolean {
    return this.#held.has(slot)
  }

  /** No packet may go to the flow's host now; the flow waits for it to become active again, or for its own end. */
  isInactive(slot: number): boolean {
    return this.#directory.isInactive(this.#flows.service[slot], this.#flows.host[slot])
  }

  /** To the flow's host. */
  send(slot: number, packet: PacketRef, nowMs: number): void {
    const flows = this.#flows
    const host = this.#directory.host(flows.host[slot])!
    const tunnels = flows.has(slot, FLOW_FLAG.MAPPED) && this.#mayTunnel(slot) && !this.#held.has(slot)
    if (!host.self && !decrementTtl(packet.buf, packet.offset, packet.view))
      return this.#ports.drop(DROP.TTL_EXPIRED, packet)
    if (host.self || tunnels || this.#isEncapsulated(slot)) {
      this.#deliver(slot, packet)
      return this.#maybePlumb(slot, packet, nowMs)
    }
    if (this.#fits(packet) && !this.#held.has(slot)) {
      this.#mapping.sendMapping(slot, packet)
      // Its host's agent does not answer; its kernel does (bpf/learn-answer.h), but only to what carries no packet.
      const opens = packet.view.protocol === TCP && isSyn(packet.view.tcpFlags)
      if (!opens && flows.slowPackets[slot] % REMIND_EACH === 0) this.remind(slot)
      return
    }
    this.#hold(slot, packet, nowMs)
    if (this.#held.queues.get(slot)?.packets.length === 1) this.#mapping.sendMapping(slot, null)
  }

  /** Sends the mapping of a flow that its host has not acknowledged once more, by itself. False: there is no need. */
  remind(slot: number): boolean {
    const flows = this.#flows
    if (flows.has(slot, FLOW_FLAG.MAPPED) || flows.identifier[slot] === 0) return false
    if (this.isInactive(slot) || this.#isEncapsulated(slot)) return false
    this.#mapping.sendMapping(slot, null)
    return true
  }

  /** One that has been to the classifier and back. */
  sendFirst(slot: number, inner: PacketRef): void {
    if (this.isInactive(slot)) return this.#ports.drop(DROP.INACTIVE)
    if (this.#directory.host(this.#flows.host[slot])?.self) return this.#ports.deliverLocal(inner)
    if (!decrementTtl(inner.buf, inner.offset, inner.view)) return this.#ports.drop(DROP.TTL_EXPIRED, inner)
    if (this.#isEncapsulated(slot)) return this.#ports.encapsulate(inner, this.#flows.host[slot])
    this.#mapping.sendMapping(slot, inner)
  }

  /** The default route (R-A3): the packet travels to the classifier, or waits when it is too large. */
  askClassifier(slot: number, packet: PacketRef, nowMs: number): void {
    const classifier = this.#directory.classifier()
    if (classifier === undefined) {
      this.#life.purge(slot, nowMs)
      return this.#ports.drop(DROP.NO_CLASSIFIER)
    }
    if (this.#fits(packet) && !this.#held.has(slot))
      return this.#mapping.askClassifier(slot, classifier.ipv4, packet)
    if (!decrementTtl(packet.buf, packet.offset, packet.view))
      return this.#ports.drop(DROP.TTL_EXPIRED, packet)
    this.#hold(slot, packet, nowMs)
    this.#mapping.askClassifier(slot, classifier.ipv4, null)
  }

  /** What waits goes on, or its way is asked for. */
  sendMappingOrFlush(slot: number, nowMs: number): void {
    if (this.#directory.host(this.#flows.host[slot])?.self || this.#isEncapsulated(slot))
      this.flush(slot, nowMs)
    else this.#mapping.sendMapping(slot, null)
  }

  /** What waits goes to the flow's host, in order. */
  flush(slot: number, nowMs: number): void {
    const packet = this.#replay
    const inactive = this.isInactive(slot)
    for (const held of this.#held.take(slot)) {
      loadHeld(packet, held)
      if (inactive) this.#ports.drop(DROP.INACTIVE)
      else this.#deliver(slot, packet)
    }
    this.#life.holds(slot)
    this.#flows.table.touch(slot, nowMs)
  }

  /** Call at least every `RETRY_MS` while packets are held. */
  tick(nowMs: number): void {
    if (this.#held.size === 0) return
    const retry = (slot: number): void => this.sendMappingOrFlush(slot, nowMs)
    const holds = (slot: number): void => this.#life.holds(slot)
    retryHeld(this.#flows, this.#held, this.#directory, this.#mapping, this.#ports, nowMs, retry, holds)
  }

  /** Out, in the form of the flow's service; whether its host holds a mapping, if that form needs one, was seen to. */
  #deliver(slot: number, packet: PacketRef): void {
    const { self, index } = this.#directory.host(this.#flows.host[slot])!
    if (self) return this.#ports.deliverLocal(packet)
    if (this.#isEncapsulated(slot)) return this.#ports.encapsulate(packet, index)
    this.#flows.set(slot, FLOW_FLAG.TUNNELLED)
    this.#ports.tunnel(packet, this.#flows.identifier[slot], index)
  }

  /** The flow's packets go whole, in others (R-A4): no mapping is needed for them. */
  #isEncapsulated(slot: number): boolean {
    return this.#directory.serviceAt(this.#flows.service[slot])?.delivery === 'encapsulate'
  }

  /**
   * The tunnelled form costs a quarantine when the flow ends. A half-open flow never gets it; once half of the identifiers
   * are taken, neither do flows that have not proven themselves: their packets go on in the self-describing form. So
   * quarantine never fills more than that half, and the other half has room for every flow of a full table.
   */
  #mayTunnel(slot: number): boolean {
    if (this.#flows.table.listOf(slot) === LIST.EMBRYONIC) return false
    const { inUse, quarantined, capacity } = this.#identifiers
    return (inUse + quarantined) * 2 < capacity || this.#life.isProven(slot)
  }

  #hold(slot: number, packet: PacketRef, nowMs: number): void {
    if (!this.#held.hold(slot, packet, nowMs, nowMs + RETRY_MS)) return this.#ports.drop(DROP.HOLD_FULL)
    this.#counters.heldPackets++
    if (this.#held.queues.get(slot)?.packets.length === 1) this.#life.holds(slot)
  }

  #fits(packet: PacketRef): boolean {
    return (
      packet.gsoSize === 0 && packet.length + mappingOverhead(packet.view.family) <= this.#settings.mtuBytes
    )
  }

  #maybePlumb(slot: number, packet: PacketRef, nowMs: number): void {
    const flows = this.#flows
    if (flows.knownPackets(slot) < this.#settings.plumbAfterPackets || flows.plumbedUntilMs[slot] > nowMs)
      return
    if ((packet.view.tcpFlags & (TCP_SYN | TCP_RST | TCP_FIN)) !== 0 && packet.view.protocol === TCP) return
    const list = flows.table.listOf(slot)
    if (list === LIST.EMBRYONIC || (this.#isEncapsulated(slot) && !this.#settings.encapsulates)) return
    flows.plumbedUntilMs[slot] = leaseEnd(this.#settings, nowMs)
    if (list === LIST.CLOSING) flows.table.move(slot, LIST.CLOSING_PLUMBED, nowMs)
    this.#counters.plumbs++
    this.#life.unembryo(slot)
    this.#ports.plumb(slot)
  }
}
