/**
 * One member of the distributed atom manager (R-C4..C6; figures 22 to 24). Pure: it is told of the time, of the members that live and of their
 * messages, and acts through its port.
 *
 * Each atom has one owner, which alone says what it is: it keeps copies at as many members as the atom's level asks for, and compares with them. A
 * member that meets a session that another one owns (its packets come here now) claims it by putting a newer version. Newer versions win, an end
 * wins over the same version; an ended atom stays for the dead time. When an owner dies the nearest holder takes its atoms over.
 */
import { AtomTable, PLACE } from './atom-table.ts'
import { GenerationClock } from './clock.ts'
import { Copies } from './copies.ts'
import { Location } from './location.ts'
import { Orphans } from './orphans.ts'
import { Outbox } from './outbox.ts'
import { OwnAtoms, type Waits } from './own.ts'
import { type Found, Queries } from './queries.ts'
import type { DamCounters, DamPort, DamSettings, Shared } from './settings.ts'
import type { TakenOver } from './taken-over.ts'
import { type Atom, type DamMessage, KEY_WORDS, type Level, type Member } from './types.ts'

/** Buckets that one step looks at unless fewer are said: bounded work, whatever the table holds. */
export const BUCKETS_A_STEP = 64
/** Ended and cached atoms that one step lets go. */
const EXPIRIES_A_STEP = 4_096
/** Keys that one member may ask for: in a second, and at once. */
const QUERY_KEYS_A_SECOND = 50_000
const QUERY_KEYS_AT_ONCE = 10_000

export class Dam {
  readonly counters: DamCounters = {
    refusedAtoms: 0,
    refusedRoom: 0,
    refusedOrphans: 0,
    outdated: 0,
    strangers: 0,
    refusedQueries: 0,
    refusedAsks: 0,
    unaskedReturns: 0,
  }
  readonly table: AtomTable
  readonly location: Location
  readonly #clock: GenerationClock
  readonly #settings: DamSettings
  readonly #outboxes = new Map<string, Outbox>()
  readonly #port: DamPort
  readonly #own: OwnAtoms
  readonly #copies: Copies
  readonly #orphans: Orphans
  readonly #queries: Queries
  readonly #budgets = new Map<string, { keys: number; atMs: number }>()
  #nextSyncMs = 0

  constructor(settings: DamSettings, port: DamPort) {
    this.#settings = settings
    this.#port = port
    this.location = new Location(...settings.sharedKey)
    const [k0, k1] = settings.tableKey
    const { capacity, sharedKey: digestKey } = settings
    this.table = new AtomTable({ capacity, location: this.location, k0, k1, digestKey })
    // Clocks that differ by less, in whatever direction, are within what all of them believe.
    this.#clock = new GenerationClock(settings.aheadMs / 2)
    // Room for what is this member's own, whatever others name.
    this.table.origins.use(settings.self)
    const shared: Shared = {
      settings,
      port,
      table: this.table,
      location: this.location,
      counters: this.counters,
      outboxes: this.#outboxes,
      clock: this.#clock,
    }
    this.#own = new OwnAtoms(shared)
    this.#copies = new Copies(shared, this.#own)
    this.#orphans = new Orphans(shared, this.#own, this.#copies)
    this.#queries = new Queries(shared, this.#copies)
  }

  /** The live members, this one among them. */
  members(members: readonly Member[]): void {
    if (sameMembers(members, this.location.members)) return
    const before = new Map(this.location.members.map(member => [member.member, member]))
    const after = new Map(members.map(member => [member.member, member]))
    const same = (a: Member, b: Member | undefined): boolean => a.incarnation === b?.incarnation
    const { member: self } = this.#settings.self
    const gone = [...before.values()].filter(
      member => member.member !== self && !same(member, after.get(member.member)),
    )
    const come = [...after.values()].filter(
      member => member.member !== self && !same(member, before.get(member.member)),
    )
    const leaves = (member: Member): boolean =>
      member.leaving === true && before.get(member.member)?.leaving !== true
    if (gone.length === 0 && come.length === 0 && before.size === after.size && !members.some(leaves)) return
    for (const { member } of gone) {
      this.#outboxes.delete(member)
      this.#budgets.delete(member)
      this.#copies.interrupted(member)
    }
    for (const { member } of come)
      this.#outboxes.set(member, new Outbox(message => this.#port.send(member, message)))
    this.location.replace(members)
    this.#own.onMembers(
      gone.map(({ member }) => member),
      come.map(({ member }) => member),
    )
    this.#orphans.look()
  }

  /** The link to a live member went, or came anew: what was on its way may be lost. */
  linked(member: string): void {
    this.#outboxes.get(member)?.lost()
    this.#copies.interrupted(member)
    this.#own.compareWith(member)
    this.#orphans.look()
  }

  /** Unix time (ms) by which versions are numbered: of the member whose clock is furthest ahead. */
  clockMs(wallMs: number, nowMs: number): number {
    return this.#clock.at(wallMs, nowMs)
  }

  /**
   * AddAtom: this member owns it from now on, whoever did. Undefined: the table is full.
   * @param heard false: it was made without knowing what the others have, and gives way to any atom that was
   */
  put(
    key: Uint32Array,
    host: number,
    level: Level,
    wallMs: number,
    nowMs: number,
    heard = true,
  ): Waits | undefined {
    return this.#own.put(key, host, level, wallMs, nowMs, heard)
  }

  /** DeleteAtom. Undefined: there is none here. */
  end(key: Uint32Array, wallMs: number, nowMs: number): Waits | undefined {
    return this.#own.end(key, wallMs, nowMs)
  }

  /** QueryAtom. An ended one is told of too (R-C6). Null: nobody has it. @param again asked for more than once: half of the rate is for those */
  query(key: Uint32Array, nowMs: number, tell: Found, again = true): void {
    this.#queries.ask(key, nowMs, tell, again)
  }

  /** Only what is here. */
  local(key: Uint32Array): Atom | null {
    const slot = this.table.find(key)
    return slot < 0 ? null : this.table.atom(slot)
  }

  /** Whether a `put` or `end` is stored wherever it has to be. */
  isReplicated(waits: Waits): boolean {
    return this.#own.hasFollowed(waits)
  }

  /** Whether all copies are where the members of now want them. */
  get settled(): boolean {
    return this.#own.settled && !this.#orphans.isLooking
  }

  /** Atoms that were taken over from a dead member: ask their hosts whether they are still so, then `put` or `end` them. */
  unsure(most: number): Uint32Array[] {
    return this.#orphans.unsure(most)
  }

  /** Own atoms that nobody asked for since then (R-C6): ask their hosts too. @param most as many at once */
  idle(beforeMs: number, most: number): Uint32Array[] {
    return this.table.oldest(PLACE.own, beforeMs, most).map(slot => this.table.key(slot))
  }

  /** It is in use: packets come, or its host says so. */
  touch(key: Uint32Array, nowMs: number): void {
    const slot = this.table.find(key)
    if (slot < 0) return
    this.table.touch(slot, nowMs)
    this.#orphans.takenOver.sure(slot)
  }

  /** Nobody knows whether it is in use: it stays for another while. */
  keep(key: Uint32Array, nowMs: number): void {
    const slot = this.table.find(key)
    if (slot >= 0) this.table.touch(slot, nowMs)
  }

  /** Own atoms that were other members', and that nobody has vouched for. */
  get takenOver(): TakenOver {
    return this.#orphans.takenOver
  }

  /** Begins to hand everything over; done when `hasLeft`. Called again, it tells again what has not been answered. */
  leave(): void {
    this.#orphans.leave()
  }

  get hasLeft(): boolean {
    return this.#orphans.hasLeft
  }

  /** Some times in ten milliseconds: what gathered leaves. */
  flush(nowMs: number): void {
    this.#queries.flush(nowMs)
    for (const outbox of this.#outboxes.values()) outbox.flush()
  }

  /** Queries that are not answered yet: until they are, `step` ends their stages. */
  get querying(): number {
    return this.#queries.open
  }

  /** Several times a second, and in between while not `settled`. */
  step(nowMs: number, buckets = BUCKETS_A_STEP): void {
    this.#own.replan(buckets)
    this.#orphans.step(buckets, nowMs)
    this.#queries.tick(nowMs)
    this.#expire(nowMs)
    if (nowMs >= this.#nextSyncMs) {
      this.#nextSyncMs = nowMs + this.#settings.syncMs
      this.#own.compare()
      if (!this.#orphans.isLooking && this.#copies.hasDeadOwners(owner => this.#orphans.isLive(owner)))
        this.#orphans.look()
    }
    this.flush(nowMs)
  }

  receive(name: string, message: DamMessage, wallMs: number, nowMs: number): void {
    const from = this.location.member(name)
    if (from === undefined || name === this.#settings.self.member) {
      this.counters.strangers++
      return
    }
    this.#clock.at(wallMs, nowMs)
    this.#follow(from, message, wallMs, nowMs)
  }

  #follow(from: Member, message: DamMessage, wallMs: number, nowMs: number): void {
    const outbox = this.#outboxes.get(from.member)
    switch (message.type) {
      case 'batch':
        for (const op of message.ops)
          if (op.op === 'forget') this.#copies.forget(from, op.key, op.generation)
          else this.#copies.receive(from, op.atom, op.op === 'add' ? PLACE.copy : PLACE.cached, wallMs, nowMs)
        outbox?.send({ type: 'ack', sequence: message.sequence })
        return
      case 'ack':
        outbox?.acknowledged(message.sequence)
        return
      case 'same':
        outbox?.same(message.sequence)
        return
      case 'query': {
        const atoms = this.#lookUp(from, message.keys, nowMs)
        // What was not looked for must not seem not to be here.
        if (atoms !== null) outbox?.send({ type: 'return', id: message.id, atoms })
        return
      }
      case 'return':
        this.#queries.answered(from, message.id, message.atoms, wallMs, nowMs)
        return
      case 'outdated':
        this.#queries.refresh(
          message.owner,
          message.keys.filter(key => this.#isOwn(key)),
          nowMs,
        )
        return
      case 'sync':
        this.#copies.sync(from, message.sequence, message.all)
        return
      case 'differs':
        this.#own.differs(from.member, message.buckets)
        return
      case 'bucket':
        this.#copies.bucket(from, message.bucket, message.last, message.atoms, wallMs, nowMs)
        return
      case 'orphans-here':
        this.#orphans.here(from, message.owner, message.buckets)
        return
      case 'orphans-want':
        this.#orphans.want(from, message.owner, message.buckets)
        return
      case 'orphans':
        this.#orphans.take(from, message.owner, message.bucket, message.last, message.atoms, wallMs, nowMs)
        return
      case 'taken':
        this.#orphans.taken(from, message.bucket)
        return
      case 'give-back':
        this.#orphans.back(message.atoms, wallMs, nowMs)
    }
  }

  #isOwn(key: Uint32Array): boolean {
    const slot = this.table.find(key)
    return slot >= 0 && this.#own.isOwn(slot)
  }

  /** Null: it asks for more than it may. */
  #lookUp(from: Member, keys: readonly Uint32Array[], nowMs: number): Atom[] | null {
    const budget = this.#budgets.get(from.member) ?? { keys: QUERY_KEYS_AT_ONCE, atMs: nowMs }
    this.#budgets.set(from.member, budget)
    budget.keys = Math.min(
      QUERY_KEYS_AT_ONCE,
      budget.keys + ((nowMs - budget.atMs) / 1_000) * QUERY_KEYS_A_SECOND,
    )
    budget.atMs = nowMs
    if (budget.keys < keys.length || keys.some(key => key.length !== KEY_WORDS)) {
      this.counters.refusedQueries += keys.length
      return null
    }
    budget.keys -= keys.length
    const found: Atom[] = []
    for (const key of keys) {
      const slot = this.table.find(key)
      if (slot >= 0) found.push(this.table.atom(slot))
    }
    return found
  }

  #expire(nowMs: number): void {
    const { deadMs, cacheMs } = this.#settings
    for (const [place, afterMs] of [
      [PLACE.zombie, deadMs],
      [PLACE.cached, cacheMs],
    ] as const)
      for (const slot of this.table.oldest(place, nowMs - afterMs, EXPIRIES_A_STEP)) this.table.remove(slot)
  }
}

const sameMembers = (a: readonly Member[], b: readonly Member[]): boolean =>
  a.length === b.length &&
  a.every(
    ({ member, incarnation, leaving }, i) =>
      member === b[i].member && incarnation === b[i].incarnation && leaving === b[i].leaving,
  )
