/** First packets by the kernel (decision 35): keeps its tables, pools and time limits as they must be, and passes on what it tells. */
import type { BpfMap } from '../../../os/bpf/map.ts'
import type { HealthAllotment } from '../../classify/health-allotment.ts'
import type { DirectoryIndex, ServiceEntry } from '../directory.ts'
import { addressEquals, formatAddress } from '../flow-key.ts'
import type { ForwarderCore } from '../forwarder-core.ts'
import type { IdentifierAllocator } from '../identifiers.ts'
import type { KernelFlow } from '../kernel-flows.ts'
import type { KernelTable } from '../kernel-table.ts'
import type { DataplanePlan } from '../messages.ts'
import { routeGone } from '../route-use.ts'
import { ClassEvents } from './class-events.ts'
import { ClassPools } from './class-pools.ts'
import { ClassSettings } from './class-settings.ts'
import { ClassTables } from './class-tables.ts'
import { Embryos, type FlowTablesByFamily } from './embryos.ts'
import { LostIdentifiers } from './lost-identifiers.ts'
import { numberOf, type ServiceNumbers } from './service-numbers.ts'

/** Time limits are written anew so often. */
const RENEW_MS = 250
/**
 * An agent that has not done so for this long no longer vouches for hosts' leases. Less than is left of the lease of a host that is heard (two
 * beats of a second, less what clocks may be apart): else leases would end with nobody there to renew them, while they still counted.
 */
const VOUCH_MS = 1_250
/** The kernel's coarse clock is late by up to two timer ticks. */
const COARSE_MS = 25
/** Events in one go: others wait for their turn. */
const MOST_EVENTS = 4_096
/** Of half-open flows beyond their time-out, for events that are on their way. */
const MARGIN_MS = 5_000
const HOST_INDEXES = 256
const UDP = 17
/** Mapping messages sent again in one tick, of flows whose hosts have acknowledged none. */
const MOST_REMINDERS = 64

export interface ClassMaps {
  readonly bss: Uint8Array<ArrayBuffer>
  readonly services: Uint8Array<ArrayBuffer>
  readonly choices: Uint8Array<ArrayBuffer>
  readonly pools: Uint8Array<ArrayBuffer>
  readonly flows: FlowTablesByFamily
  readonly events: BpfMap
}

/** The cores that it serves; the forwarder comes and goes with its role. */
export interface ClassCores {
  readonly forwarder: ForwarderCore | null
  readonly identifiers: IdentifierAllocator | null
  readonly directory: DirectoryIndex
  readonly allotment: HealthAllotment
  readonly plan: DataplanePlan
}

export class FirstPackets implements KernelTable {
  readonly sequence: ClassSettings
  readonly #tables: ClassTables
  readonly #pools: ClassPools
  readonly #lost: LostIdentifiers
  readonly #embryos: Embryos
  readonly #events: ClassEvents
  readonly #numbers: ServiceNumbers
  readonly #cores: () => ClassCores
  readonly #clockOf: (ipv4: number) => number
  /** From performance.now() to CLOCK_MONOTONIC. */
  readonly #offsetNs = process.hrtime.bigint() - BigInt(Math.round(performance.now() * 1e6))
  readonly #leases = new Float64Array(HOST_INDEXES)
  /** By host index: 0 none, 1 there, 2 alive, 3 takes something new. */
  readonly #states = new Uint8Array(HOST_INDEXES)
  #isDirty = true
  #renewedMs = Number.NEGATIVE_INFINITY
  #epoch = 0
  #alone: readonly string[] = []
  /** Mapping messages that this tick may still send again. */
  #reminders = 0

  /** @param clockOf by how many seconds the clock of the node at an address is ahead */
  constructor(
    maps: ClassMaps,
    plan: DataplanePlan,
    numbers: ServiceNumbers,
    cores: () => ClassCores,
    clockOf: (ipv4: number) => number,
    tick: () => number,
  ) {
    const { 4: four, 6: six } = maps.flows
    this.sequence = new ClassSettings(maps.bss)
    this.sequence.off()
    this.#tables = new ClassTables(maps.services, maps.choices, plan.choiceKey[0], plan.choiceKey[1])
    this.#pools = new ClassPools(maps.pools)
    this.#lost = new LostIdentifiers(this.#pools, [four.embryos, four.routes, six.embryos, six.routes])
    this.#numbers = numbers
    this.#cores = cores
    this.#clockOf = clockOf
    const now = (): number => performance.now()
    this.#embryos = new Embryos(
      maps.flows,
      numbers,
      {
        gone: (key, flow) => cores().forwarder?.kernel.gone(key, flow, now()),
        used: key => this.#used(key, now()),
      },
      tick,
    )
    const keys = { 4: four.embryos.newKey(), 6: six.embryos.newKey() }
    this.#events = new ClassEvents(maps.events, numbers, keys, words => {
      const { forwarder } = cores()
      if (forwarder !== null) routeGone(forwarder.flows, words, now())
    })
  }

  /** Readable while events wait. */
  get fd(): number {
    return this.#events.ring.fd
  }

  /** VIPs for all services of which flows are opened here; another array when it changes. */
  get alone(): readonly string[] {
    return this.#alone
  }

  /** Before the cores follow another plan: nothing is decided here until `apply`. */
  withdraw(plan: DataplanePlan): void {
    this.sequence.off()
    this.drain()
    const now = new Map(plan.directory.services.map(service => [numberOf(service), service]))
    for (const number of [...this.#tables.numbers])
      if (plan.forwarder === null || !isSame(now.get(number), this.#numbers.at(number)))
        this.#tables.delete(number)
    const hosts = new Map(plan.directory.hosts.map(({ index, ipv4 }) => [index, ipv4]))
    const { directory, identifiers, plan: before } = this.#cores()
    const moves = plan.forwarder?.tunnelIpv4 !== before.forwarder?.tunnelIpv4
    for (let index = 1; index < HOST_INDEXES; index++)
      if (moves || hosts.get(index) !== directory.host(index)?.ipv4)
        this.#pools.empty(index, identifiers, performance.now())
    if (moves) this.#embryos.clear()
  }

  /** After they did. */
  apply(plan: DataplanePlan): void {
    if (plan.forwarder === null) return this.#goesOnWith([])
    for (const { index, ipv4, self } of plan.directory.hosts) {
      const key = plan.keys.find(
        ({ tunnelIpv4, recipientIpv4 }) =>
          tunnelIpv4 === plan.forwarder?.tunnelIpv4 && recipientIpv4 === ipv4,
      )
      if (key !== undefined && !self) this.#pools.key(index, key.number, key.words)
    }
    this.#isDirty = true
    this.#renewedMs = Number.NEGATIVE_INFINITY
    this.sequence.apply(plan)
    this.turn(performance.now())
  }

  changed(nowMs: number): void {
    this.#isDirty = true
    this.turn(nowMs)
    this.drain()
  }

  /** What the kernel has told. Before packets: what they belong to may be among it. */
  drain(): void {
    const { forwarder } = this.#cores()
    if (forwarder !== null) this.#events.drain(forwarder.kernel, MOST_EVENTS, performance.now())
  }

  /** Each turn of the worker; cheap when nothing has changed. */
  turn(nowMs: number): void {
    const { forwarder, plan } = this.#cores()
    if (forwarder === null || !this.sequence.on) return
    if (forwarder.epoch !== this.#epoch) {
      this.#epoch = forwarder.epoch
      this.sequence.epoch(forwarder.epoch)
    }
    if (this.#lookAtHosts(nowMs)) this.#isDirty = true
    if (this.#isDirty) this.#settle(nowMs)
    this.#isDirty = false
    if (nowMs - this.#renewedMs < RENEW_MS) return
    this.#renewedMs = nowMs
    const monotonicNs = this.#ns(nowMs)
    this.sequence.vouch(this.#ns(nowMs + VOUCH_MS), BigInt(Date.now()) * 1_000_000n - monotonicNs)
    this.#tables.renew(this.#ns(nowMs + plan.timeouts.unattended))
  }

  /** Several times a second. */
  tick(nowMs: number): void {
    const { forwarder, identifiers, directory, plan } = this.#cores()
    if (forwarder === null || identifiers === null) return
    const { hosts } = directory.directory
    const lifeMs = plan.timeouts.embryonic + MARGIN_MS
    this.#reminders = MOST_REMINDERS
    this.#embryos.sweep(lifeMs, nowMs)
    forwarder.kernel.counters.kernel_repaired += this.#lost.tick(
      identifiers,
      hosts.map(({ index }) => index),
      lifeMs,
      nowMs,
    )
    for (const { index, ipv4, self } of hosts) if (!self) this.#pools.clock(index, this.#clockOf(ipv4))
  }

  /** Packets of an embryonic flow pass. */
  #used(key: Uint32Array, nowMs: number): void {
    const { forwarder } = this.#cores()
    if (forwarder === null) return
    const slot = forwarder.flows.table.find(key)
    if (slot < 0) forwarder.kernel.search(key, this.sequence.last, nowMs)
    else if (this.#reminders > 0 && forwarder.remind(slot)) this.#reminders--
  }

  /** Often: what was taken from the pools is made up for. */
  refill(nowMs: number): void {
    const { identifiers, directory, forwarder } = this.#cores()
    if (forwarder === null || identifiers === null || !this.sequence.on) return
    const { inUse, quarantined, capacity } = identifiers
    this.sequence.tunnelYoung((inUse + quarantined) * 2 < capacity)
    const { hosts } = directory.directory
    for (const { index, self } of hosts)
      if (!self && this.#states[index] === 3) this.#pools.refill(index, hosts.length, identifiers, nowMs)
  }

  /** Notices what has changed of hosts since the last turn. */
  #lookAtHosts(nowMs: number): boolean {
    const { directory, allotment, forwarder } = this.#cores()
    let changed = false
    let gone = false
    for (const { index, live, draining } of directory.directory.hosts) {
      const leaseMs = allotment.leaseOf(index)
      if (leaseMs !== this.#leases[index]) {
        this.#leases[index] = leaseMs
        this.#pools.lease(index, this.#ns(Math.max(0, leaseMs - COARSE_MS)))
      }
      const state = !live ? 1 : draining || leaseMs <= nowMs ? 2 : 3
      if (state === this.#states[index]) continue
      changed = true
      gone ||= state === 1
      this.#states[index] = state
    }
    if (gone) forwarder?.kernel.withdrawEmbryonic()
    return changed
  }

  #settle(nowMs: number): void {
    const { directory, allotment, plan } = this.#cores()
    const untilNs = this.#ns(nowMs + plan.timeouts.unattended)
    const hashes = new Set<number>()
    /** By VIP. */
    const opened = new Map<string, boolean>()
    const decides = plan.forwarder?.hasClassifier === true
    for (const service of directory.directory.services) {
      // Behind a mapping header they would not be what the path between the nodes wants to see (R-A4).
      // Nor can it ask whose a flow of UDP is that came by another way until now.
      const asks = plan.forwarder?.resolves === true && isUdpSession(service)
      // Nor does it know the sessions of clients.
      const isPlain = service.delivery !== 'encapsulate' && service.affinity === undefined
      const chooses = decides && isPlain && !asks
      const hosts = chooses ? allotment.hashed(service) : null
      const number = numberOf(service)
      if (hosts === null) this.#tables.delete(number)
      else this.#tables.set(number, hosts, untilNs)
      for (const { hash } of hosts ?? []) hashes.add(hash)
      const vip = formatAddress(service.vip, 0)
      // Without any host there is nothing to open.
      const isOpened = hosts?.length === 0 || this.#tables.has(number)
      opened.set(vip, isOpened && opened.get(vip) !== false)
    }
    this.#tables.keep(hashes)
    this.#goesOnWith([...opened].filter(([, all]) => all).map(([vip]) => vip))
    this.refill(nowMs)
  }

  #goesOnWith(alone: readonly string[]): void {
    if (alone.join() !== this.#alone.join()) this.#alone = alone
  }

  #ns(ms: number): bigint {
    return Number.isFinite(ms) ? this.#offsetNs + BigInt(Math.round(ms * 1e6)) : FOR_EVER
  }

  put(key: Uint32Array, at: number, service: number, flow: KernelFlow): boolean {
    return this.sequence.on && this.#tables.has(service + 1) && this.#embryos.put(key, at, flow)
  }

  take(key: Uint32Array, at: number, identifier: number): boolean {
    return this.#embryos.take(key, at, identifier)
  }

  search(key: Uint32Array): (KernelFlow & { readonly isRoute: boolean }) | null {
    return this.#embryos.search(key)
  }

  close(): void {
    this.#events.close()
  }
}

const FOR_EVER = 2n ** 62n

const isUdpSession = ({ protocol, copies = null }: ServiceEntry): boolean =>
  protocol === UDP && copies !== null

const isSame = (a: ServiceEntry | undefined, b: ServiceEntry | undefined): boolean =>
  a !== undefined &&
  b !== undefined &&
  addressEquals(a.vip, 0, b.vip, 0) &&
  a.port === b.port &&
  a.protocol === b.protocol
