import type { DirectiveState } from '../../health/types.ts'
import type { DirectoryIndex, Readiness, ServiceEntry } from '../dataplane/directory.ts'
import { type Allotment, CapacityAllotment } from './allotment.ts'
import type { ChoiceHost } from './choice-table.ts'
import { Deal } from './deal.ts'
import { type ChoiceFacts, candidatesOf, type Explanation, shareOf, tokensOf } from './explain.ts'
import { Rendezvous } from './rendezvous.ts'
import type { AllotmentUpdate, HostLease, ServiceAllotment } from './update.ts'

/** A handler that is silent is asked again after this (ms). */
const ASK_AGAIN_MS = 250
const HOST_INDEXES = 256

const STATE: Record<DirectiveState, number> = { active: 1, draining: 2, inactive: 3 }
const STATE_NAMES = [null, 'active', 'draining', 'inactive'] as const

interface Held {
  readonly deal: Deal
  /** May take something new now, by host index. */
  readonly usable: (host: number) => boolean
  /** By host index: 1 for the service's configured hosts, whatever others say of themselves. */
  readonly members: Uint8Array
  /** By host index; 0: the host has no row. */
  readonly states: Uint8Array
  /** By host index: 1 for hosts at the service's threshold of load. */
  readonly full: Uint8Array
  /** By host index: where a flow of unknown origin may be. */
  readonly weights: Map<number, number>
  askedAtMs: number
}

/**
 * New connections as the health and load handler allots them (R-B10), once it has; before, as configured. When the handler is silent
 * the last percentages go on, by hash, as long as the hosts' leases hold: a host without lease is chosen for nothing.
 */
export class HealthAllotment implements Allotment, Readiness {
  /** `allotment_stale`: connections for which no allotment was valid. */
  readonly counters = { allotments: 0, allotment_panic: 0, allotment_stale: 0, allotment_wanted: 0 }
  readonly #directory: DirectoryIndex
  readonly #rendezvous: Rendezvous
  readonly #before: CapacityAllotment
  /** By service index. */
  readonly #services = new Map<number, Held>()
  /** By host index, monotonic ms. */
  readonly #leases = new Float64Array(HOST_INDEXES)
  /** By service and host: it was alive once, with row and lease. */
  readonly #heard = new Set<number>()
  #wanted = new Set<number>()
  #isComplete = false
  /** Pairs of service and host. */
  #inactive = 0
  #nowMs = 0

  constructor(directory: DirectoryIndex, k0: number, k1: number) {
    this.#directory = directory
    this.#rendezvous = new Rendezvous(k0, k1)
    this.#before = new CapacityAllotment(directory, k0, k1)
  }

  /** The time that everything sees until the next call. */
  turn(nowMs: number): void {
    this.#nowMs = nowMs
  }

  take({ services, leases, complete }: AllotmentUpdate): void {
    this.#directory.readiness = this
    this.renew(leases)
    if (complete) {
      this.#isComplete = true
      const listed = new Set(services.map(({ index }) => index))
      for (const index of this.#services.keys()) if (!listed.has(index)) this.#services.delete(index)
    }
    for (const service of services) this.#take(service)
    for (const { index, states } of services) for (const { host } of states) this.#hear(index, host)
    this.#countInactive()
  }

  #take({ index, allotment, states }: ServiceAllotment): void {
    const before = this.#services.get(index)
    const isNew = before?.deal.number !== allotment.number
    const members = new Uint8Array(HOST_INDEXES)
    const held: Held = {
      // What was used up of it stays used up.
      deal: isNew || before === undefined ? new Deal(allotment, this.#nowMs, before?.deal) : before.deal,
      usable: host => members[host] === 1 && this.#isUsable(host),
      members,
      states: new Uint8Array(HOST_INDEXES),
      full: new Uint8Array(HOST_INDEXES),
      weights: new Map(states.map(({ host, weight }) => [host, weight])),
      askedAtMs: Number.NEGATIVE_INFINITY,
    }
    for (const { host, state, full } of states) {
      held.states[host] = STATE[state]
      held.full[host] = full === true ? 1 : 0
    }
    this.#setMembers(index, members)
    this.#services.set(index, held)
    this.#wanted.delete(index)
    if (!isNew) return
    this.counters.allotments++
    if (allotment.panic) this.counters.allotment_panic++
  }

  renew(leases: readonly HostLease[]): void {
    for (const { host, untilMs } of leases) this.#leases[host] = untilMs
    for (const { host } of leases) for (const index of this.#services.keys()) this.#hear(index, host)
  }

  /**
   * This machine was suspended: whatever the leases said, nobody has vouched for a host meanwhile. A lease without an end stands on
   * nobody's word (the host's agent is of an earlier version), and nothing would renew it.
   */
  stoodStill(): void {
    for (const [host, untilMs] of this.#leases.entries()) if (Number.isFinite(untilMs)) this.#leases[host] = 0
  }

  /** The directory has changed: what was allotted of services and hosts that are gone is forgotten. */
  reconfigured(): void {
    for (const [index, { members }] of this.#services) {
      if (this.#directory.serviceAt(index) === undefined) this.#services.delete(index)
      else this.#setMembers(index, members)
    }
    for (let host = 0; host < HOST_INDEXES; host++) {
      if (this.#directory.host(host) !== undefined) continue
      this.#leases[host] = 0
      // Its index may come to mean another host.
      for (const index of this.#services.keys()) this.#heard.delete(index * HOST_INDEXES + host)
      for (const { states, weights, full } of this.#services.values()) {
        states[host] = 0
        full[host] = 0
        weights.delete(host)
      }
    }
    this.#countInactive()
  }

  #setMembers(service: number, members: Uint8Array): void {
    members.fill(0)
    for (const { index } of this.#directory.serviceAt(service)?.hosts ?? []) members[index] = 1
  }

  #countInactive(): void {
    this.#inactive = 0
    for (const { states } of this.#services.values())
      for (const state of states) if (state === STATE.inactive) this.#inactive++
  }

  choose(service: ServiceEntry, key: Uint32Array, at: number, opens: boolean): number {
    const held = this.#services.get(service.index)
    if (held === undefined && !this.#isComplete) return this.#before.choose(service, key, at)
    if (!opens) return this.#whereItMayBe(service, held, key, at)
    if (held === undefined) return 0
    const { deal } = held
    if (this.#nowMs >= deal.untilMs) return this.#stale(service.index, held, key, at)
    if (deal.scheme === 'hash') return this.#byHash(held, key, at)
    if (deal.scheme === 'percentages') return deal.byRecord(held.usable)
    const chosen = deal.byToken(held.usable)
    if (deal.isLow) this.#want(service.index, held)
    return chosen === 0 ? this.#stale(service.index, held, key, at) : chosen
  }

  /** What `choose` would answer a first packet now, and what it would look at. Uses nothing up, asks for nothing (`shunt trace`). */
  explain(service: ServiceEntry, key: Uint32Array, at: number): Explanation {
    const held = this.#services.get(service.index)
    const isBefore = held === undefined && !this.#isComplete
    const facts: ChoiceFacts = {
      shareOf: host => shareOf(isBefore, held?.deal, service, host),
      tokensOf: host => tokensOf(held?.deal, host),
      leaseMsOf: host => (isBefore ? null : this.#leases[host] - this.#nowMs),
      stateOf: host => STATE_NAMES[held?.states[host] ?? 0] ?? null,
    }
    const candidates = candidatesOf(service, this.#directory, facts)
    if (isBefore) return { by: 'capacity', chosen: this.#before.choose(service, key, at), candidates }
    if (held === undefined) return { by: 'nothing', chosen: 0, candidates }
    const { scheme } = held.deal
    const dealt = this.#nowMs >= held.deal.untilMs ? 0 : held.deal.peek(held.usable)
    if (dealt !== 0) return { by: scheme, chosen: dealt, candidates }
    // As `choose` does when percentages or tokens give nothing; percentages that are valid and give nothing have no usable host.
    return { by: scheme === 'hash' ? 'hash' : 'stale', chosen: this.#byHash(held, key, at), candidates }
  }

  #stale(service: number, held: Held, key: Uint32Array, at: number): number {
    this.#want(service, held)
    const chosen = this.#byHash(held, key, at)
    if (chosen !== 0) this.counters.allotment_stale++
    return chosen
  }

  #byHash({ deal, usable }: Held, key: Uint32Array, at: number): number {
    this.#rendezvous.begin(key, at)
    for (let i = 0; i < deal.hosts.length; i++) {
      const index = deal.hosts[i]
      if (usable(index)) this.#rendezvous.offer(index, this.#directory.host(index)!.hash, deal.weights[i])
    }
    return this.#rendezvous.best
  }

  /**
   * The hosts of a service as a choice by hash goes among them, in its order; null: each new flow is to be chosen for by itself, because of
   * another scheme, or because some host must get no packet at all.
   */
  hashed(service: ServiceEntry): ChoiceHost[] | null {
    const held = this.#services.get(service.index)
    // Half of an allotment: what the others' leases are is not known yet.
    if (held === undefined)
      return this.#isComplete || this.#services.size > 0 ? null : this.#before.hosts(service)
    const { deal, usable } = held
    if (deal.scheme !== 'hash' || held.states.includes(STATE.inactive)) return null
    return [...deal.hosts].flatMap((index, i) =>
      usable(index) ? [{ index, hash: this.#directory.host(index)!.hash, weight: deal.weights[i] }] : [],
    )
  }

  /** Until when (ms) something new may go to the host; without any allotment there are no leases. */
  leaseOf(host: number): number {
    return this.#isComplete || this.#services.size > 0 ? this.#leases[host] : Number.POSITIVE_INFINITY
  }

  /** Among the hosts that may have flows: the one that most probably was chosen when this one began. */
  #whereItMayBe(service: ServiceEntry, held: Held | undefined, key: Uint32Array, at: number): number {
    this.#rendezvous.begin(key, at)
    for (const { index, capacity } of service.hosts) {
      const host = this.#directory.host(index)
      const weight = held?.weights.get(index) ?? capacity
      if (host === undefined || !host.live || weight === 0) continue
      if (held?.states[index] === STATE.inactive) continue
      this.#rendezvous.offer(index, host.hash, weight)
    }
    return this.#rendezvous.best
  }

  #isUsable(index: number): boolean {
    const host = this.#directory.host(index)
    return host?.live === true && !host.draining && this.#leases[index] > this.#nowMs
  }

  takesNew(service: ServiceEntry, host: number): boolean {
    const held = this.#services.get(service.index)
    if (held === undefined) return !this.#isComplete && isConfigured(service, host)
    return held.deal.has(host) && held.usable(host)
  }

  /** Some host must get no packet of some service. */
  get anyInactive(): boolean {
    return this.#inactive > 0
  }

  isInactive(service: number, host: number): boolean {
    return this.#inactive > 0 && this.#services.get(service)?.states[host] === STATE.inactive
  }

  /** Since this agent began it was alive once, with row and lease: what it is now is not how it began. */
  isHeard(service: number, host: number): boolean {
    return this.#hear(service, host)
  }

  #hear(service: number, host: number): boolean {
    const key = service * HOST_INDEXES + host
    if (this.#heard.has(key)) return true
    const isThere =
      this.#directory.host(host)?.live === true &&
      this.#leases[host] !== 0 &&
      (this.#services.get(service)?.states[host] ?? 0) !== 0
    if (isThere) this.#heard.add(key)
    return isThere
  }

  /** The host's load is at the threshold that the service set for its clients (R-C7). */
  isFull(service: number, host: number): boolean {
    return this.#services.get(service)?.full[host] === 1
  }

  /** Asks for allotments before they end. */
  tick(): void {
    for (const [index, held] of this.#services)
      if (this.#nowMs >= held.deal.renewAtMs) this.#want(index, held)
  }

  #want(index: number, held: Held): void {
    if (this.#nowMs - held.askedAtMs < ASK_AGAIN_MS) return
    held.askedAtMs = this.#nowMs
    this.#wanted.add(index)
    this.counters.allotment_wanted++
  }

  /** The services to ask the handler for, since the last call. */
  takeWanted(): number[] {
    if (this.#wanted.size === 0) return NONE
    const wanted = [...this.#wanted]
    this.#wanted = new Set()
    return wanted
  }
}

const NONE: number[] = []

const isConfigured = (service: ServiceEntry, host: number): boolean =>
  service.hosts.some(({ index, capacity }) => index === host && capacity > 0)
