import { type Allotment, WAITS } from '../classify/allotment.ts'
import type { DirectoryIndex, HostEntry } from './directory.ts'
import { DROP } from './drops.ts'
import { ErrorRoutes } from './error-routes.ts'
import type { FirstClients } from './first-clients.ts'
import type { FlowAtoms } from './flow-atoms.ts'
import { FlowDoubts } from './flow-doubts.ts'
import { ipv4Word, readFlowKey } from './flow-key.ts'
import { FlowLife, type FlowLifeParts } from './flow-life.ts'
import { FlowMapping, headerKey, type SequenceCounter } from './flow-mapping.ts'
import { FlowSender } from './flow-sender.ts'
import { FLOW_FLAG, type FlowTable, LIST, ORIGIN } from './flows.ts'
import { type ForwarderPorts, type ForwarderSettings, forwarderCounters } from './forwarder-ports.ts'
import type { IdentifierAllocator } from './identifiers.ts'
import { KernelFlows } from './kernel-flows.ts'
import type { MappingHeader } from './mapping-header.ts'
import { MidFlow } from './mid-flow.ts'
import { PROTOCOL_TCP as TCP } from './packet.ts'
import { isSyn, type PacketRef, TCP_SYN } from './packet-ref.ts'
import type { Resolution } from './resolution.ts'
import { Withdrawal } from './withdrawal.ts'

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
  /** Packets of flows that began elsewhere. */
  readonly midFlow: MidFlow
  /** Flows whose end may have passed unseen. */
  readonly doubts: FlowDoubts
  /** Where ICMP errors about flows go. */
  readonly errors: ErrorRoutes
  readonly #identifiers: IdentifierAllocator
  readonly #sender: FlowSender
  readonly #directory: DirectoryIndex
  readonly #allotment: Allotment
  readonly #clients: Pick<FirstClients, 'hold'> | undefined
  readonly #ports: ForwarderPorts
  readonly #settings: ForwarderSettings
  readonly #key = new Uint32Array(10)

  constructor(
    parts: FlowLifeParts & {
      readonly allotment: Allotment
      readonly resolution: Resolution
      /** Left out: nobody is asked about clients. */
      readonly clients?: Pick<FirstClients, 'hold'>
      readonly sequence?: SequenceCounter
    },
  ) {
    this.flows = parts.flows
    this.#withdrawal = new Withdrawal(parts)
    this.#life = new FlowLife(parts, this.counters)
    this.kernel = new KernelFlows({ ...parts, life: this.#life })
    this.#mapping = new FlowMapping(parts, this.counters)
    this.#identifiers = parts.identifiers
    this.#sender = new FlowSender({ ...parts, life: this.#life, mapping: this.#mapping }, this.counters)
    this.#directory = parts.directory
    this.#allotment = parts.allotment
    this.#clients = parts.clients
    this.#ports = parts.ports
    this.#settings = parts.settings
    this.doubts = new FlowDoubts({ ...parts, life: this.#life })
    this.midFlow = new MidFlow({
      ...{ ...parts, life: this.#life, mapping: this.#mapping, doubts: this.doubts },
      known: (key, nowMs) => this.#known(key, nowMs),
      open: (key, tcpFlags, nowMs) => this.#open(key, tcpFlags, nowMs),
      forward: (slot, packet, nowMs) => this.#forward(slot, packet, nowMs),
    })
    this.errors = new ErrorRoutes({
      ...{ ...parts, life: this.#life, mapping: this.#mapping },
      known: (key, nowMs) => this.#known(key, nowMs),
      open: (key, nowMs) => {
        const slot = this.#open(key, 0, nowMs)
        if (slot >= 0) this.midFlow.guessed(slot, nowMs)
        return slot
      },
    })
  }

  /** What others are told of its routes. */
  get atoms(): FlowAtoms {
    return this.#life.atoms
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
    if (this.midFlow.takes(slot, this.#key, packet, nowMs)) return
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
      if (!this.#settings.hasClassifier) return this.#sender.askClassifier(slot, packet, nowMs)
      const service = this.#directory.serviceAt(flows.service[slot])!
      const opens = packet.view.protocol !== TCP || isSyn(packet.view.tcpFlags)
      const chosen = this.#allotment.choose(service, flows.table.keys, slot * 10, opens)
      if (chosen === WAITS) return this.#clients?.hold(service, flows.table.keys, slot * 10, packet, nowMs)
      if (chosen === 0) {
        if (current === undefined) this.#life.purge(slot, nowMs)
        return this.#ports.drop(DROP.NO_HOST)
      }
      if (!this.#life.assign(slot, chosen, this.#mapping.nextSequence, nowMs))
        return this.#ports.drop(DROP.IDENTIFIERS_EXHAUSTED)
    } else if (this.#sender.isInactive(slot)) return this.#ports.drop(DROP.INACTIVE)
    this.#sender.send(slot, packet, nowMs)
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
      return host.live && !(embryonic && this.#sender.isInactive(slot))
    return this.#directory.takesNew(this.#directory.serviceAt(flows.service[slot]), host)
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
    if (inner !== null) this.#sender.sendFirst(slot, inner) // came before what waits here
    if (this.#sender.holds(slot)) this.#sender.sendMappingOrFlush(slot, nowMs)
  }

  /** A route from the classifier's kept stream; the datagram that said the same may have been lost. */
  plumbed(key: Uint32Array, hostIpv4: number, nowMs: number): void {
    const host = this.#directory.hostAt(hostIpv4)
    if (host === undefined) return
    const slot = this.#route(key, host.index, TCP_SYN, nowMs)
    if (slot >= 0 && this.#sender.holds(slot)) this.#sender.sendMappingOrFlush(slot, nowMs)
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
    if (this.#sender.holds(slot)) this.#sender.flush(slot, nowMs)
  }

  /** See FlowSender.remind. */
  remind(slot: number): boolean {
    return this.#sender.remind(slot)
  }

  /** Flows were taken over from the agent before: others are told of them, as of all. */
  adopted(): void {
    for (const slot of this.flows.table.select(() => true)) {
      this.flows.origin[slot] = ORIGIN.KEPT
      this.atoms.kept(slot)
    }
    this.doubts.doubtAll()
    this.atoms.tellAll()
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
    this.midFlow.end()
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
    if (this.#settings.resolves !== true) this.midFlow.end()
    // Which services' routes are atoms, or at how many members, may be another thing now.
    this.atoms.tellAll()
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
    this.#sender.tick(nowMs)
    this.midFlow.tick(nowMs)
    this.doubts.tick(nowMs)
    this.atoms.tick(nowMs)
    this.#life.clients?.tick(nowMs)
  }
}
