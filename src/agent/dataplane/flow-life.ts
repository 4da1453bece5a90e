import type { Affinity } from '../classify/affinity.ts'
import type { DirectoryIndex } from './directory.ts'
import { DROP } from './drops.ts'
import { FlowAtoms } from './flow-atoms.ts'
import { FlowClients } from './flow-clients.ts'
import { FLOW_FLAG, type FlowTable, LIST, ORIGIN } from './flows.ts'
import type { ForwarderCounters, ForwarderPorts, ForwarderSettings } from './forwarder-ports.ts'
import type { HeldPackets } from './held.ts'
import type { IdentifierAllocator } from './identifiers.ts'
import type { KernelFlow } from './kernel-flows.ts'
import { isSyn, TCP_ACK, TCP_FIN, TCP_RST } from './packet-ref.ts'
import { Tally } from './tally.ts'

const UDP = 17

export interface FlowLifeParts {
  readonly flows: FlowTable
  readonly identifiers: IdentifierAllocator
  readonly held: HeldPackets
  readonly directory: DirectoryIndex
  readonly ports: ForwarderPorts
  readonly settings: ForwarderSettings
  /** Whose sessions connections keep alive; left out: nobody's. */
  readonly affinity?: Affinity
}

/**
 * The life of a forwarder's flows (decision 4): EMBRYONIC (identifier and mapping travel with each packet) -> the
 * handshake's ACK, or a second packet of UDP or of an adopted flow -> young -> some more packets -> TCP or UDP -> FIN or RST -> CLOSING -> purged. A host
 * and an identifier come with `assign` and go with `purge`, the identifier into quarantine if it was ever tunnelled.
 */
export class FlowLife {
  readonly tally = new Tally()
  readonly atoms: FlowAtoms
  readonly clients: FlowClients | null
  readonly flows: FlowTable
  readonly counters: ForwarderCounters
  readonly #identifiers: IdentifierAllocator
  readonly #held: HeldPackets
  readonly #directory: DirectoryIndex
  readonly #ports: ForwarderPorts
  readonly #settings: ForwarderSettings
  /** A longer lease that was in force: until its last route has left the kernel, flows may be seen as seldom as it says. */
  #longerLease = { ms: 0, untilMs: 0 }

  constructor(parts: FlowLifeParts, counters: ForwarderCounters) {
    this.flows = parts.flows
    this.counters = counters
    this.#identifiers = parts.identifiers
    this.#held = parts.held
    this.#directory = parts.directory
    this.#ports = parts.ports
    this.#settings = parts.settings
    this.atoms = new FlowAtoms(parts)
    const { flows, directory, affinity } = parts
    this.clients = affinity === undefined ? null : new FlowClients({ flows, directory, affinity })
  }

  /** Moves a flow between lists on what its packet says; every packet that passes is a sign of life. */
  transition(slot: number, tcpFlags: number, nowMs: number): void {
    const wasOpen = this.#isOpen(slot)
    this.#move(slot, tcpFlags, nowMs)
    const isOpen = this.#isOpen(slot)
    if (wasOpen === isOpen) return
    this.tally.open(this.flows.host[slot], this.flows.service[slot], isOpen ? 1 : -1)
    if (isOpen) this.#established(slot)
  }

  /** Whether it counts as a flow of its host: until an end of it closes. */
  #isOpen(slot: number): boolean {
    const list = this.flows.table.listOf(slot)
    return this.flows.host[slot] !== 0 && list !== LIST.CLOSING && list !== LIST.CLOSING_PLUMBED
  }

  #move(slot: number, tcpFlags: number, nowMs: number): void {
    const { flows } = this
    const { table } = flows
    const protocol = table.keyWord(slot, 9)
    const list = table.listOf(slot)
    if (protocol === UDP) {
      if (list === LIST.EMBRYONIC && flows.slowPackets[slot] > 1)
        return this.promoted(slot, LIST.UDP_YOUNG, nowMs)
      return table.move(slot, list === LIST.UDP_YOUNG && this.isProven(slot) ? LIST.UDP : list, nowMs)
    }
    const closes = tcpFlags & (TCP_FIN | TCP_RST)
    if (list === LIST.EMBRYONIC) {
      if (closes === 0 && !isSyn(tcpFlags) && (tcpFlags & TCP_ACK) !== 0) {
        if (!flows.has(slot, FLOW_FLAG.ADOPTED) || flows.slowPackets[slot] > 1) {
          return this.promoted(slot, LIST.TCP_YOUNG, nowMs)
        }
      }
      // The kernel, which may have taken the ACK before it, opened the flow: `KernelFlows.promoted` goes by this.
      if (isSyn(tcpFlags)) flows.clear(slot, FLOW_FLAG.FIN)
      else if ((closes & TCP_FIN) !== 0 && flows.has(slot, FLOW_FLAG.KERNEL)) flows.set(slot, FLOW_FLAG.FIN)
      return table.touch(slot, nowMs)
    }
    if (closes !== 0) {
      flows.set(slot, (closes & TCP_FIN) !== 0 ? FLOW_FLAG.FIN : FLOW_FLAG.RST)
      flows.clear(slot, FLOW_FLAG.SYN_AGAIN)
      return table.move(slot, this.#closingList(slot, nowMs), nowMs)
    }
    if (list === LIST.TCP || list === LIST.TCP_YOUNG) {
      return table.move(slot, this.isProven(slot) ? LIST.TCP : list, nowMs)
    }
    if (isSyn(tcpFlags)) {
      if (!flows.has(slot, FLOW_FLAG.SYN_AGAIN)) {
        this.counters.reusedFlows++
        this.tally.reused(flows.host[slot], flows.service[slot])
      }
      flows.set(slot, FLOW_FLAG.SYN_AGAIN)
      flows.slowPackets[slot] = 1
      flows.kernelPackets[slot] = 0
      return table.touch(slot, nowMs)
    }
    // Data after a RST: the RST was forged or stale. Data after SYN: the ports live again. After FIN: half-closed.
    if (flows.has(slot, FLOW_FLAG.SYN_AGAIN) || !flows.has(slot, FLOW_FLAG.FIN)) {
      flows.clear(slot, FLOW_FLAG.SYN_AGAIN | FLOW_FLAG.FIN | FLOW_FLAG.RST)
      return table.move(slot, this.isProven(slot) ? LIST.TCP : LIST.TCP_YOUNG, nowMs)
    }
    table.move(slot, this.#closingList(slot, nowMs), nowMs)
  }

  /** More packets than a forger would spend on one flow, and enough to be worth a kernel route. */
  isProven(slot: number): boolean {
    return (
      this.flows.knownPackets(slot) >= this.#settings.plumbAfterPackets ||
      (this.flows.plumbedUntilMs[slot] !== 0 && !this.flows.has(slot, FLOW_FLAG.UNPROVEN))
    )
  }

  #closingList(slot: number, nowMs: number): number {
    return this.flows.plumbedUntilMs[slot] > nowMs ? LIST.CLOSING_PLUMBED : LIST.CLOSING
  }

  #established(slot: number): void {
    this.atoms.established(slot)
    this.clients?.established(slot)
  }

  /** The flow is more than a first packet: `list` is that of young ones. */
  promoted(slot: number, list: number, nowMs: number): void {
    const { flows } = this
    while (flows.routes >= flows.routeCapacity) {
      const victim = flows.victim()
      if (victim < 0) break
      this.purge(victim, nowMs)
      this.counters.evictedRoutes++
    }
    this.counters.promotedFlows++
    flows.table.move(slot, list, nowMs)
    this.#established(slot)
  }

  /** Another embryonic flow is about to come. */
  makeRoom(nowMs: number): void {
    if (this.flows.embryonic < this.flows.embryonicCapacity) return
    this.purge(this.flows.table.oldest(LIST.EMBRYONIC), nowMs)
    this.counters.evictedEmbryonic++
  }

  /** The flow has the host and the identifier that the kernel gave it. */
  adopt(slot: number, { host, identifier }: KernelFlow, firstSequence: number, nowMs: number): void {
    const { flows } = this
    this.#release(slot, nowMs)
    flows.clear(slot, FLOW_FLAG.MAPPED | FLOW_FLAG.TUNNELLED | FLOW_FLAG.UNPROVEN)
    flows.set(slot, FLOW_FLAG.KERNEL)
    if (identifier !== 0) this.#identifiers.rehome(identifier, slot)
    flows.identifier[slot] = identifier
    flows.firstSequence[slot] = firstSequence
    this.#settle(slot, host)
    if (this.#held.has(slot)) this.holds(slot)
  }

  /** The agent begins to hold packets of the flow, or holds none any more: the kernel goes by it. */
  holds(slot: number): void {
    if (this.flows.has(slot, FLOW_FLAG.KERNEL)) this.#ports.embryo?.(slot)
  }

  #settle(slot: number, host: number): void {
    const { flows } = this
    flows.host[slot] = host
    this.tally.assigned(host, flows.service[slot])
    if (this.#isOpen(slot)) this.tally.open(host, flows.service[slot], 1)
    this.#established(slot)
  }

  /** The kernel no longer has it among its embryonic flows. */
  unembryo(slot: number): void {
    const { flows } = this
    if (!flows.has(slot, FLOW_FLAG.KERNEL)) return
    flows.clear(slot, FLOW_FLAG.KERNEL)
    // It may have sent packets by that route.
    if (this.#ports.unembryo?.(slot)) flows.set(slot, FLOW_FLAG.TUNNELLED)
  }

  /** The host holds the mapping: packets may go in tunnelled form from here on. `inKernel`: that is who says so. */
  acknowledged(slot: number, inKernel: boolean): void {
    const { flows } = this
    this.counters.mappingsAcknowledged++
    if (flows.has(slot, FLOW_FLAG.MAPPED)) return
    flows.set(slot, FLOW_FLAG.MAPPED)
    // Where hosts answer by an interface without a program.
    if (!inKernel && flows.has(slot, FLOW_FLAG.KERNEL)) this.#ports.embryo?.(slot)
  }

  /** Gives the flow a host and a fresh identifier; an old one is taken out of the kernel and quarantined. */
  assign(slot: number, hostIndex: number, firstSequence: number, nowMs: number): boolean {
    const { flows } = this
    this.#release(slot, nowMs)
    const host = this.#directory.host(hostIndex)
    if (host === undefined) return false
    flows.clear(slot, FLOW_FLAG.MAPPED | FLOW_FLAG.TUNNELLED | FLOW_FLAG.UNPROVEN)
    if (!host.self) {
      const identifier = this.#identifiers.allocate(hostIndex, flows.table.keyWord(slot, 8), slot, nowMs)
      if (identifier === 0) return false
      flows.identifier[slot] = identifier
      flows.firstSequence[slot] = firstSequence
    }
    this.#settle(slot, hostIndex)
    // The kernel would let the flow's own packets follow a guess.
    if (flows.origin[slot] !== ORIGIN.GUESS && this.#ports.embryo?.(slot)) flows.set(slot, FLOW_FLAG.KERNEL)
    return true
  }

  #release(slot: number, nowMs: number): void {
    const { flows } = this
    this.unembryo(slot)
    if (flows.plumbedUntilMs[slot] > nowMs) this.#ports.unplumb(slot)
    flows.plumbedUntilMs[slot] = 0
    if (flows.identifier[slot] !== 0) {
      this.#identifiers.free(flows.identifier[slot], nowMs, flows.has(slot, FLOW_FLAG.TUNNELLED))
      flows.identifier[slot] = 0
    }
    if (this.#isOpen(slot)) this.tally.open(flows.host[slot], flows.service[slot], -1)
    flows.host[slot] = 0
  }

  #expire(list: number, timeoutMs: number, nowMs: number, work: number): number {
    const { table } = this.flows
    while (work > 0) {
      const slot = table.oldest(list)
      if (slot < 0 || nowMs - table.lastUse[slot] < timeoutMs) return work
      this.purge(slot, nowMs, 'over')
      work--
    }
    return work
  }

  /** The lease was `ms` until now. */
  leaseWas(ms: number, nowMs: number): void {
    const { ms: before, untilMs } = this.#longerLease
    // After its end each route's next packet is one lease away at most.
    this.#longerLease = {
      ms: nowMs < untilMs ? Math.max(before, ms) : ms,
      untilMs: Math.max(untilMs, nowMs + 2 * ms),
    }
  }

  /** The directory has changed: ends the flows whose service or host is no longer in it. */
  forgetVanished(nowMs: number): void {
    const { flows } = this
    const directory = this.#directory
    const gone = flows.table.select(
      slot =>
        directory.serviceAt(flows.service[slot]) === undefined ||
        (flows.host[slot] !== 0 && directory.host(flows.host[slot]) === undefined),
    )
    const plumbed = gone.filter(slot => flows.plumbedUntilMs[slot] > nowMs)
    if (plumbed.length > 0) this.#ports.unplumbAll(plumbed)
    for (const slot of plumbed) flows.plumbedUntilMs[slot] = 0
    for (const slot of gone) this.purge(slot, nowMs, 'over')
    for (let i = 0; i < this.tally.hostFlows.length; i++)
      if (directory.host(i) === undefined) this.tally.forgetHost(i)
    for (let i = 0; i < this.tally.serviceFlows.length; i++)
      if (directory.serviceAt(i) === undefined) this.tally.forgetService(i)
  }

  /** Time-outs of all lists; does at most `maxWork` purges and answers how many are left of them. */
  tick(nowMs: number, maxWork: number): number {
    const { embryonic, linger, routeLease, udpIdle, tcpIdle } = this.#settings.timeouts
    const longer = this.#longerLease
    const margin = Math.max(routeLease, nowMs < longer.untilMs ? longer.ms : 0) + linger
    let work = this.#expire(LIST.EMBRYONIC, embryonic, nowMs, maxWork)
    work = this.#expire(LIST.CLOSING, linger, nowMs, work)
    work = this.#expire(LIST.CLOSING_PLUMBED, margin, nowMs, work)
    work = this.#expire(LIST.UDP_YOUNG, udpIdle, nowMs, work)
    work = this.#expire(LIST.UDP, Math.max(udpIdle, margin), nowMs, work)
    work = this.#expire(LIST.TCP_YOUNG, tcpIdle, nowMs, work)
    return this.#expire(LIST.TCP, Math.max(tcpIdle, margin), nowMs, work)
  }

  /**
   * Forgets a flow: what it holds is dropped, its route leaves the kernel, its classifier is told.
   * @param why it has ended; another forwarder carries it, so that its classifier has to know it on; or neither is known
   */
  purge(slot: number, nowMs: number, why: 'over' | 'elsewhere' | 'unknown' = 'unknown'): void {
    for (const _ of this.#held.take(slot)) this.#ports.drop(DROP.HOLD_TIMEOUT)
    if (why !== 'elsewhere') this.#ports.ended(slot)
    this.atoms.removed(slot, why === 'over')
    this.#release(slot, nowMs)
    this.counters.endedFlows++
    this.flows.table.remove(slot)
  }
}
