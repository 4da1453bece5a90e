import type { DirectoryIndex } from './directory.ts'
import { DROP } from './drops.ts'
import type { FlowDoubts } from './flow-doubts.ts'
import type { FlowLife } from './flow-life.ts'
import type { FlowMapping } from './flow-mapping.ts'
import { type FlowTable, LIST, ORIGIN } from './flows.ts'
import type { ForwarderPorts, ForwarderSettings } from './forwarder-ports.ts'
import { type HeldPacket, loadHeld } from './held.ts'
import { RESOLVED } from './messages.ts'
import { PROTOCOL_TCP as TCP } from './packet.ts'
import { createPacketRef, type PacketRef, TCP_SYN } from './packet-ref.ts'
import type { Resolution } from './resolution.ts'

/** Of two connections on the same ports only the later one has packets now. A claim of the earlier one comes as soon as the later one is told of. */
const LIVES_MS = 5_000

const ORIGINS: Readonly<Record<number, number | undefined>> = {
  [RESOLVED.ownAtom]: ORIGIN.OWN_ATOM,
  [RESOLVED.memberAtom]: ORIGIN.MEMBER_ATOM,
  [RESOLVED.host]: ORIGIN.HOST,
}

/**
 * Packets from the middle of flows that came by another way until now (decision 6): they wait while it is asked whose they are, and
 * then go there in order. What belongs to nobody goes to the deterministic choice's host, whose own stack answers it. Pure.
 */
export class MidFlow {
  readonly counters = {
    resolvedOwnAtom: 0,
    resolvedMemberAtom: 0,
    resolvedHost: 0,
    /** Belongs to nobody. */
    resolvedNobody: 0,
    /** Its host is no host of the cluster any more, or, for UDP, not alive. */
    resolvedGone: 0,
    resolvedLate: 0,
    /** Routes that another forwarder carries now. */
    claimedFlows: 0,
    /** Another one's of an earlier connection, whose clock is ahead. */
    claimsRefuted: 0,
  }
  readonly #flows: FlowTable
  readonly #directory: DirectoryIndex
  readonly #life: FlowLife
  readonly #doubts: FlowDoubts
  readonly #mapping: FlowMapping
  readonly #settings: ForwarderSettings
  readonly #ports: ForwarderPorts
  readonly #resolution: Resolution
  readonly #known: (key: Uint32Array, nowMs: number) => number
  readonly #open: (key: Uint32Array, tcpFlags: number, nowMs: number) => number
  readonly #forward: (slot: number, packet: PacketRef, nowMs: number) => void
  readonly #replay = createPacketRef()

  /** @param parts.known the slot of a flow, or -1; `open`: gives it a place, or answers -1; `forward`: on by the flow's entry */
  constructor(parts: {
    readonly flows: FlowTable
    readonly directory: DirectoryIndex
    readonly life: FlowLife
    readonly doubts: FlowDoubts
    readonly mapping: FlowMapping
    readonly settings: ForwarderSettings
    readonly ports: ForwarderPorts
    readonly resolution: Resolution
    readonly known: (key: Uint32Array, nowMs: number) => number
    readonly open: (key: Uint32Array, tcpFlags: number, nowMs: number) => number
    readonly forward: (slot: number, packet: PacketRef, nowMs: number) => void
  }) {
    this.#flows = parts.flows
    this.#directory = parts.directory
    this.#life = parts.life
    this.#doubts = parts.doubts
    this.#mapping = parts.mapping
    this.#settings = parts.settings
    this.#ports = parts.ports
    this.#resolution = parts.resolution
    this.#known = parts.known
    this.#open = parts.open
    this.#forward = parts.forward
  }

  /** Whether the packet waits here now (or was dropped, counted). @param slot of its flow; -1: it is not known */
  takes(slot: number, key: Uint32Array, packet: PacketRef, nowMs: number): boolean {
    const { origin } = this.#flows
    if (slot >= 0 && origin[slot] !== ORIGIN.GUESS) return false
    if (this.#settings.resolves !== true) return false
    const service = this.#directory.serviceOf(key, 0)
    if (service === undefined) return false
    if (key[9] === TCP && (packet.view.tcpFlags & TCP_SYN) !== 0) {
      // What waits is of the connection before.
      if (this.#resolution.size > 0) this.#resolution.forget(key)
      if (slot >= 0) origin[slot] = ORIGIN.CHOSEN
      return false
    }
    // Of UDP every packet may be a first one: where nothing is known of any, nobody is asked.
    if (key[9] !== TCP && (service.copies ?? null) === null) return false
    if (this.#resolution.hold(key, service.index, packet, nowMs)) return true
    // A service of UDP with more new flows than can be asked about goes on.
    if (key[9] !== TCP) return false
    this.#ports.drop(DROP.RESOLVE_FULL)
    return true
  }

  /** An error about a flow that is not known here: the next one finds the answer. */
  guessed(slot: number, nowMs: number): void {
    if (this.#settings.resolves !== true) return
    this.#flows.origin[slot] = ORIGIN.GUESS
    const { keys } = this.#flows.table
    this.#resolution.ask(keys.slice(slot * 10, slot * 10 + 10), this.#flows.service[slot], nowMs)
  }

  /** @param hostIpv4 its cluster address. @param how RESOLVED */
  resolved(key: Uint32Array, hostIpv4: number, how: number, nowMs: number): void {
    const waiting = this.#resolution.take(key)
    if (waiting === null) {
      this.counters.resolvedLate++
      return
    }
    this.#count(how)
    let slot = this.#known(key, nowMs)
    if (slot < 0 || this.#flows.origin[slot] === ORIGIN.GUESS)
      slot = this.#settle(slot, key, hostIpv4, how, waiting, nowMs)
    else if (this.#begins(slot)) slot = -1
    for (const held of waiting) {
      // It may have ended by the one before.
      const at = slot < 0 ? -1 : this.#flows.table.find(key)
      loadHeld(this.#replay, held)
      if (at >= 0) this.#forward(at, this.#replay, nowMs)
      else this.#ports.drop(DROP.UNRESOLVED)
    }
  }

  /** A connection that began on these ports meanwhile: what waits is of the one before. */
  #begins(slot: number): boolean {
    const { table, origin } = this.#flows
    if (table.keyWord(slot, 9) !== TCP) return false
    return table.listOf(slot) === LIST.EMBRYONIC && origin[slot] === ORIGIN.CHOSEN
  }

  #count(how: number): void {
    if (how === RESOLVED.ownAtom) this.counters.resolvedOwnAtom++
    else if (how === RESOLVED.memberAtom) this.counters.resolvedMemberAtom++
    else if (how === RESOLVED.host) this.counters.resolvedHost++
    else this.counters.resolvedNobody++
  }

  /** The slot of the flow, with its host if there is one; -1: nothing of it may go on. */
  #settle(
    slot: number,
    key: Uint32Array,
    hostIpv4: number,
    how: number,
    waiting: readonly HeldPacket[],
    nowMs: number,
  ): number {
    const flows = this.#flows
    const isTcp = key[9] === TCP
    const origin = ORIGINS[how]
    const host = origin === undefined ? undefined : this.#directory.hostAt(hostIpv4)
    // A connection of TCP stays with its host, alive or not, as routes do: another one could only reset it.
    const goes = host !== undefined && (isTcp || host.live)
    if (origin !== undefined && !goes) this.counters.resolvedGone++
    if (!goes && waiting.length === 0) return slot
    // A flow that somebody has is established, and needs no second packet to prove it.
    const at = slot >= 0 ? slot : this.#open(key, goes ? TCP_SYN : 0, nowMs)
    if (at < 0) return -1
    // A late packet of one that is closing, or has closed, looks like any other.
    this.#doubts.doubt(at)
    flows.origin[at] = origin === undefined || !goes ? (isTcp ? ORIGIN.NOBODY : ORIGIN.CHOSEN) : origin
    if (!goes) return at
    if (!this.#life.assign(at, host.index, this.#mapping.nextSequence, nowMs)) {
      this.#ports.drop(DROP.IDENTIFIERS_EXHAUSTED)
      this.#life.purge(at, nowMs)
      return -1
    }
    // An error is no sign of life, and another forwarder carries the flow.
    if (waiting.length > 0) this.#life.promoted(at, isTcp ? LIST.TCP_YOUNG : LIST.UDP_YOUNG, nowMs)
    return at
  }

  /**
   * Another forwarder carries the flow now. If its packets come back here, its host is asked for: it may be another connection by then.
   * @param hostIpv4 the flow's host there, its cluster address. @param how RESOLVED; nobody: it has ended there
   */
  claimed(key: Uint32Array, hostIpv4: number, how: number, nowMs: number): void {
    const slot = this.#flows.table.find(key)
    if (slot < 0 || !this.#life.atoms.isTold(slot)) return
    const isOther =
      how === RESOLVED.nobody || this.#directory.hostAt(hostIpv4)?.index !== this.#flows.host[slot]
    if (hostIpv4 !== 0 && isOther && this.#hasBegun(slot, nowMs) && this.#life.atoms.repeat(slot)) {
      this.counters.claimsRefuted++
      this.#doubts.doubt(slot)
      return
    }
    if (how === RESOLVED.nobody) return this.#doubts.doubt(slot)
    this.counters.claimedFlows++
    this.#life.purge(slot, nowMs, 'elsewhere')
  }

  /** A connection that was opened here, and has packets: whatever another forwarder had on its ports was before it. */
  #hasBegun(slot: number, nowMs: number): boolean {
    const { table, origin } = this.#flows
    const list = table.listOf(slot)
    const isClosing = list === LIST.CLOSING || list === LIST.CLOSING_PLUMBED
    return origin[slot] === ORIGIN.CHOSEN && !isClosing && nowMs - table.lastUse[slot] <= LIVES_MS
  }

  tick(nowMs: number): void {
    if (this.#resolution.size > 0) this.#resolution.tick(nowMs)
  }

  /** The role goes, or nobody answers any more. */
  end(): void {
    this.#resolution.forgetAll()
  }
}
