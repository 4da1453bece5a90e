import { CapacityAllotment } from '../classify/allotment.ts'
import { ClassifierCore } from '../classify/classifier-core.ts'
import { RouteBatch } from './batch.ts'
import type { Datagrams } from './datagrams.ts'
import { DirectoryIndex } from './directory.ts'
import { DROP, type DropCounters } from './drops.ts'
import { ipv4Word } from './flow-key.ts'
import { FlowTable } from './flows.ts'
import { ForwarderCore } from './forwarder-core.ts'
import { HeldPackets } from './held.ts'
import { HostCore } from './host-core.ts'
import { IdentifierAllocator, isNeutral } from './identifiers.ts'
import { KIND, type MappingHeader } from './mapping-header.ts'
import { MappingTable, TUPLE_WORDS } from './mappings.ts'
import type { DataplanePlan } from './messages.ts'
import type { Plumber } from './nft/plumber.ts'
import { createPacketRef } from './packet-ref.ts'
import { type PacketOutput, readRingPacket } from './slow-path.ts'

/** Slow-path packets after which a flow is worth a kernel route: a small request and its answer need fewer. */
const PLUMB_AFTER_PACKETS = 8
/** Half of them can be in quarantine (ForwarderCore): at least as many again as there can be flows. */
const IDENTIFIERS_PER_FLOW = 4
/** Half of the quarantine, so that an old message can never contradict a newer owner of its identifier. */
const timeWindowS = (quarantineMs: number): number =>
  Math.max(1, Math.min(30, Math.floor(quarantineMs / 2000)))
const ASKS_PER_SECOND = 1000

/** The world as the engine needs it; the worker makes it, a test gives its own. */
export interface EngineParts {
  readonly plan: DataplanePlan
  readonly output: PacketOutput
  readonly datagrams: Datagrams
  readonly plumber: Plumber
  readonly drops: DropCounters
  /** Unix time in whole seconds, as of the current turn. */
  readonly nowS: () => number
  readonly epochChanged: (epoch: number) => void
}

/** The cores of this node's roles, wired to one another and to the ports (R-A2): no loop, no sockets. */
export class Engine {
  readonly plan: DataplanePlan
  readonly directory: DirectoryIndex
  readonly forwarder: ForwarderCore | null
  readonly classifier: ClassifierCore | null
  readonly host: HostCore | null
  readonly identifiers: IdentifierAllocator | null
  readonly heldByForwarder: HeldPackets
  readonly heldByHost: HeldPackets
  readonly drops: DropCounters
  /** Routes for forwarders elsewhere, by their address. */
  readonly plumbs = new Map<number, RouteBatch>()
  readonly ended = new RouteBatch()
  readonly #parts: EngineParts
  readonly #packet = createPacketRef()
  #nowMs = 0

  constructor(parts: EngineParts) {
    const { plan } = parts
    const [k0, k1] = plan.tableKey
    this.#parts = parts
    this.plan = plan
    this.drops = parts.drops
    this.directory = new DirectoryIndex(plan.directory)
    this.heldByForwarder = new HeldPackets(plan.limits.heldPackets)
    this.heldByHost = new HeldPackets(plan.limits.heldPackets)
    const allotment = new CapacityAllotment(this.directory, plan.choiceKey[0], plan.choiceKey[1])
    const { limits, timeouts } = plan
    const capacity = IDENTIFIERS_PER_FLOW * (limits.flows + limits.embryonicFlows)
    this.identifiers =
      plan.forwarder === null
        ? null
        : new IdentifierAllocator({ capacity, quarantineMs: timeouts.quarantine, k0, k1 })
    this.forwarder =
      plan.forwarder === null || this.identifiers === null
        ? null
        : this.#makeForwarder(plan.forwarder, this.identifiers, allotment)
    this.classifier = plan.classifier
      ? new ClassifierCore({
          directory: this.directory,
          allotment,
          ports: {
            datagram: (header, to, packet) =>
              parts.datagrams.send(header, this.#tunnelOf(to), to, packet, parts.nowS()),
            plumb: (forwarder, key, host) => this.#plumbBatch(forwarder).add(key, 0, host),
            drop: reason => this.drops.add(reason),
          },
          capacity: limits.flows,
          idleMs: timeouts.tcpIdle + timeouts.routeLease,
          k0,
          k1,
        })
      : null
    this.host = plan.host === null ? null : this.#makeHost()
    this.#receiveDatagrams()
  }

  #makeForwarder(
    own: NonNullable<DataplanePlan['forwarder']>,
    identifiers: IdentifierAllocator,
    allotment: CapacityAllotment,
  ): ForwarderCore {
    const { plan, output, datagrams, plumber, drops, nowS } = this.#parts
    const flows = new FlowTable(
      plan.limits.flows,
      plan.limits.embryonicFlows,
      plan.tableKey[0],
      plan.tableKey[1],
    )
    const { keys } = flows.table
    return new ForwarderCore({
      flows,
      identifiers,
      held: this.heldByForwarder,
      directory: this.directory,
      allotment,
      settings: {
        tunnelWords: own.tunnelWords,
        epoch: own.epoch,
        mtuBytes: plan.mtuBytes,
        timeouts: plan.timeouts,
        plumbAfterPackets: PLUMB_AFTER_PACKETS,
        hasClassifier: own.hasClassifier,
      },
      ports: {
        tunnel: (packet, identifier, index) =>
          output.tunnel(packet, own.tunnelWords, this.directory.host(index)!.words, identifier),
        deliverLocal: packet => output.inject(packet),
        datagram: (header, to, packet) => datagrams.send(header, own.tunnelIpv4, to, packet, nowS()),
        plumb: slot => {
          const identifier = flows.identifier[slot]
          if (identifier === 0) return plumber.local(slot, keys, slot * 10, plan.timeouts.routeLease)
          const neutral = identifiers.isNeutral(identifier, keys[slot * 10 + 8])
          // Never put into the kernel: see ruleset.ts on identifiers whose checksum must be fixed.
          if (!neutral && keys[slot * 10 + 9] !== 6) return
          plumber.route(slot, keys, slot * 10, identifier, neutral, plan.timeouts.routeLease)
        },
        unplumb: slot => {
          const identifier = flows.identifier[slot]
          const neutral = identifier !== 0 && identifiers.isNeutral(identifier, keys[slot * 10 + 8])
          plumber.unroute(keys, slot * 10, identifier === 0 ? 'local' : neutral ? 'route' : 'fixed')
        },
        ended: slot => {
          if (!own.hasClassifier) this.ended.add(keys, slot * 10, null)
        },
        drop: reason => drops.add(reason),
      },
    })
  }

  #makeHost(): HostCore {
    const { plan, output, datagrams, plumber, drops, nowS } = this.#parts
    const mappings = new MappingTable(
      plan.limits.mappings,
      plan.limits.embryonicFlows,
      plan.tableKey[0],
      plan.tableKey[1],
    )
    const { keys } = mappings.table
    const { timeouts } = plan
    const where = (slot: number) => {
      const identifier = keys[slot * 5 + 4]
      return {
        tunnel: keys[slot * 5 + 3],
        identifier,
        protocol: mappings.tuples[slot * TUPLE_WORDS + 9],
        neutral: isNeutral(identifier, mappings.tuples[slot * TUPLE_WORDS + 8]),
      }
    }
    return new HostCore({
      mappings,
      directory: this.directory,
      held: this.heldByHost,
      settings: {
        timeouts: {
          embryonic: timeouts.embryonic,
          mapping: timeouts.tcpIdle + timeouts.routeLease,
          linger: timeouts.linger,
          routeLease: timeouts.routeLease,
        },
        commitAfterPackets: PLUMB_AFTER_PACKETS,
        timeWindowS: timeWindowS(timeouts.quarantine),
        asksPerSecond: ASKS_PER_SECOND,
      },
      ports: {
        restore: (packet, slot) => output.restore(packet, mappings.tuples, slot * TUPLE_WORDS),
        inject: packet => {
          // The acknowledgement goes first: what the packet sets off (a SYN-ACK, the client's answer) is faster than
          // the end of this turn, and finds the forwarder ready to tunnel.
          datagrams.flush()
          output.inject(packet)
        },
        datagram: (header, to) => datagrams.send(header, ipv4Word(header.node, 0), to, null, nowS()),
        commit: slot => {
          const at = slot * TUPLE_WORDS
          const { tunnel, identifier, neutral } = where(slot)
          if (!neutral && mappings.tuples[at + 9] !== 6) return
          plumber.mapping(slot, tunnel, identifier, mappings.tuples, at, neutral, timeouts.routeLease)
        },
        withdraw: slots => plumber.unmap(slots.map(where)),
        drop: reason => drops.add(reason),
      },
    })
  }

  #receiveDatagrams(): void {
    const { datagrams, epochChanged, nowS } = this.#parts
    const { forwarder, host, classifier, plan } = this
    const own = plan.forwarder?.tunnelIpv4
    if (classifier !== null) {
      datagrams.on(KIND.CLASSIFY, (header, inner, source) =>
        classifier.classify(header, inner, source, this.#nowMs),
      )
    }
    if (host !== null) {
      datagrams.on(KIND.MAP, (header, inner, source) => host.map(header, inner, source, this.#nowMs, nowS()))
      datagrams.on(KIND.UNKNOWN, (header, _inner, source) => host.unknown(header, source))
    }
    if (forwarder === null) return
    datagrams.on(KIND.CLASSIFIED, (header, inner, source) => {
      if (plan.directory.classifiers.some(c => c.ipv4 === source))
        return forwarder.classified(header, inner, this.#nowMs)
      this.drops.add(DROP.MAPPING_WRONG_ROLE)
    })
    const ours = (kind: number, receive: (header: MappingHeader, source: number) => void): void =>
      datagrams.on(kind, (header, _inner, source) => {
        if (ipv4Word(header.node, 0) !== own) return this.drops.add(DROP.MAPPING_NOT_A_PEER)
        if (this.directory.hostAt(source) === undefined) return this.drops.add(DROP.MAPPING_WRONG_ROLE)
        receive(header, source)
      })
    ours(KIND.MAP_ACK, (header, source) => forwarder.acknowledged(header, source, this.#nowMs))
    ours(KIND.ASK, (header, source) => forwarder.asked(header.identifier, source))
    ours(KIND.STALE_TIME, (header, source) => {
      if (forwarder.isRecent(header.sequence)) datagrams.adjustClock(source, header.timeS, nowS())
    })
    ours(KIND.REFUSED, header => {
      if (forwarder.isRecent(header.sequence) && forwarder.advanceEpoch(header.epoch, this.#nowMs))
        epochChanged(forwarder.epoch)
    })
  }

  #tunnelOf(forwarderIpv4: number): number {
    return this.plan.directory.forwarders.find(f => f.ipv4 === forwarderIpv4)?.tunnelIpv4 ?? 0
  }

  #plumbBatch(forwarder: number): RouteBatch {
    let batch = this.plumbs.get(forwarder)
    if (batch === undefined) {
      batch = new RouteBatch()
      this.plumbs.set(forwarder, batch)
    }
    return batch
  }

  /** Start of a turn: the time that everything in it sees. */
  turn(nowMs: number): void {
    this.#nowMs = nowMs
  }

  /** A packet from the ring: tunnelled to us as a host, or for a VIP of ours as a forwarder. */
  readonly ringPacket = (buf: Uint8Array, offset: number, length: number, vnet: number): void => {
    const packet = this.#packet
    const reason = readRingPacket(packet, buf, offset, length, vnet)
    if (reason !== DROP.NONE) return this.drops.add(reason)
    if (this.host !== null) {
      const source = readU32(buf, offset + 12)
      if (
        this.directory.forwarderAt(source) !== undefined &&
        readU32(buf, offset + 16) === this.plan.clusterIpv4
      ) {
        return this.host.tunnelled(packet, source, this.#nowMs)
      }
    }
    if (this.forwarder === null) return this.drops.add(DROP.NOT_A_SERVICE)
    this.forwarder.packet(packet, this.#nowMs)
  }

  tick(nowMs: number): void {
    this.forwarder?.tick(nowMs)
    this.host?.tick(nowMs)
    this.classifier?.tick(nowMs)
  }

  /** Packets wait for an answer: look again soon. */
  get impatient(): boolean {
    return this.heldByForwarder.size > 0 || this.heldByHost.size > 0
  }
}

const readU32 = (buf: Uint8Array, at: number): number =>
  ((buf[at] << 24) | (buf[at + 1] << 16) | (buf[at + 2] << 8) | buf[at + 3]) >>> 0
