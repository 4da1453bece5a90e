import { type Columns, HEAP } from './columns.ts'
import { SlotTable } from './slot-table.ts'

/** The lists of a forwarder's flow table; each is in exact order of last use and has one time-out. */
export const LIST = {
  /** A first packet was seen; nothing confirms that the client is real (decision 4). */
  EMBRYONIC: 0,
  /** Proven: more than a few packets passed (FlowLife.provenAfterPackets). */
  TCP: 1,
  UDP: 2,
  /** FIN or RST seen, and never plumbed: expires after the linger. */
  CLOSING: 3,
  /** FIN or RST seen, and the kernel may still forward: expires after lease and linger. */
  CLOSING_PLUMBED: 4,
  /** Past the handshake as far as a forwarder can see, which with direct return a forger can feign: gives way first. */
  TCP_YOUNG: 5,
  UDP_YOUNG: 6,
} as const

export const FLOW_FLAG = {
  /** The host has acknowledged the mapping: packets may go in tunnelled form. */
  MAPPED: 1,
  /** Born from a packet that was no SYN: needs a second packet to count as established. */
  ADOPTED: 2,
  FIN: 4,
  /** A RST was seen: a hint only (decision 4). */
  RST: 8,
  /** A SYN came while closing: the client uses the ports again. */
  SYN_AGAIN: 16,
  /** Some packet went in tunnelled form: the identifier needs quarantine when freed. */
  TUNNELLED: 32,
  /** The kernel has it in its table of embryonic flows. */
  KERNEL: 64,
  /** The kernel made its route, after one packet from the client's end: it is no proof yet. */
  UNPROVEN: 128,
} as const

/** Where a flow's host comes from. */
export const ORIGIN = {
  /** Chosen for it as something new: by this node, its kernel, or the classifier. */
  CHOSEN: 0,
  /** Taken over from the agent before. */
  KEPT: 1,
  /** This node's own atom, another member's, or the host's own word. */
  OWN_ATOM: 2,
  MEMBER_ATOM: 3,
  HOST: 4,
  /** Nobody has it: the deterministic choice's host answers, as its own stack sees fit. */
  NOBODY: 5,
  /** The same choice, for an ICMP error about a flow that was never seen here: no packet of the flow goes by it. */
  GUESS: 6,
} as const

export const FLOW_KEY_WORDS = 10

/**
 * Routes (R-A3): flow key -> host and identifier, with what the life cycle needs. One slot table with
 * parallel columns; the embryonic list has a cap of its own, so a flood never displaces a route.
 */
export class FlowTable {
  readonly table: SlotTable
  readonly embryonicCapacity: number
  readonly routeCapacity: number
  readonly host: Uint8Array
  readonly identifier: Uint32Array
  readonly service: Uint16Array
  readonly flags: Uint8Array
  /** Packets that went through the agent. */
  readonly slowPackets: Uint32Array
  /** Packets that are known to have gone by the kernel alone: fewer than did. */
  readonly kernelPackets: Uint16Array
  /** Milliseconds until which the kernel may hold the route; 0 = never plumbed. */
  readonly plumbedUntilMs: Float64Array
  /** Sequence of the first mapping message of this allocation. */
  readonly firstSequence: Uint32Array
  /** ORIGIN, as far as this agent knows. */
  readonly origin: Uint8Array
  /** Whether its end may have passed unseen (FlowDoubts): 0 no, else 1 and how often its host has confirmed it. */
  readonly doubt: Uint8Array

  constructor(
    routeCapacity: number,
    embryonicCapacity: number,
    k0: number,
    k1: number,
    columns: Columns = HEAP,
  ) {
    const capacity = routeCapacity + embryonicCapacity
    this.routeCapacity = routeCapacity
    this.embryonicCapacity = embryonicCapacity
    this.table = new SlotTable({ capacity, keyWords: FLOW_KEY_WORDS, lists: 7, k0, k1, columns })
    this.host = columns.u8('host', capacity)
    this.identifier = columns.u32('identifier', capacity)
    this.service = columns.u16('service', capacity)
    this.flags = columns.u8('flags', capacity)
    this.slowPackets = columns.u32('slow-packets', capacity)
    this.kernelPackets = columns.u16('kernel-packets', capacity)
    this.plumbedUntilMs = columns.f64('plumbed-until-ms', capacity)
    this.firstSequence = columns.u32('first-sequence', capacity)
    this.origin = new Uint8Array(capacity)
    this.doubt = new Uint8Array(capacity)
  }

  get embryonic(): number {
    return this.table.length(LIST.EMBRYONIC)
  }

  get routes(): number {
    return this.table.size - this.embryonic
  }

  insert(key: Uint32Array, service: number, nowMs: number): number {
    const slot = this.table.insert(key, 0, LIST.EMBRYONIC, nowMs)
    if (slot < 0) return slot
    this.host[slot] = 0
    this.identifier[slot] = 0
    this.service[slot] = service
    this.flags[slot] = 0
    this.slowPackets[slot] = 0
    this.kernelPackets[slot] = 0
    this.plumbedUntilMs[slot] = 0
    this.firstSequence[slot] = 0
    this.origin[slot] = ORIGIN.CHOSEN
    this.doubt[slot] = 0
    return slot
  }

  /** Packets of the flow, as far as they are known. */
  knownPackets(slot: number): number {
    return this.slowPackets[slot] + this.kernelPackets[slot]
  }

  has(slot: number, flag: number): boolean {
    return (this.flags[slot] & flag) !== 0
  }

  set(slot: number, flag: number): void {
    this.flags[slot] |= flag
  }

  clear(slot: number, flag: number): void {
    this.flags[slot] &= ~flag
  }

  /**
   * Which route goes when the table is full: the longest closed, else the longest unused of those that never proved
   * themselves, else the longest unused. A route that only the kernel still sees counts as used when it was last renewed.
   */
  victim(): number {
    for (const list of CLOSED_LISTS) {
      const slot = this.table.oldest(list)
      if (slot >= 0) return slot
    }
    const young = this.#older(LIST.TCP_YOUNG, LIST.UDP_YOUNG)
    return young >= 0 ? young : this.#older(LIST.TCP, LIST.UDP)
  }

  #older(one: number, other: number): number {
    const a = this.table.oldest(one)
    const b = this.table.oldest(other)
    if (a < 0) return b
    if (b < 0) return a
    return this.table.lastUse[a] <= this.table.lastUse[b] ? a : b
  }
}

const CLOSED_LISTS = [LIST.CLOSING, LIST.CLOSING_PLUMBED] as const
