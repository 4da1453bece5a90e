import type { DirectoryIndex } from './directory.ts'
import { DROP } from './drops.ts'
import { addressEquals, ipv4Word, isIpv4, readFlowKey } from './flow-key.ts'
import type { HeldPackets } from './held.ts'
import type { HostPorts, HostSettings } from './host-ports.ts'
import { MappingEnds } from './mapping-ends.ts'
import { createMappingHeader, KIND, type MappingHeader } from './mapping-header.ts'
import { MAPPING_LIST, type MappingTable, TUPLE_WORDS } from './mappings.ts'
import { type PacketRef, TCP_FIN, TCP_RST, TCP_SYN } from './packet-ref.ts'
import { leaseEnd } from './plumber.ts'
import { UnknownIdentifiers } from './unknown-identifiers.ts'

export type { HostPorts, HostSettings } from './host-ports.ts'

interface ForwarderState {
  epoch: number
  readonly ipv4: number
  readonly tunnelWords6: Uint32Array | undefined
}

/**
 * A host's slow path (R-E8, decisions 2-4): learns mappings from datagrams, acknowledges them, restores the
 * 4-tuple of packets whose identifier the kernel does not know (yet), asks for identifiers that nobody told it,
 * and never answers such a packet with a reset. Pure: effects through `ports`, time as an argument.
 */
export class HostCore {
  readonly counters = {
    mapsReceived: 0,
    mapsRefreshed: 0,
    mapsReplaced: 0,
    epochsSeen: 0,
    slowPackets: 0,
    injected: 0,
    decapsulated: 0,
    commits: 0,
    commitFailures: 0,
    evicted: 0,
    mapsLearnt: 0,
    closed: 0,
  }
  readonly mappings: MappingTable
  readonly #ports: HostPorts
  readonly #settings: HostSettings
  readonly #directory: DirectoryIndex
  readonly #forwarders = new Map<number, ForwarderState>()
  readonly #key = new Uint32Array(5)
  readonly #tuple = new Uint32Array(10)
  readonly #answer = createMappingHeader()
  readonly #unknown: UnknownIdentifiers
  readonly #ends: MappingEnds

  /** Requests for unknown identifiers, and packets that waited for them. */
  get unknownCounters(): UnknownIdentifiers['counters'] {
    return this.#unknown.counters
  }

  constructor(parts: {
    mappings: MappingTable
    directory: DirectoryIndex
    held: HeldPackets
    ports: HostPorts
    settings: HostSettings
  }) {
    this.mappings = parts.mappings
    this.#ports = parts.ports
    this.#settings = parts.settings
    this.#unknown = new UnknownIdentifiers({
      held: parts.held,
      asksPerSecond: parts.settings.asksPerSecond,
      forwarder: tunnel => this.#forwarders.get(tunnel),
      datagram: parts.ports.datagram,
      drop: parts.ports.drop,
    })
    this.#ends = new MappingEnds(parts)
    this.#directory = parts.directory
    this.reconfigured(0)
  }

  /**
   * A MAP datagram whose tag was verified. Steps: (1) its forwarder is one of ours and sent it; (2) its time is
   * within the window, else STALE_TIME with our time; (3) its epoch is not older than the newest seen, else REFUSED
   * with ours; a newer one ends every mapping of the older; (4) it is not older than the mapping in place;
   * (5) nor than what the kernel has acknowledged; a different 4-tuple replaces the old one in the kernel before (6) it is acknowledged; (7) the packet that came
   * along, if any, is delivered; (8) then those that waited for it.
   */
  map(header: MappingHeader, inner: PacketRef | null, sourceIpv4: number, nowMs: number, nowS: number): void {
    const tunnel = ipv4Word(header.node, 0)
    const forwarder = this.#forwarders.get(tunnel)
    if (forwarder === undefined || forwarder.ipv4 !== sourceIpv4)
      return this.#ports.drop(DROP.MAPPING_NOT_A_PEER)
    this.counters.mapsReceived++
    if (Math.abs(header.timeS - nowS) > this.#settings.timeWindowS) {
      this.#reply(header, KIND.STALE_TIME, sourceIpv4, nowS)
      return this.#ports.drop(DROP.MAPPING_TIME)
    }
    const age = (header.epoch - forwarder.epoch) >> 0
    if (forwarder.epoch !== 0 && age < 0) {
      header.epoch = forwarder.epoch
      this.#reply(header, KIND.REFUSED, sourceIpv4, nowS)
      return this.#ports.drop(DROP.MAPPING_OLD_EPOCH)
    }
    if (forwarder.epoch !== header.epoch) this.#newEpoch(tunnel, forwarder, header.epoch, nowMs)
    const { epoch, identifier, sequence } = header
    const isOver = this.#ports.supersedes?.(tunnel, epoch, identifier, sequence) ?? false
    const slot = this.#learn(header, inner !== null, nowMs, isOver)
    if (slot < 0) return
    this.#commitNow(slot, nowMs)
    this.#reply(header, KIND.MAP_ACK, sourceIpv4, nowS)
    if (inner !== null) this.#inject(slot, inner, nowMs)
    this.#unknown.release(tunnel, header.identifier, packet => this.#restore(slot, packet, nowMs))
  }

  /**
   * A MAP datagram whose mapping the kernel has put in force by itself, and whose packet it has taken in. It has seen to all that `map` sees to
   * but what another mapping of the identifier says that the kernel does not hold (any more): one that is newer ends it here. Nothing is
   * acknowledged before that.
   * @param tcpFlags of the packet; `tunnelled`: packets have followed the mapping
   */
  learnt(header: MappingHeader, tcpFlags: number, tunnelled: boolean, nowMs: number, nowS: number): void {
    const tunnel = ipv4Word(header.node, 0)
    const forwarder = this.#forwarders.get(tunnel)
    // An agent that has taken over: the kernel knew it.
    if (forwarder?.epoch === 0) this.#newEpoch(tunnel, forwarder, header.epoch, nowMs)
    const slot = forwarder?.epoch === header.epoch ? this.#learn(header, true, nowMs) : -1
    if (forwarder === undefined || slot < 0) return this.#ports.forget?.(tunnel, header.identifier)
    this.counters.mapsReceived++
    this.counters.mapsLearnt++
    this.#move(slot, tcpFlags, tunnelled || header.protocol !== 6 || (tcpFlags & TCP_SYN) === 0, nowMs)
    this.#commitNow(slot, nowMs)
    this.#reply(header, KIND.MAP_ACK, forwarder.ipv4, nowS)
    this.#unknown.release(tunnel, header.identifier, packet => this.#restore(slot, packet, nowMs))
  }

  /** A FIN or RST has followed a mapping in the kernel. */
  closes(tunnel: number, identifier: number, nowMs: number): void {
    this.#tunnelKey(tunnel, identifier)
    const slot = this.mappings.table.find(this.#key)
    if (slot >= 0) this.#move(slot, TCP_FIN, true, nowMs)
  }

  /** @param isOver only what is known may be said again */
  #learn(header: MappingHeader, hasInner: boolean, nowMs: number, isOver = false): number {
    const { mappings } = this
    const tuple = this.#tuple
    tuple.set(header.client, 0)
    tuple.set(header.vip, 4)
    tuple[8] = header.ports
    tuple[9] = header.protocol
    this.#key.set(header.node, 0)
    this.#key[4] = header.identifier
    let slot = mappings.table.find(this.#key)
    let older = false
    if (slot >= 0) {
      older = (header.sequence - mappings.sequence[slot]) >> 0 < 0
      const same = mappings.sameTuple(slot, tuple)
      if ((older || isOver) && !same) {
        this.#ports.drop(DROP.MAPPING_OLD_SEQUENCE)
        return -1
      }
      if (same) {
        this.counters.mapsRefreshed++
      } else {
        this.counters.mapsReplaced++
        this.#ends.withdraw(slot, nowMs)
        mappings.setTuple(slot, tuple)
        mappings.slowPackets[slot] = 0
        mappings.table.move(slot, MAPPING_LIST.EMBRYONIC, nowMs)
      }
    } else {
      if (isOver) {
        this.#ports.drop(DROP.MAPPING_OLD_SEQUENCE)
        return -1
      }
      if (this.#ends.makeRoom(nowMs)) this.counters.evicted++
      slot = mappings.insert(this.#key, tuple, nowMs)
      if (slot < 0) {
        this.#ports.drop(DROP.TABLE_FULL)
        return -1
      }
    }
    mappings.epoch[slot] = header.epoch
    if (!older) mappings.sequence[slot] = header.sequence
    if (!hasInner) mappings.table.touch(slot, nowMs)
    return slot
  }

  #newEpoch(tunnel: number, forwarder: ForwarderState, epoch: number, nowMs: number): void {
    if (forwarder.epoch !== 0) {
      const { table } = this.mappings
      const slots = table.select(slot => table.keyWord(slot, 3) === tunnel)
      if (this.#ports.withdrawTunnel?.(tunnel)) for (const slot of slots) this.mappings.remove(slot)
      else this.#ends.removeAll(slots, nowMs)
    }
    this.counters.epochsSeen++
    forwarder.epoch = epoch
    this.#ports.epoch?.(tunnel, epoch)
  }

  #reply(header: MappingHeader, kind: number, destination: number, timeS: number): void {
    const answer = this.#answer
    answer.kind = kind
    answer.epoch = header.epoch
    answer.sequence = header.sequence
    answer.timeS = timeS
    answer.identifier = header.identifier
    answer.protocol = header.protocol
    answer.hostIndex = header.hostIndex
    answer.ports = header.ports
    answer.client.set(header.client)
    answer.vip.set(header.vip)
    answer.node.set(header.node)
    this.#ports.datagram(answer, destination)
  }

  /**
   * A packet in tunnelled form that the kernel did not restore; `packet.view` is of the tunnelled form.
   * @param tunnel the forwarder's tunnel address of IPv4, of whatever family the packet is
   */
  tunnelled(packet: PacketRef, tunnel: number, nowMs: number): void {
    this.counters.slowPackets++
    const forwarder = this.#forwarders.get(tunnel)
    if (forwarder === undefined) return this.#ports.drop(DROP.MAPPING_NOT_A_PEER)
    const identifier = ((packet.view.sourcePort << 16) | packet.view.destinationPort) >>> 0
    this.#tunnelKey(tunnel, identifier)
    const slot = this.mappings.table.find(this.#key)
    if (slot >= 0 && this.mappings.epoch[slot] === forwarder.epoch) return this.#restore(slot, packet, nowMs)
    this.#unknown.wait(tunnel, identifier, packet, nowMs)
  }

  /** The slot of a mapping that holds, or -1. */
  mappingOf(tunnel: number, identifier: number): number {
    this.#tunnelKey(tunnel, identifier)
    const slot = this.mappings.table.find(this.#key)
    return slot >= 0 && this.mappings.epoch[slot] === this.#forwarders.get(tunnel)?.epoch ? slot : -1
  }

  /** A packet that came whole in another one from a forwarder (R-A4), and was taken out: it says all itself. */
  decapsulated(packet: PacketRef): void {
    readFlowKey(packet.buf, packet.offset, packet.view, this.#tuple)
    if (this.#directory.serviceOf(this.#tuple, 0) === undefined) return this.#ports.drop(DROP.NOT_A_SERVICE)
    this.counters.decapsulated++
    this.#ports.inject(packet)
  }

  #tunnelKey(tunnel: number, identifier: number): void {
    const key = this.#key
    key[0] = 0
    key[1] = 0
    key[2] = 0xffff
    key[3] = tunnel
    key[4] = identifier
  }

  #restore(slot: number, packet: PacketRef, nowMs: number): void {
    const { tuples } = this.mappings
    const { family, protocol } = packet.view
    if (tuples[slot * TUPLE_WORDS + 9] !== protocol || isIpv4(tuples, slot * TUPLE_WORDS) !== (family === 4))
      return this.#ports.drop(DROP.MAPPING_TUPLE_MISMATCH)
    const flags = packet.view.tcpFlags
    this.#life(slot, flags, true, nowMs)
    this.counters.injected++
    this.#ports.restore(packet, slot)
    this.#maybeCommit(slot, protocol === 6 ? flags : 0, nowMs)
  }

  #inject(slot: number, inner: PacketRef, nowMs: number): void {
    const flags = inner.view.tcpFlags
    this.#life(slot, flags, inner.view.protocol !== 6 || (flags & TCP_SYN) === 0, nowMs)
    this.counters.injected++
    this.#ports.inject(inner)
  }

  #life(slot: number, tcpFlags: number, confirms: boolean, nowMs: number): void {
    const { slowPackets } = this.mappings
    // A SYN begins a connection anew, if need be on the ports of the one before.
    if ((tcpFlags & TCP_SYN) !== 0) slowPackets[slot] = 0
    slowPackets[slot]++
    this.#move(slot, tcpFlags, confirms, nowMs)
  }

  #move(slot: number, tcpFlags: number, confirms: boolean, nowMs: number): void {
    const { table, committedUntilMs } = this.mappings
    if ((tcpFlags & (TCP_FIN | TCP_RST)) !== 0) {
      this.counters.closed++
      return table.move(slot, MAPPING_LIST.CLOSING, nowMs)
    }
    if (table.listOf(slot) !== MAPPING_LIST.EMBRYONIC || !confirms) return table.touch(slot, nowMs)
    const committed = committedUntilMs[slot] > nowMs
    table.move(slot, committed ? MAPPING_LIST.COMMITTED : MAPPING_LIST.ESTABLISHED, nowMs)
  }

  /** Into the kernel at once, where that is cheap. */
  #commitNow(slot: number, nowMs: number): void {
    if (this.#settings.commitAfterPackets === 0) this.#maybeCommit(slot, 0, nowMs)
  }

  #maybeCommit(slot: number, tcpFlags: number, nowMs: number): void {
    const { mappings } = this
    if (
      mappings.slowPackets[slot] < this.#settings.commitAfterPackets ||
      mappings.committedUntilMs[slot] > nowMs
    )
      return
    if ((tcpFlags & (TCP_SYN | TCP_FIN | TCP_RST)) !== 0) return
    mappings.committedUntilMs[slot] = leaseEnd(this.#settings, nowMs)
    this.counters.commits++
    if (mappings.table.listOf(slot) === MAPPING_LIST.ESTABLISHED)
      mappings.table.move(slot, MAPPING_LIST.COMMITTED, nowMs)
    this.#ports.commit(slot)
  }

  commitFailed(slot: number): void {
    this.counters.commitFailures++
    this.mappings.committedUntilMs[slot] = 0
    this.mappings.slowPackets[slot] = 0
  }

  /** The forwarder does not know the identifier either: what waited for it belongs to nobody. */
  unknown(header: MappingHeader, sourceIpv4: number): void {
    const tunnel = ipv4Word(header.node, 0)
    if (this.#forwarders.get(tunnel)?.ipv4 !== sourceIpv4) return this.#ports.drop(DROP.MAPPING_NOT_A_PEER)
    this.#unknown.belongsToNobody(tunnel, header.identifier)
  }

  /**
   * The directory has changed: mappings of forwarders and services that are gone end, and are out of the kernel when this
   * returns, as are packets that wait for one of them. A forwarder that comes back begins with the epoch it says.
   */
  reconfigured(nowMs: number): void {
    const { forwarders } = this.#directory.directory
    const gone = new Set<number>()
    for (const [tunnel, state] of this.#forwarders) {
      const now = this.#directory.forwarderAt(tunnel)
      if (now?.ipv4 !== state.ipv4 || !sameWords(now.tunnelWords6, state.tunnelWords6)) gone.add(tunnel)
    }
    for (const tunnel of gone) {
      this.#forwarders.delete(tunnel)
      this.#unknown.forgetTunnel(tunnel)
    }
    const { table, tuples } = this.mappings
    this.#ends.removeAll(
      table.select(
        slot =>
          gone.has(table.keyWord(slot, 3)) ||
          this.#directory.serviceOf(tuples, slot * TUPLE_WORDS) === undefined,
      ),
      nowMs,
    )
    for (const { tunnelIpv4, ipv4, tunnelWords6 } of forwarders)
      if (!this.#forwarders.has(tunnelIpv4))
        this.#forwarders.set(tunnelIpv4, { epoch: 0, ipv4, tunnelWords6 })
  }

  /**
   * Takes in the mappings that an agent before left in the table's columns, and with them the epoch of each forwarder.
   * @param laterMs see SlotTable.adopt
   */
  adopt(laterMs: number): void {
    const { mappings } = this
    const { table, tuples, epoch } = mappings
    mappings.adopt(
      laterMs,
      slot =>
        this.#forwarders.has(table.keyWord(slot, 3)) &&
        this.#directory.serviceOf(tuples, slot * TUPLE_WORDS) !== undefined,
    )
    for (const slot of table.select(() => true)) {
      mappings.committedUntilMs[slot] = 0
      const forwarder = this.#forwarders.get(table.keyWord(slot, 3))!
      if (forwarder.epoch === 0 || (epoch[slot] - forwarder.epoch) >> 0 > 0) forwarder.epoch = epoch[slot]
    }
  }

  tick(nowMs: number, maxWork = 4096): void {
    this.#ends.tick(nowMs, maxWork)
    this.#unknown.tick(nowMs)
  }
}

const sameWords = (a: Uint32Array | undefined, b: Uint32Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : addressEquals(a, 0, b, 0)
