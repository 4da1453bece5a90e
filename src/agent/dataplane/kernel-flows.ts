import type { DirectoryIndex } from './directory.ts'
import type { FlowLife } from './flow-life.ts'
import { FLOW_FLAG, FLOW_KEY_WORDS, type FlowTable, LIST } from './flows.ts'
import type { ForwarderPorts, ForwarderSettings } from './forwarder-ports.ts'
import type { HeldPackets } from './held.ts'
import type { IdentifierAllocator } from './identifiers.ts'
import { TCP_ACK, TCP_FIN, TCP_RST } from './packet-ref.ts'
import { leaseEnd } from './plumber.ts'

const TCP = 6
/** What a sweep that finds packets on the route of an unproven flow counts for, in packets. */
const SEEN_BY_SWEEP = 4

/** What the kernel says of a flow that it opened, or that the agent put there. */
export interface KernelFlow {
  /** Index of the host. */
  readonly host: number
  /** 0: this node is the host. */
  readonly identifier: number
  /** The host has acknowledged. */
  readonly mapped: boolean
  /** The agent holds packets of it, and gets all that follow, and the host's acknowledgement, until they are gone. */
  readonly held?: boolean
}

/**
 * The flows that the kernel opens by itself (decision 35), in the forwarder's tables: told of by events, some of which may get lost, and found
 * by sweeps and by their packets then. An identifier is the kernel's to give away until an event, or one of these, names its flow. Pure.
 */
export class KernelFlows {
  readonly counters = { kernel_opened: 0, kernel_promoted: 0, kernel_gone: 0, kernel_repaired: 0 }
  readonly #flows: FlowTable
  readonly #life: FlowLife
  readonly #identifiers: IdentifierAllocator
  readonly #directory: DirectoryIndex
  readonly #held: HeldPackets
  readonly #ports: ForwarderPorts
  readonly #settings: ForwarderSettings

  constructor(parts: {
    readonly held: HeldPackets
    readonly flows: FlowTable
    readonly life: FlowLife
    readonly identifiers: IdentifierAllocator
    readonly directory: DirectoryIndex
    readonly ports: ForwarderPorts
    readonly settings: ForwarderSettings
  }) {
    this.#flows = parts.flows
    this.#life = parts.life
    this.#identifiers = parts.identifiers
    this.#directory = parts.directory
    this.#held = parts.held
    this.#ports = parts.ports
    this.#settings = parts.settings
  }

  /**
   * A flow is in the kernel's table of embryonic ones. `key`: ten words, good during the call.
   * @param sequence not above that of its first mapping message
   * @returns its slot; -1: it is taken out again
   */
  opened(key: Uint32Array, flow: KernelFlow, sequence: number, nowMs: number): number {
    const flows = this.#flows
    const known = flows.table.find(key)
    if (known >= 0 && this.#isSame(known, flow)) return known
    if (known >= 0 && this.#stays(known)) return this.#restore(known, flow.identifier, nowMs)
    const slot = known >= 0 ? known : this.#insert(key, nowMs)
    const owned = flow.identifier === 0 || this.#identifiers.isReserved(flow.identifier)
    if (slot < 0 || !owned || this.#directory.host(flow.host) === undefined) {
      // Its identifier is another's by now, or its host has gone: nothing of it may stay.
      this.#ports.forget?.(key, flow.identifier)
      if (owned && flow.identifier !== 0) this.#identifiers.free(flow.identifier, nowMs, flow.mapped)
      if (known < 0 && slot >= 0) flows.table.remove(slot)
      return -1
    }
    this.counters.kernel_opened++
    this.#life.adopt(slot, flow, sequence, nowMs)
    return slot
  }

  #insert(key: Uint32Array, nowMs: number): number {
    const flows = this.#flows
    const service = this.#directory.serviceOf(key, 0)
    if (service === undefined) return -1
    this.#life.makeRoom(nowMs)
    const slot = flows.insert(key, service.index, nowMs)
    if (slot >= 0) this.#life.counters.newFlows++
    return slot
  }

  #isSame(slot: number, { host, identifier }: KernelFlow): boolean {
    return this.#flows.host[slot] === host && this.#flows.identifier[slot] === identifier
  }

  /**
   * Every packet of UDP may be a first one, so the kernel opens a flow anew that has lost its route. One that is known to go on stays where it
   * is. Not so TCP's: its SYN may be of a new connection, which the chosen host has answered by now.
   */
  #stays(slot: number): boolean {
    const flows = this.#flows
    const list = flows.table.listOf(slot)
    if (list !== LIST.UDP && list !== LIST.UDP_YOUNG) return false
    const host = this.#directory.host(flows.host[slot])
    return host?.live === true && !this.#directory.isInactive(flows.service[slot], host.index)
  }

  /** What the kernel has opened goes, and the flow gets its route again. */
  #restore(slot: number, identifier: number, nowMs: number): number {
    const flows = this.#flows
    const { keys } = flows.table
    this.#ports.forget?.(keys.slice(slot * FLOW_KEY_WORDS, (slot + 1) * FLOW_KEY_WORDS), identifier)
    // It may have been tunnelled meanwhile.
    if (identifier !== 0 && this.#identifiers.isReserved(identifier))
      this.#identifiers.free(identifier, nowMs, true)
    this.counters.kernel_repaired++
    const isReady = flows.has(slot, FLOW_FLAG.MAPPED) || flows.identifier[slot] === 0
    if (!isReady || flows.plumbedUntilMs[slot] > nowMs) return -1
    flows.plumbedUntilMs[slot] = leaseEnd(this.#settings, nowMs)
    this.#ports.plumb(slot)
    return -1
  }

  mapped(key: Uint32Array, flow: KernelFlow, sequence: number, nowMs: number): void {
    const slot = this.opened(key, flow, sequence, nowMs)
    if (slot < 0) return
    // What is held goes by an acknowledgement that comes here. This one came before the kernel knew that.
    if (this.#held.has(slot)) this.#life.holds(slot)
    else this.#life.acknowledged(slot, true)
  }

  /** The flow has a route, which packets follow by themselves. */
  promoted(key: Uint32Array, flow: KernelFlow, sequence: number, nowMs: number): number {
    const slot = this.opened(key, flow, sequence, nowMs)
    const flows = this.#flows
    if (slot < 0) return slot
    flows.clear(slot, FLOW_FLAG.KERNEL)
    flows.set(slot, FLOW_FLAG.UNPROVEN | FLOW_FLAG.MAPPED | FLOW_FLAG.TUNNELLED)
    if (flows.plumbedUntilMs[slot] > nowMs) return slot
    this.counters.kernel_promoted++
    flows.plumbedUntilMs[slot] = leaseEnd(this.#settings, nowMs)
    if (flows.table.listOf(slot) === LIST.EMBRYONIC) {
      const isTcp = flows.table.keyWord(slot, 9) === TCP
      this.#life.promoted(slot, isTcp ? LIST.TCP_YOUNG : LIST.UDP_YOUNG, nowMs)
      // Its FIN came to the agent while there was no route yet, and no other will tell of its end.
      if (isTcp && flows.has(slot, FLOW_FLAG.FIN)) this.#life.transition(slot, TCP_FIN | TCP_ACK, nowMs)
    }
    if (!this.#directory.isInactive(flows.service[slot], flows.host[slot])) return slot
    // It became so meanwhile.
    this.#ports.unplumb(slot)
    flows.plumbedUntilMs[slot] = 0
    return slot
  }

  /** A FIN or RST, or a packet after a RST, went by the flow's route. */
  ends(
    key: Uint32Array,
    flow: KernelFlow,
    how: 'fin' | 'rst' | 'again',
    sequence: number,
    nowMs: number,
  ): void {
    const slot = this.promoted(key, flow, sequence, nowMs)
    if (slot < 0) return
    this.#life.transition(slot, how === 'fin' ? TCP_FIN | TCP_ACK : how === 'rst' ? TCP_RST : TCP_ACK, nowMs)
  }

  /** An embryonic flow gave way to another. */
  gone(key: Uint32Array, { identifier }: KernelFlow, nowMs: number): void {
    const flows = this.#flows
    const slot = flows.table.find(key)
    this.counters.kernel_gone++
    if (slot < 0 || flows.identifier[slot] !== identifier) return this.unused(identifier, nowMs)
    flows.clear(slot, FLOW_FLAG.KERNEL)
    // Others are known by more than their first packet: their next one comes here.
    if (flows.table.listOf(slot) !== LIST.EMBRYONIC) return
    this.#life.counters.evictedEmbryonic++
    this.#life.purge(slot, nowMs)
  }

  /** An identifier that the kernel took, and gave to no flow. */
  unused(identifier: number, nowMs: number): void {
    if (identifier !== 0 && this.#identifiers.isReserved(identifier))
      this.#identifiers.free(identifier, nowMs, false)
  }

  /** Packets follow a route that no flow is known of: its events got lost. */
  found(key: Uint32Array, flow: KernelFlow, nowMs: number): void {
    this.counters.kernel_repaired++
    this.promoted(key, flow, 0, nowMs)
  }

  /** A sweep has seen packets on the route of a flow. */
  used(slot: number, nowMs: number): void {
    const flows = this.#flows
    if (!flows.has(slot, FLOW_FLAG.UNPROVEN)) return
    flows.kernelPackets[slot] += SEEN_BY_SWEEP
    if (flows.knownPackets(slot) < this.#settings.plumbAfterPackets) return
    flows.clear(slot, FLOW_FLAG.UNPROVEN)
    const list = flows.table.listOf(slot)
    if (list === LIST.TCP_YOUNG || list === LIST.UDP_YOUNG) {
      flows.table.move(slot, list === LIST.TCP_YOUNG ? LIST.TCP : LIST.UDP, nowMs)
      this.#ports.plumb(slot)
    }
  }

  /** A packet of a flow that has no entry here: the kernel may have one. */
  search(key: Uint32Array, sequence: number, nowMs: number): number {
    const found = this.#ports.search?.(key) ?? null
    if (found === null) return -1
    this.counters.kernel_repaired++
    if (found.isRoute) return this.promoted(key, found, sequence, nowMs)
    const slot = this.opened(key, found, sequence, nowMs)
    if (slot >= 0 && found.mapped) this.#life.acknowledged(slot, true)
    return slot
  }

  /** Hosts have gone, or must get no packets: what is half-open there is the agent's again, and its next packet chosen for anew. */
  withdrawEmbryonic(): void {
    const flows = this.#flows
    const { table } = flows
    for (let slot = table.oldest(LIST.EMBRYONIC); slot >= 0; slot = table.newer(slot)) {
      if (!flows.has(slot, FLOW_FLAG.KERNEL)) continue
      const host = this.#directory.host(flows.host[slot])
      if (host?.live && !this.#directory.isInactive(flows.service[slot], host.index)) continue
      this.#life.unembryo(slot)
    }
  }
}
