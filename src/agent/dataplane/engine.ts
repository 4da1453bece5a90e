import { Affinity } from '../classify/affinity.ts'
import { ClassifierCore } from '../classify/classifier-core.ts'
import { HealthAllotment } from '../classify/health-allotment.ts'
import type { AllotmentUpdate } from '../classify/update.ts'
import { RouteBatch } from './batch.ts'
import { DirectoryIndex, type ForwarderEntry } from './directory.ts'
import { DROP, type DropCounters } from './drops.ts'
import { isEncapsulated, takeOut } from './encapsulate.ts'
import type { EngineParts, Mutable } from './engine-parts.ts'
import { FirstClients } from './first-clients.ts'
import { addressEquals, ipv4Word, isIpv4, readIpv6 } from './flow-key.ts'
import type { ForwarderCore } from './forwarder-core.ts'
import type { ForwarderSettings } from './forwarder-ports.ts'
import { HeldPackets } from './held.ts'
import type { HostCore, HostSettings } from './host-core.ts'
import { isIcmp } from './icmp-packet.ts'
import { IcmpSide } from './icmp-side.ts'
import type { IdentifierAllocator } from './identifiers.ts'
import { makeForwarder, sameTunnels } from './make-forwarder.ts'
import { hostSettings, makeHost } from './make-host.ts'
import { KIND, type MappingHeader } from './mapping-header.ts'
import type { DataplanePlan } from './messages.ts'
import { createPacketRef, type PacketRef } from './packet-ref.ts'
import type { RecordQueue } from './record-queue.ts'
import type { Resolution } from './resolution.ts'
import { rewriteTuple } from './rewrite.ts'
import { readRingPacket } from './slow-path.ts'

/** Ends of quarantine looked for in a tick while no forwarder is there to do so. */
const IDENTIFIERS_PER_TICK = 4096

type Timeouts = DataplanePlan['timeouts']

const inventoryIdleMs = ({ tcpIdle, routeLease }: Timeouts): number => tcpIdle + routeLease

/**
 * The cores of this node's roles, wired to one another and to the ports (R-A2): no loop, no sockets. Another plan takes the
 * place of the one in force between two packets (`reconfigure`): what stays keeps its tables.
 */
export class Engine {
  plan: DataplanePlan
  readonly directory: DirectoryIndex
  forwarder: ForwarderCore | null = null
  classifier: ClassifierCore | null = null
  host: HostCore | null = null
  readonly icmp: IcmpSide
  /** Outlives the forwarder role as long as one rests: a late packet of the role's flows must not meet a new one's. */
  identifiers: IdentifierAllocator | null = null
  readonly heldByForwarder: HeldPackets
  heldByHost: HeldPackets
  readonly drops: DropCounters
  /** What chooses: sessions of clients, then what is allotted. */
  readonly affinity: Affinity
  readonly allotment: HealthAllotment
  /** First packets that wait for what other units know of their clients. */
  readonly clients: FirstClients
  /** Routes for forwarders elsewhere, by their address. */
  readonly plumbs = new Map<number, RouteBatch>()
  readonly ended = new RouteBatch()
  /** Of the forwarder role: flows whose host is asked for, and the questions. */
  resolving: { readonly resolution: Resolution; readonly questions: RecordQueue } | null = null
  readonly #parts: EngineParts
  readonly #packet = createPacketRef()
  /** Source and destination. */
  readonly #ends = new Uint32Array(8)
  #forwarderSettings: Mutable<ForwarderSettings> | null = null
  #hostSettings: Mutable<HostSettings> | null = null
  /** Of a forwarder role that went: hosts may still hold mappings of it. */
  #lastEpoch: number | null = null
  #keepForwarder: () => void = () => {}
  #nowMs = 0

  constructor(parts: EngineParts) {
    const { plan } = parts
    this.#parts = parts
    this.plan = plan
    this.drops = parts.drops
    this.directory = new DirectoryIndex(plan.directory)
    this.heldByForwarder = new HeldPackets(plan.limits.heldPackets)
    this.heldByHost = new HeldPackets(plan.limits.heldPackets)
    this.allotment = new HealthAllotment(this.directory, plan.choiceKey[0], plan.choiceKey[1])
    this.affinity = new Affinity({
      ...{ directory: this.directory, choice: this.allotment, capacity: plan.limits.affinity },
      ...{ k0: plan.tableKey[0], k1: plan.tableKey[1] },
    })
    this.clients = new FirstClients(plan, this.affinity, this.drops, () => this.forwarder)
    if (plan.asksClients) this.affinity.begin(Number.POSITIVE_INFINITY)
    this.icmp = new IcmpSide(this.drops)
    this.#gainRoles()
    this.#receiveDatagrams()
  }

  /**
   * Another plan for the same node: directory, keys, timeouts and roles may differ; addresses of the node, limits and the
   * keys of hashing stay as they were. Flows of a service or host that is gone end, those of others are not touched. The kernel
   * has the new rules already (KernelSetup.reconfigure), and lost those of a role that goes.
   */
  reconfigure(plan: DataplanePlan, nowMs: number): void {
    const { plan: before } = this
    this.plan = plan
    this.#nowMs = nowMs
    this.#parts.datagrams.setKeys(plan.keys, plan.forwarder?.tunnelIpv4 ?? 0)
    this.directory.replace(plan.directory)
    this.allotment.reconfigured()
    this.affinity.reconfigured()
    if (plan.asksClients && !before.asksClients) this.affinity.begin(Number.POSITIVE_INFINITY)
    this.#loseRoles(before, nowMs)
    this.#assignSettings()
    this.forwarder?.reconfigured(before.timeouts.routeLease, nowMs)
    this.#redeliver(before, nowMs)
    this.host?.reconfigured(nowMs)
    this.classifier?.reconfigured()
    this.#gainRoles()
    this.#parts.datagrams.reset()
    this.#receiveDatagrams()
    const forwarders = new Set(plan.directory.forwarders.map(({ ipv4 }) => ipv4))
    for (const ipv4 of this.plumbs.keys()) if (!forwarders.has(ipv4)) this.plumbs.delete(ipv4)
  }

  /** What goes to hosts in another form from now on: its routes come back in that, as packets pass. */
  #redeliver(before: DataplanePlan, nowMs: number): void {
    const was = new Map(before.directory.services.map(({ index, delivery }) => [index, delivery]))
    const changed = new Set(
      this.plan.directory.services
        .filter(({ index, delivery }) => was.has(index) && was.get(index) !== delivery)
        .map(({ index }) => index),
    )
    const { forwarder } = this
    if (changed.size > 0) forwarder?.unplumbAll(nowMs, slot => changed.has(forwarder.flows.service[slot]))
  }

  #loseRoles(before: DataplanePlan, nowMs: number): void {
    const { plan } = this
    if (this.forwarder !== null && !sameTunnels(plan.forwarder, before.forwarder)) {
      // Another tunnel address leaves the rules of the role in place; with the role the kernel has lost its routes as well.
      if (plan.forwarder !== null) this.forwarder.unplumbAll(nowMs)
      else {
        this.forwarder.forgetRoutes()
        this.#parts.plumber.clearRoutes()
      }
      this.forwarder.endAll(nowMs)
      this.#lastEpoch = this.forwarder.epoch
      this.forwarder = null
      this.resolving = null
      this.icmp.forwarder = null
      this.#forwarderSettings = null
    }
    if (this.host !== null && plan.host === null) {
      for (let i = 0; i < this.heldByHost.size; i++) this.drops.add(DROP.HOLD_TIMEOUT)
      this.heldByHost = new HeldPackets(plan.limits.heldPackets)
      this.host = null
      this.icmp.host = null
      this.#parts.plumber.clearMappings()
      this.#hostSettings = null
    }
    if (!plan.classifier) this.classifier = null
  }

  #assignSettings(): void {
    const { plan } = this
    if (this.#forwarderSettings !== null && plan.forwarder !== null) {
      const { hasClassifier, resolves = false } = plan.forwarder
      Object.assign(this.#forwarderSettings, {
        mtuBytes: plan.mtuBytes,
        timeouts: plan.timeouts,
        hasClassifier,
        resolves,
      } satisfies Partial<ForwarderSettings>)
    }
    if (this.identifiers !== null) this.identifiers.quarantineMs = plan.timeouts.quarantine
    if (this.#hostSettings !== null) Object.assign(this.#hostSettings, hostSettings(plan.timeouts))
    if (this.classifier !== null) this.classifier.idleMs = inventoryIdleMs(plan.timeouts)
  }

  #gainRoles(): void {
    const { plan } = this
    if (plan.forwarder !== null && this.forwarder === null) this.#makeForwarder(plan.forwarder)
    if (plan.classifier && this.classifier === null) this.classifier = this.#makeClassifier()
    if (plan.host !== null && this.host === null) this.#makeHost()
  }

  #makeClassifier(): ClassifierCore {
    const { datagrams, nowS } = this.#parts
    const { limits, timeouts, tableKey } = this.plan
    return new ClassifierCore({
      directory: this.directory,
      ...{ allotment: this.affinity, clients: this.clients },
      ports: {
        datagram: (header, to, packet) => datagrams.send(header, this.#tunnelOf(to), to, packet, nowS()),
        plumb: (forwarder, key, host) => this.#plumbBatch(forwarder).add(key, 0, host),
        drop: reason => this.drops.add(reason),
      },
      capacity: limits.flows,
      idleMs: inventoryIdleMs(timeouts),
      k0: tableKey[0],
      k1: tableKey[1],
    })
  }

  #makeForwarder(own: NonNullable<DataplanePlan['forwarder']>): void {
    const { core, icmp, settings, identifiers, keep, ...resolving } = makeForwarder(
      this.#parts,
      this.plan,
      own,
      {
        directory: this.directory,
        ...{ affinity: this.affinity, clients: this.clients },
        held: this.heldByForwarder,
        identifiers: this.identifiers,
        epoch: this.#epochAfterLast(own.epoch),
        ended: this.ended,
        now: () => this.#nowMs,
      },
    )
    this.forwarder = core
    this.resolving = resolving
    this.icmp.forwarder = icmp
    this.#forwarderSettings = settings
    this.#keepForwarder = keep
    this.identifiers = identifiers
  }

  /** Hosts take messages of a later epoch for a new beginning, and only those. */
  #epochAfterLast(epoch: number): number {
    const last = this.#lastEpoch
    if (last === null || (epoch - last) >> 0 > 0) return epoch
    this.#parts.epochChanged((last + 1) >>> 0)
    return (last + 1) >>> 0
  }

  #makeHost(): void {
    const { core, icmp, settings } = makeHost(this.#parts, this.plan, this.directory, this.heldByHost)
    this.host = core
    this.icmp.host = icmp
    this.#hostSettings = settings
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
      if (this.plan.directory.classifiers.some(c => c.ipv4 === source))
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
    this.allotment.turn(nowMs)
    this.affinity.turn(nowMs)
  }

  stoodStill(): void {
    this.allotment.stoodStill()
    this.forwarder?.doubts.doubtAll()
  }

  /** What the health and load handler allots. In force as soon as `isWithdrawing` is false. */
  allot(update: AllotmentUpdate, nowMs: number): void {
    this.allotment.take(update)
    this.#parts.kernel?.changed(nowMs)
    if (this.allotment.anyInactive) this.forwarder?.kernel.withdrawEmbryonic()
    // Else there is nothing to look for among all flows.
    if (this.allotment.anyInactive || this.isWithdrawing) this.forwarder?.directed(nowMs)
  }

  /** Routes that no packet may follow any more are still in the kernel: `withdraw` again. */
  get isWithdrawing(): boolean {
    return this.forwarder?.isWithdrawing ?? false
  }

  withdraw(nowMs: number): void {
    this.forwarder?.withdraw(nowMs)
  }

  /** A packet from the ring: tunnelled to us as a host, or for a VIP of ours as a forwarder. */
  readonly ringPacket = (buf: Uint8Array, offset: number, length: number, vnet: number): void => {
    const packet = this.#packet
    const reason = readRingPacket(packet, buf, offset, length, vnet)
    const isWhole = reason === DROP.UNSUPPORTED_PROTOCOL && isEncapsulated(packet)
    if (reason !== DROP.NONE && !isWhole) return this.drops.add(reason)
    const forwarder = this.host === null ? undefined : this.#tunnelledBy(packet)
    if (isWhole) return forwarder === undefined ? this.drops.add(reason) : this.#encapsulated(packet)
    if (isIcmp(packet.view)) return this.icmp.packet(packet, forwarder?.tunnelIpv4, this.#nowMs)
    if (forwarder !== undefined) return this.host!.tunnelled(packet, forwarder.tunnelIpv4, this.#nowMs)
    if (this.forwarder === null) return this.drops.add(DROP.NOT_A_SERVICE)
    if (this.#isOwnTunnelled(packet)) return this.#unsent(packet)
    this.forwarder.packet(packet, this.#nowMs)
  }

  /** From this forwarder's own tunnel address. */
  #isOwnTunnelled({ buf, offset, view }: PacketRef): boolean {
    const { forwarder } = this.plan
    if (view.family === 4) return readU32(buf, offset + 12) === forwarder?.tunnelIpv4
    readIpv6(buf, offset + 8, this.#ends, 0)
    const own = forwarder?.tunnelWords6
    return own !== undefined && addressEquals(this.#ends, 0, own, 0)
  }

  /** A packet that the kernel's rules gave its tunnelled form, and then found too large to send: as it was before. */
  #unsent(packet: PacketRef): void {
    const { identifiers, forwarder } = this
    const slot =
      identifiers?.owner(((packet.view.sourcePort << 16) | packet.view.destinationPort) >>> 0) ?? -1
    if (slot < 0 || forwarder === null) return this.drops.add(DROP.UNKNOWN_IDENTIFIER)
    const { keys } = forwarder.flows.table
    const at = slot * 10
    if (keys[at + 9] !== packet.view.protocol || isIpv4(keys, at) !== (packet.view.family === 4))
      return this.drops.add(DROP.MAPPING_TUPLE_MISMATCH)
    const { buf, offset, view, partialChecksum } = packet
    rewriteTuple(buf, offset, view, keys, at, keys, at + 4, keys[at + 8], partialChecksum)
    forwarder.packet(packet, this.#nowMs)
  }

  #encapsulated(packet: PacketRef): void {
    const reason = takeOut(packet)
    if (reason !== DROP.NONE) return this.drops.add(reason)
    this.host!.decapsulated(packet)
  }

  /** Of a packet from a tunnel address to this node. */
  #tunnelledBy({ buf, offset, view }: PacketRef): ForwarderEntry | undefined {
    if (view.family === 4) {
      const forwarder = this.directory.forwarderAt(readU32(buf, offset + 12))
      return readU32(buf, offset + 16) === this.plan.clusterIpv4 ? forwarder : undefined
    }
    const ends = this.#ends
    readIpv6(buf, offset + 8, ends, 0)
    readIpv6(buf, offset + 24, ends, 4)
    const own = this.plan.clusterWords6
    if (own === undefined || !addressEquals(ends, 4, own, 0)) return undefined
    return this.directory.forwarderAt6(ends, 0)
  }

  tick(nowMs: number): void {
    this.forwarder?.tick(nowMs)
    if (this.forwarder !== null) this.#keepForwarder()
    this.host?.tick(nowMs)
    this.classifier?.tick(nowMs)
    this.allotment.tick()
    this.affinity.tick()
    this.clients.tick(nowMs)
    if (this.forwarder === null && this.identifiers !== null) this.#rest(this.identifiers, nowMs)
  }

  #rest(identifiers: IdentifierAllocator, nowMs: number): void {
    identifiers.expire(nowMs, IDENTIFIERS_PER_TICK)
    if (identifiers.quarantined === 0) this.identifiers = null
  }

  /** Packets wait for an answer: look again soon. */
  get impatient(): boolean {
    const resolving = (this.resolving?.resolution.size ?? 0) + this.clients.size
    return this.heldByForwarder.size > 0 || this.heldByHost.size > 0 || resolving > 0
  }
}

const readU32 = (buf: Uint8Array, at: number): number =>
  ((buf[at] << 24) | (buf[at + 1] << 16) | (buf[at + 2] << 8) | buf[at + 3]) >>> 0
