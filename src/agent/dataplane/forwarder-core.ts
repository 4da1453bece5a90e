import type { Allotment } from '../classify/allotment.ts'
import type { DirectoryIndex, HostEntry } from './directory.ts'
import { DROP } from './drops.ts'
import { ErrorRoutes } from './error-routes.ts'
import { ipv4Word, readFlowKey } from './flow-key.ts'
import { FlowLife, type FlowLifeParts } from './flow-life.ts'
import { FlowMapping, headerKey, type SequenceCounter } from './flow-mapping.ts'
import { FLOW_FLAG, type FlowTable, LIST } from './flows.ts'
import { type ForwarderPorts, type ForwarderSettings, forwarderCounters } from './forwarder-ports.ts'
import { type HeldPackets, loadHeld } from './held.ts'
import { RETRY_MS, retryHeld } from './held-retry.ts'
import type { IdentifierAllocator } from './identifiers.ts'
import { KernelFlows } from './kernel-flows.ts'
import { type MappingHeader, mappingOverhead } from './mapping-header.ts'
import { PROTOCOL_TCP as TCP } from './packet.ts'
import { createPacketRef, isSyn, type PacketRef, TCP_FIN, TCP_RST, TCP_SYN } from './packet-ref.ts'
import { leaseEnd } from './plumber.ts'
import { decrementTtl } from './rewrite.ts'
import { Withdrawal } from './withdrawal.ts'

/** Of the packets of a flow whose mapping nobody has acknowledged, each so many-th is followed by the mapping alone. */
const REMIND_EACH = 8

/**
 * The forwarder's slow path (R-A3, R-E8, decisions 2-4): every packet of a service that the kernel's route table did not forward
 * comes here. Makes no policy of its own: an unknown flow goes to the classifier (`allotment` when that role is on this node, else
 * by datagram). Pure: effects through `ports`, time as an argument.
 */
export class ForwarderCore {
  readonly counters = forwarderCounters()
  readonly flows: FlowTable
  /** What the kernel does by itself. */
  readonly kernel: KernelFlows
  readonly #withdrawal: Withdrawal
  readonly #life: FlowLife
  readonly #mapping: FlowMapping
  /** Where ICMP errors about flows go. */
  readonly errors: ErrorRoutes
  readonly #identifiers: IdentifierAllocator
  readonly #held: HeldPackets
  readonly #directory: DirectoryIndex
  readonly #allotment: Allotment
  readonly #ports: ForwarderPorts
  readonly #settings: ForwarderSettings
  readonly #key = new Uint32Array(10)
  readonly #replay = createPacketRef()

  constructor(parts: FlowLifeParts & { readonly allotment: Allotment; readonly sequence?: SequenceCounter }) {
    this.flows = parts.flows
    this.#withdrawal = new Withdrawal(parts)
    this.#life = new FlowLife(parts, this.counters)
    this.kernel = new KernelFlows({ ...parts, life: this.#life })
    this.#mapping = new FlowMapping(parts, this.counters)
    this.#identifiers = parts.identifiers
    this.#held = parts.held
    this.#directory = parts.directory
    this.#allotment = parts.allotment
    this.#ports = parts.ports
    this.#settings = parts.settings
    this.errors = new ErrorRoutes({
      ...{ ...parts, life: this.#life, mapping: this.#mapping },
      known: (key, nowMs) => this.#known(key, nowMs),
      open: (key, nowMs) => this.#open(key, 0, nowMs),
    })
  }

  /** Flows and connections by host and by service. */
  get tally(): FlowLife['tally'] {
    return this.#life.tally
  }

  get epoch(): number {
    return this.#mapping.epoch
  }

  /** See FlowMapping.isRecent. */
  isRecent(sequence: number): boolean {
    return this.#mapping.isRecent(sequence)
  }

  /** A packet to a VIP that the kernel did not forward; already parsed, neither fragment nor damaged. */
  packet(packet: PacketRef, nowMs: number): void {
    this.counters.slowPackets++
    readFlowKey(packet.buf, packet.offset, packet.view, this.#key)
    let slot = this.#known(this.#key, nowMs)
    if (slot < 0) slot = this.#open(this.#key, packet.view.tcpFlags, nowMs)
    if (slot >= 0) this.#forward(slot, packet, nowMs)
  }

  /** The slot of a flow that the agent has, or the kernel; -1: neither has. */
  #known(key: Uint32Array, nowMs: number): number {
    const slot = this.flows.table.find(key)
    return slot >= 0 ? slot : this.kernel.search(key, this.#mapping.nextSequence, nowMs)
  }

  /** A new entry in the embryonic list; -1 when the packet is for no service. */
  #open(key: Uint32Array, tcpFlags: number, nowMs: number): number {
    const protocol = key[9]
    const service = this.#directory.serviceOf(key, 0)
    if (service === undefined) {
      this.#ports.drop(DROP.NOT_A_SERVICE)
      return -1
    }
    this.#life.makeRoom(nowMs)
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
    this.#life.transition(slot, packet.view.tcpFlags, nowMs)
    const current = this.#directory.host(flows.host[slot])
    if (current === undefined || (isSyn(packet.view.tcpFlags) && !this.#keeps(slot, current))) {
      if (!this.#settings.hasClassifier) return this.#askClassifier(slot, packet, nowMs)
      const service = this.#directory.serviceAt(flows.service[slot])!
      const opens = packet.view.protocol !== TCP || isSyn(packet.view.tcpFlags)
      const chosen = this.#allotment.choose(service, flows.table.keys, slot * 10, opens)
      if (chosen === 0) {
        if (current === undefined) this.#life.purge(slot, nowMs)
        return this.#ports.drop(DROP.NO_HOST)
      }
      if (!this.#life.assign(slot, chosen, this.#mapping.nextSequence, nowMs))
        return this.#ports.drop(DROP.IDENTIFIERS_EXHAUSTED)
    } else if (this.#isInactive(slot)) return this.#ports.drop(DROP.INACTIVE)
    this.#send(slot, packet, nowMs)
  }

  /** No packet may go to the flow's host now; the flow waits for it to become active again, or for its own end. */
  #isInactive(slot: number): boolean {
    return this.#directory.isInactive(this.flows.service[slot], this.flows.host[slot])
  }

  /**
   * Whether a SYN leaves the flow at its host. It opens a new connection on ports whose last one has ended, and on a flow
   * that is known only by a late route of the classifier; then the host must be one for new connections. One that is repeated stays,
   * but for a host that is inactive: nobody has answered it.
   */
  #keeps(slot: number, host: HostEntry): boolean {
    const { flows } = this
    const embryonic = flows.table.listOf(slot) === LIST.EMBRYONIC
    const unused = embryonic && flows.slowPackets[slot] <= 1
    if (!unused && !flows.has(slot, FLOW_FLAG.SYN_AGAIN))
      return host.live && !(embryonic && this.#isInactive(slot))
    return this.#directory.takesNew(this.#directory.serviceAt(flows.service[slot]), host)
  }

  #send(slot: number, packet: PacketRef, nowMs: number): void {
    const { flows } = this
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
    const { flows } = this
    if (flows.has(slot, FLOW_FLAG.MAPPED) || flows.identifier[slot] === 0) return false
    if (this.#isInactive(slot) || this.#isEncapsulated(slot)) return false
    this.#mapping.sendMapping(slot, null)
    return true
  }

  /** Out, in the form of the flow's service; whether its host holds a mapping, if that form needs one, was seen to. */
  #deliver(slot: number, packet: PacketRef): void {
    const { self, index } = this.#directory.host(this.flows.host[slot])!
    if (self) return this.#ports.deliverLocal(packet)
    if (this.#isEncapsulated(slot)) return this.#ports.encapsulate(packet, index)
    this.flows.set(slot, FLOW_FLAG.TUNNELLED)
    this.#ports.tunnel(packet, this.flows.identifier[slot], index)
  }

  /** The flow's packets go whole, in others (R-A4): no mapping is needed for them. */
  #isEncapsulated(slot: number): boolean {
    return this.#directory.serviceAt(this.flows.service[slot])?.delivery === 'encapsulate'
  }

  /**
   * The tunnelled form costs a quarantine when the flow ends. A half-open flow never gets it; once half of the identifiers
   * are taken, neither do flows that have not proven themselves: their packets go on in the self-describing form. So
   * quarantine never fills more than that half, and the other half has room for every flow of a full table.
   */
  #mayTunnel(slot: number): boolean {
    if (this.flows.table.listOf(slot) === LIST.EMBRYONIC) return false
    const { inUse, quarantined, capacity } = this.#identifiers
    return (inUse + quarantined) * 2 < capacity || this.#life.isProven(slot)
  }

  #hold(slot: number, packet: PacketRef, nowMs: number): void {
    if (!this.#held.hold(slot, packet, nowMs, nowMs + RETRY_MS)) return this.#ports.drop(DROP.HOLD_FULL)
    this.counters.heldPackets++
  }

  /** The default route (R-A3): the packet travels to the classifier, or waits when it is too large. */
  #askClassifier(slot: number, packet: PacketRef, nowMs: number): void {
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

  #fits(packet: PacketRef): boolean {
    return (
      packet.gsoSize === 0 && packet.length + mappingOverhead(packet.view.family) <= this.#settings.mtuBytes
    )
  }

  /** The classifier's answer by datagram, with the packet when it travelled (R-A3). */
  classified(header: MappingHeader, inner: PacketRef | null, nowMs: number): void {
    const host = this.#directory.hostAt(ipv4Word(header.node, 0))
    if (host === undefined) return this.#ports.drop(DROP.NO_HOST)
    if (header.epoch !== this.epoch) return this.#ports.drop(DROP.MAPPING_OLD_EPOCH)
    if (!this.isRecent(header.sequence)) return this.#ports.drop(DROP.MAPPING_OLD_SEQUENCE)
    headerKey(header, this.#key)
    const slot = this.#route(this.#key, host.index, inner === null ? TCP_SYN : inner.view.tcpFlags, nowMs)
    if (slot < 0) return
    if (inner !== null) this.#sendFirst(slot, inner) // came before what waits here
    if (this.#held.has(slot)) this.#sendMappingOrFlush(slot, nowMs)
  }

  #sendFirst(slot: number, inner: PacketRef): void {
    if (this.#isInactive(slot)) return this.#ports.drop(DROP.INACTIVE)
    if (this.#directory.host(this.flows.host[slot])?.self) return this.#ports.deliverLocal(inner)
    if (!decrementTtl(inner.buf, inner.offset, inner.view)) return this.#ports.drop(DROP.TTL_EXPIRED, inner)
    if (this.#isEncapsulated(slot)) return this.#ports.encapsulate(inner, this.flows.host[slot])
    this.#mapping.sendMapping(slot, inner)
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
    if (current === undefined || (current.index !== hostIndex && !this.#keeps(slot, current))) {
      if (!this.#life.assign(slot, hostIndex, this.#mapping.nextSequence, nowMs)) {
        this.#ports.drop(DROP.IDENTIFIERS_EXHAUSTED)
        return -1
      }
    }
    return slot
  }

  #sendMappingOrFlush(slot: number, nowMs: number): void {
    if (this.#directory.host(this.flows.host[slot])?.self || this.#isEncapsulated(slot))
      this.#flushHeld(slot, nowMs)
    else this.#mapping.sendMapping(slot, null)
  }

  /** The host holds the mapping: packets may go in tunnelled form from here on. */
  acknowledged(header: MappingHeader, fromHostIpv4: number, nowMs: number): void {
    const slot = this.#identifiers.owner(header.identifier)
    if (slot < 0 || header.epoch !== this.epoch) return this.#ports.drop(DROP.MAPPING_OLD_EPOCH)
    if (this.#directory.host(this.flows.host[slot])?.ipv4 !== fromHostIpv4) {
      return this.#ports.drop(DROP.MAPPING_NOT_A_PEER)
    }
    // An acknowledgement of the identifier's former owner must not open the tunnel for this one.
    if ((header.sequence - this.flows.firstSequence[slot]) >> 0 < 0) {
      return this.#ports.drop(DROP.MAPPING_OLD_SEQUENCE)
    }
    this.#life.acknowledged(slot, false)
    if (this.#held.has(slot)) this.#flushHeld(slot, nowMs)
  }

  #flushHeld(slot: number, nowMs: number): void {
    const packet = this.#replay
    const inactive = this.#isInactive(slot)
    for (const held of this.#held.take(slot)) {
      loadHeld(packet, held)
      if (inactive) this.#ports.drop(DROP.INACTIVE)
      else this.#deliver(slot, packet)
    }
    this.flows.table.touch(slot, nowMs)
  }

  /** A host met an identifier that it does not know; answers with its mapping or with UNKNOWN, never silence. */
  asked(identifier: number, fromHostIpv4: number): void {
    const slot = this.#identifiers.owner(identifier)
    if (slot >= 0 && this.#directory.host(this.flows.host[slot])?.ipv4 === fromHostIpv4) {
      this.counters.asksAnswered++
      return this.#mapping.sendMapping(slot, null)
    }
    this.counters.asksUnknown++
    this.#mapping.sendUnknown(identifier, fromHostIpv4)
  }

  #maybePlumb(slot: number, packet: PacketRef, nowMs: number): void {
    const { flows } = this
    if (flows.knownPackets(slot) < this.#settings.plumbAfterPackets || flows.plumbedUntilMs[slot] > nowMs)
      return
    if ((packet.view.tcpFlags & (TCP_SYN | TCP_RST | TCP_FIN)) !== 0 && packet.view.protocol === TCP) return
    const list = flows.table.listOf(slot)
    if (list === LIST.EMBRYONIC || (this.#isEncapsulated(slot) && !this.#settings.encapsulates)) return
    flows.plumbedUntilMs[slot] = leaseEnd(this.#settings, nowMs)
    if (list === LIST.CLOSING) flows.table.move(slot, LIST.CLOSING_PLUMBED, nowMs)
    this.counters.plumbs++
    this.#life.unembryo(slot)
    this.#ports.plumb(slot)
  }

  /** The kernel refused the route of `slot`: the slow path goes on carrying the flow, and tries again later. */
  plumbFailed(slot: number): void {
    this.counters.plumbFailures++
    this.flows.plumbedUntilMs[slot] = 0
    this.flows.slowPackets[slot] = 0
    this.flows.kernelPackets[slot] = 0
  }

  /** Forget a route by key (unplumb order of a classifier). */
  unplumbed(key: Uint32Array, nowMs: number): void {
    const slot = this.flows.table.find(key)
    if (slot >= 0) this.#life.purge(slot, nowMs)
  }

  /**
   * A host knows a later epoch of this tunnel address than ours (state directory lost): go past it. Every
   * mapping is established anew before anything is tunnelled again.
   */
  advanceEpoch(epoch: number, nowMs: number): boolean {
    // Not for one that is ours: a host refuses an old message of ours, replayed by somebody, in the name of the newest.
    if ((epoch - this.epoch) >> 0 <= 0) return false
    this.#mapping.epoch = (epoch + 1) >>> 0
    this.unplumbAll(nowMs)
    const { flows } = this
    for (const slot of flows.table.select(() => true)) flows.clear(slot, FLOW_FLAG.MAPPED)
    return true
  }

  /** Every route, or those of some slots, out of the kernel. */
  unplumbAll(nowMs: number, which = (_slot: number): boolean => true): void {
    const { flows } = this
    const plumbed = flows.table.select(slot => flows.plumbedUntilMs[slot] > nowMs && which(slot))
    if (plumbed.length > 0) this.#ports.unplumbAll(plumbed)
    for (const slot of plumbed) flows.plumbedUntilMs[slot] = 0
  }

  /** The kernel has dropped all routes by itself. */
  forgetRoutes(): void {
    this.flows.plumbedUntilMs.fill(0)
  }

  /** The role goes: every flow ends, and what was tunnelled under an identifier dies out in its quarantine. */
  endAll(nowMs: number): void {
    for (const slot of this.flows.table.select(() => true)) this.#life.purge(slot, nowMs)
  }

  /**
   * The directory, or the settings, have changed: flows of services and hosts that are gone end, their identifiers rest, their
   * routes have left the kernel when this returns; all others stay as they are.
   * @param leaseWasMs the route lease in force until now
   */
  reconfigured(leaseWasMs: number, nowMs: number): void {
    this.#life.leaseWas(leaseWasMs, nowMs)
    this.#life.forgetVanished(nowMs)
  }

  /**
   * Directives have changed: the routes of flows whose host is inactive leave the kernel, some at once and the rest in `withdraw`. Until
   * `isWithdrawing` is false, packets may still follow them.
   */
  directed(nowMs: number): void {
    this.#withdrawal.begin(nowMs)
    this.#withdrawal.step(nowMs)
  }

  get isWithdrawing(): boolean {
    return this.#withdrawal.isPending
  }

  withdraw(nowMs: number): void {
    this.#withdrawal.step(nowMs)
  }

  /** Time-outs and retries; bounded work a call. Call at least every `RETRY_MS` while packets are held. */
  tick(nowMs: number, maxWork = 4096): void {
    this.#identifiers.expire(nowMs, this.#life.tick(nowMs, maxWork))
    if (this.#held.size === 0) return
    retryHeld(this.flows, this.#held, this.#directory, this.#mapping, this.#ports, nowMs, slot =>
      this.#sendMappingOrFlush(slot, nowMs),
    )
  }
}
