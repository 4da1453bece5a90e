import type { DirectoryIndex, ServiceEntry } from '../dataplane/directory.ts'
import { KEY_PROTOCOL } from '../dataplane/flow-key.ts'
import { ATOM_OP, ATOM_WORDS } from '../dataplane/messages.ts'
import { RecordQueue } from '../dataplane/record-queue.ts'
import { SlotTable } from '../dataplane/slot-table.ts'
import { type Allotment, WAITS } from './allotment.ts'
import { writeClientKey } from './client-key.ts'
import type { Explanation } from './explain.ts'

const KEY_WORDS = 10
/** Of first packets alone, which a flood may have made up; and of clients that have, or had, a connection. */
const LIST = { UNPROVEN: 0, PROVEN: 1 } as const
/** Others are told of a session that goes on this often within its time-out, but not more often than each TELL_MOST_MS. */
const TELLS_A_TIMEOUT = 4
const TELL_MOST_MS = 60_000
const QUEUE = 16_384
/** So long after it has begun a unit asks about clients that it does not know: longer than members need to tell it all they have, and to compare twice. */
const ASKS_MS = 30_000
/** Its links to the others and to the hosts stand after so long, or not all of them are there. */
const STARTS_MS = 5_000
/** What a session rests on: on what the others have (or it was told to them); on nothing, for nobody was asked; or not all have answered. */
const RESTS = { HEARD: 0, UNASKED: 1, UNSURE: 2 } as const
const SLOTS_A_TICK = 4_096

/** The choice that is made where a client has no session, or its host cannot take it. */
export interface AffinityChoice extends Allotment {
  explain(service: ServiceEntry, key: Uint32Array, at: number): Explanation
  takesNew(service: ServiceEntry, host: number): boolean
  isInactive(service: number, host: number): boolean
  /** The host's load is at the threshold that the service set for its clients (R-C7). */
  isFull(service: number, host: number): boolean
  /** Something was heard of the host since this unit began: that it takes nothing new is known, not just how it began. */
  isHeard(service: number, host: number): boolean
}

/**
 * Sessions of the kind client address (R-C2): all connections of a client, known by a prefix of its address, go to one host, before load
 * counts (R-C7), unless that host has failed, drains, is inactive or full; then the client moves. A session ends when its time-out has passed since a
 * connection of the client was last in use. Every load balancing unit has a table; what one's connections establish is told to the others as
 * atoms. Where none is known the choice goes by the client's key, so that units which have not heard of each other agree as far as the scheme
 * is by hash. Half-open connections are told to nobody, and give way first. A unit that begins asks the others about a client before it chooses
 * for it; a session that it began without their answer gives way to theirs. Pure.
 */
export class Affinity implements Allotment {
  readonly counters = {
    affinity_kept: 0,
    affinity_begun: 0,
    /** Their host could not take them, or was full. */
    affinity_moved: 0,
    affinity_learnt: 0,
    affinity_expired: 0,
    affinity_evicted: 0,
    affinity_untold: 0,
  }
  /** For the atom manager: records of ATOM_WORDS. */
  readonly queue = new RecordQueue(ATOM_WORDS, QUEUE)
  readonly capacity: number
  readonly #directory: DirectoryIndex
  readonly #choice: AffinityChoice
  readonly #hashKey: readonly [number, number]
  #table: SlotTable | null = null
  /** By slot: index of the host. */
  #host = new Uint8Array(0)
  /** By slot: index of the service; and sessions by it. */
  #service = new Uint16Array(0)
  readonly #sessions: number[] = []
  /** By slot: when others were last told of this host, by whomever; -Infinity: never. */
  #toldMs = new Float64Array(0)
  /** By slot: RESTS. */
  #rests = new Uint8Array(0)
  /** Until when clients are asked about. */
  #asksUntilMs = Number.NEGATIVE_INFINITY
  /** What the packets that go on now have waited for; null: nothing yet. */
  #answer: 'all' | 'not all' | null = null
  readonly #key = new Uint32Array(KEY_WORDS)
  #cursor = 0
  #nowMs = 0

  constructor(parts: {
    directory: DirectoryIndex
    choice: AffinityChoice
    capacity: number
    k0: number
    k1: number
  }) {
    this.#directory = parts.directory
    this.#choice = parts.choice
    this.capacity = parts.capacity
    this.#hashKey = [parts.k0, parts.k1]
  }

  get size(): number {
    return this.#table?.size ?? 0
  }

  /** The time that everything sees until the next call. */
  turn(nowMs: number): void {
    this.#nowMs = nowMs
  }

  choose(service: ServiceEntry, key: Uint32Array, at: number, opens: boolean): number {
    const { affinity } = service
    if (affinity === undefined) return this.#choice.choose(service, key, at, opens)
    writeClientKey(key, at, affinity, this.#key)
    const slot = this.#find(affinity.timeoutMs)
    if (!opens) return this.#whereItMayBe(slot, service)
    if (this.#waits(service, slot)) return WAITS
    if (slot >= 0 && this.#keeps(service, this.#host[slot]!)) return this.#kept(slot)
    const chosen = this.#choice.choose(service, this.#key, 0, true)
    if (slot < 0) {
      const rests = this.#answer === 'not all' ? RESTS.UNSURE : RESTS.HEARD
      if (chosen !== 0 && this.#insert(service.index, chosen, LIST.UNPROVEN, rests) >= 0)
        this.counters.affinity_begun++
      return chosen
    }
    const host = this.#host[slot]!
    if (this.#about(service, host).takesNew && this.#isNoBetter(service, host, chosen))
      return this.#kept(slot)
    if (chosen !== 0) {
      this.#move(slot, chosen)
      // Of a host that was not heard of nobody knows that it has failed.
      const guesses = this.#answer === 'not all' && !this.#choice.isHeard(service.index, host)
      this.#rests[slot] = guesses ? RESTS.UNSURE : RESTS.HEARD
    }
    return chosen
  }

  /** What `choose` would answer a first packet now. Uses nothing up, and is no use of a session (`shunt trace`). */
  explain(service: ServiceEntry, key: Uint32Array, at: number): Explanation {
    const { affinity } = service
    if (affinity === undefined) return this.#choice.explain(service, key, at)
    writeClientKey(key, at, affinity, this.#key)
    const slot = this.#table?.find(this.#key) ?? -1
    const choice = this.#choice.explain(service, this.#key, 0)
    if (slot < 0 || this.#isOver(slot, affinity.timeoutMs)) return choice
    const host = this.#host[slot]!
    const { takesNew, isFull } = this.#about(service, host)
    const stays = takesNew && (!isFull || this.#isNoBetter(service, host, choice.chosen))
    return stays ? { ...choice, by: 'affinity', chosen: host } : choice
  }

  /** Sessions by index of the service. */
  get byService(): readonly number[] {
    return this.#sessions
  }

  /** It has a table: some service has, or had, sessions. */
  get isUsed(): boolean {
    return this.#table !== null
  }

  /** A connection is established at a host, or is still in use there. */
  inUse(service: ServiceEntry, key: Uint32Array, at: number, host: number): void {
    const { affinity } = service
    if (affinity === undefined || this.#directory.host(host) === undefined) return
    writeClientKey(key, at, affinity, this.#key)
    let slot = this.#find(affinity.timeoutMs)
    // One from before this unit began may be at a host that its client has left since.
    if (slot < 0)
      slot = this.#insert(service.index, host, LIST.PROVEN, this.#asks ? RESTS.UNASKED : RESTS.HEARD)
    else if (this.#host[slot] !== host) {
      // The client has moved, and this connection is from before; else a classifier elsewhere has moved it, and this one is new.
      if (this.#table!.listOf(slot) === LIST.PROVEN && this.#keeps(service, this.#host[slot]!)) return
      this.#move(slot, host)
    }
    if (slot < 0) return
    this.#table!.move(slot, LIST.PROVEN, this.#nowMs)
    this.#tell(slot, service, ATOM_OP.put)
  }

  /** Another unit's word. @param key of the session. @param hostIpv4 its cluster address */
  learnt(key: Uint32Array, hostIpv4: number): void {
    const service = this.#serviceOf(key)
    const host = this.#directory.hostAt(hostIpv4)
    if (service?.affinity === undefined || host === undefined) return
    this.#key.set(key)
    let slot = this.#find(service.affinity.timeoutMs)
    if (slot >= 0 && this.#host[slot] !== host.index) {
      // It has not heard yet of what is wrong there, and will hear of this one's choice at its next use.
      if (!this.#keeps(service, host.index) && this.#keeps(service, this.#host[slot]!)) {
        this.#toldMs[slot] = Number.NEGATIVE_INFINITY
        this.#rests[slot] = RESTS.HEARD
        return
      }
      this.#host[slot] = host.index
    }
    if (slot < 0) slot = this.#insert(service.index, host.index, LIST.PROVEN, RESTS.HEARD)
    if (slot < 0) return
    this.counters.affinity_learnt++
    this.#rests[slot] = RESTS.HEARD
    this.#table!.move(slot, LIST.PROVEN, this.#nowMs)
    this.#toldMs[slot] = this.#nowMs
  }

  /** Nothing is known of the others' sessions yet. @param untilMs Infinity: until it is said again, when they can be asked */
  begin(untilMs = this.#nowMs + ASKS_MS): void {
    this.#asksUntilMs = untilMs
  }

  /** Whether a first packet of the client (its session's key) would have to wait now. */
  waits(key: Uint32Array): boolean {
    const service = this.#serviceOf(key)
    if (service?.affinity === undefined) return false
    this.#key.set(key)
    return this.#waits(service, this.#find(service.affinity.timeoutMs))
  }

  /** No other unit has a session of the client. */
  nobodys(key: Uint32Array): void {
    const slot = this.#table?.find(key) ?? -1
    if (slot >= 0 && this.#rests[slot] === RESTS.UNASKED) this.#rests[slot] = RESTS.HEARD
  }

  /** What waited for the client goes on, in `run`. @param certain false: not all others have answered in time */
  goesOn(key: Uint32Array, certain: boolean, run: () => void): void {
    const slot = certain ? -1 : (this.#table?.find(key) ?? -1)
    if (slot >= 0 && this.#rests[slot] === RESTS.UNASKED) this.#rests[slot] = RESTS.UNSURE
    this.#answer = certain ? 'all' : 'not all'
    try {
      run()
    } finally {
      this.#answer = null
    }
  }

  /** Everything again: whoever kept it begins anew. */
  tellAll(): void {
    this.#toldMs.fill(Number.NEGATIVE_INFINITY)
  }

  /** The directory has changed: sessions of services and hosts that are gone end. */
  reconfigured(): void {
    const table = this.#table
    if (table === null) return
    const gone = table.select(
      slot =>
        this.#serviceAt(slot)?.affinity === undefined ||
        this.#directory.host(this.#host[slot]!) === undefined,
    )
    for (const slot of gone) this.#remove(slot)
  }

  /** Ends what has timed out, some slots at a time. */
  tick(): void {
    const table = this.#table
    if (table === null || table.size === 0) return
    const last = Math.min(this.capacity, this.#cursor + SLOTS_A_TICK)
    for (; this.#cursor < last; this.#cursor++) {
      if (table.listOf(this.#cursor) < 0) continue
      const service = this.#serviceAt(this.#cursor)
      if (service?.affinity === undefined || this.#isOver(this.#cursor, service.affinity.timeoutMs))
        this.#end(this.#cursor, service)
    }
    if (this.#cursor >= this.capacity) this.#cursor = 0
  }

  /** Whoever has not answered yet may not have been reached. */
  get isStarting(): boolean {
    return this.#nowMs < this.#asksUntilMs - (ASKS_MS - STARTS_MS)
  }

  get #asks(): boolean {
    return this.#nowMs < this.#asksUntilMs
  }

  /** It is not known yet whether another unit has a session of the client, or whether the host that it names takes it. */
  #waits(service: ServiceEntry, slot: number): boolean {
    if (!this.#asks || this.#answer !== null) return false
    if (slot < 0 || this.#rests[slot] === RESTS.UNASKED) return true
    return !this.#choice.isHeard(service.index, this.#host[slot]!)
  }

  /** Slot of the session in #key, or -1. */
  #find(timeoutMs: number): number {
    const slot = this.#table?.find(this.#key) ?? -1
    if (slot < 0 || !this.#isOver(slot, timeoutMs)) return slot
    this.#end(slot, this.#serviceAt(slot))
    return -1
  }

  #isOver(slot: number, timeoutMs: number): boolean {
    return this.#nowMs - this.#table!.lastUse[slot]! >= timeoutMs
  }

  #about(service: ServiceEntry, host: number): { takesNew: boolean; isFull: boolean } {
    const entry = this.#directory.host(host)
    const takesNew = entry?.live === true && !entry.draining && this.#choice.takesNew(service, host)
    return { takesNew, isFull: this.#choice.isFull(service.index, host) }
  }

  /** Of a host that is full. */
  #isNoBetter(service: ServiceEntry, host: number, chosen: number): boolean {
    return chosen === 0 || chosen === host || this.#choice.isFull(service.index, chosen)
  }

  #keeps(service: ServiceEntry, host: number): boolean {
    const { takesNew, isFull } = this.#about(service, host)
    return takesNew && !isFull
  }

  #kept(slot: number): number {
    this.counters.affinity_kept++
    this.#table!.touch(slot, this.#nowMs)
    return this.#host[slot]!
  }

  #move(slot: number, host: number): void {
    this.counters.affinity_moved++
    this.#host[slot] = host
    this.#toldMs[slot] = Number.NEGATIVE_INFINITY
    this.#table!.touch(slot, this.#nowMs)
  }

  #whereItMayBe(slot: number, service: ServiceEntry): number {
    const host = slot < 0 ? 0 : this.#host[slot]!
    if (this.#directory.host(host)?.live && !this.#choice.isInactive(service.index, host)) return host
    return this.#choice.choose(service, this.#key, 0, false)
  }

  #insert(service: number, host: number, list: number, rests: number): number {
    this.#table ??= this.#make()
    const table = this.#table
    if (table.size >= table.capacity) {
      const unproven = table.oldest(LIST.UNPROVEN)
      // What only a first packet began pushes out nothing else.
      if (unproven < 0 && list === LIST.UNPROVEN) return -1
      this.#remove(unproven >= 0 ? unproven : table.oldest(LIST.PROVEN))
      this.counters.affinity_evicted++
    }
    const slot = table.insert(this.#key, 0, list, this.#nowMs)
    this.#host[slot] = host
    this.#service[slot] = service
    this.#sessions[service] = (this.#sessions[service] ?? 0) + 1
    this.#toldMs[slot] = Number.NEGATIVE_INFINITY
    this.#rests[slot] = rests
    return slot
  }

  #remove(slot: number): void {
    this.#sessions[this.#service[slot]!]!--
    this.#table!.remove(slot)
  }

  /** Takes its memory when the first service needs it. */
  #make(): SlotTable {
    const { capacity } = this
    const [k0, k1] = this.#hashKey
    this.#host = new Uint8Array(capacity)
    this.#service = new Uint16Array(capacity)
    this.#toldMs = new Float64Array(capacity)
    this.#rests = new Uint8Array(capacity)
    return new SlotTable({ capacity, keyWords: KEY_WORDS, lists: 2, k0, k1 })
  }

  #end(slot: number, service: ServiceEntry | undefined): void {
    this.counters.affinity_expired++
    if (service !== undefined && this.#toldMs[slot] !== Number.NEGATIVE_INFINITY)
      this.#tell(slot, service, ATOM_OP.end)
    this.#remove(slot)
  }

  /** What finds no room is told at the next occasion; an end that finds none ends at the others by itself. */
  #tell(slot: number, service: ServiceEntry, op: number): void {
    if (op === ATOM_OP.put) {
      const everyMs = Math.min(TELL_MOST_MS, service.affinity!.timeoutMs / TELLS_A_TIMEOUT)
      if (this.#nowMs - this.#toldMs[slot]! < everyMs) return
      // Where new connections would not stay, nobody else needs to be sent.
      if (!this.#keeps(service, this.#host[slot]!)) return
    }
    const { ipv4 } = this.#directory.host(this.#host[slot]!) ?? { ipv4: 0 }
    const isUnheard = op === ATOM_OP.put && this.#rests[slot] !== RESTS.HEARD
    const said = isUnheard ? ATOM_OP.unheard : op
    if (this.queue.add(this.#table!.keys, slot * KEY_WORDS, ipv4, said, service.index))
      this.#toldMs[slot] = this.#nowMs
    else this.counters.affinity_untold++
  }

  #serviceAt(slot: number): ServiceEntry | undefined {
    return this.#serviceOf(this.#table!.keys.subarray(slot * KEY_WORDS, (slot + 1) * KEY_WORDS))
  }

  #serviceOf(key: Uint32Array): ServiceEntry | undefined {
    return this.#directory.service(key, 4, key[8]! & 0xffff, key[KEY_PROTOCOL]! & 0xff)
  }
}
