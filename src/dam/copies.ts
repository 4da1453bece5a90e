/** Other members' atoms that this one holds: only their owners say what they are, and what is newer is never replaced by what is older. */
import { PLACE, type Place } from './atom-table.ts'
import { Digests, sameDigest } from './digest.ts'
import { compareAtoms, isPlausible, sameOrigin } from './order.ts'
import type { OwnAtoms } from './own.ts'
import type { Shared } from './settings.ts'
import { ATOM_KIND, type Atom, FULL, KEY_WORDS, type Member, type Origin, type SetDigest } from './types.ts'

const KINDS: ReadonlySet<number> = new Set(Object.values(ATOM_KIND))

export class Copies {
  readonly #shared: Shared
  readonly #own: OwnAtoms
  /** By member: the slots that parts of a bucket have named. */
  readonly #parts = new Map<string, { readonly bucket: number; readonly named: Set<number> }>()
  /** What another member took over, but is this one's. */
  homeward: (atom: Atom, nowMs: number) => void = () => {}
  /** By owner: its copies here. */
  readonly #held = new Map<string, Digests>()

  constructor(shared: Shared, own: OwnAtoms) {
    this.#shared = shared
    this.#own = own
    const uncount = (slot: number): void => this.uncount(slot)
    own.uncountCopy = uncount
    shared.table.onEvict = slot => {
      if (shared.table.place(slot) === PLACE.copy) uncount(slot)
    }
  }

  held(owner: Origin): Digests | undefined {
    return this.#held.get(nameOf(owner))
  }

  /** Whether there are copies of owners that are gone. */
  hasDeadOwners(isLive: (owner: Origin) => boolean): boolean {
    for (const { origin } of this.#shared.table.origins.known())
      if (!isLive(origin) && this.held(origin) !== undefined) return true
    return false
  }

  /** What can be believed of an atom at all. */
  isSound(atom: Atom, wallMs: number): boolean {
    const { key, level, generation } = atom
    return (
      key.length === KEY_WORDS &&
      KINDS.has(key[KEY_WORDS - 1] >>> 24) &&
      Number.isInteger(level) &&
      level >= 0 &&
      level <= FULL &&
      isPlausible(generation, wallMs, this.#shared.settings.aheadMs)
    )
  }

  /** An atom from its owner. `place`: copy, or cached. */
  receive(from: Member, atom: Atom, place: Place, wallMs: number, nowMs: number): void {
    const { counters } = this.#shared
    if (!sameOrigin(atom.owner, from) || !this.isSound(atom, wallMs)) counters.refusedAtoms++
    else this.accept(from.member, atom, place, nowMs)
  }

  /** A sound atom, from whomever. */
  accept(from: string, atom: Atom, place: Place, nowMs: number): void {
    const { table, outboxes, counters, port, settings, clock } = this.#shared
    clock.saw(atom.generation)
    if (!atom.zombie && sameOrigin(atom.home, settings.self)) {
      this.homeward(atom, nowMs)
      return
    }
    const slot = table.find(atom.key)
    let taken = false
    if (slot >= 0) {
      const here = table.rank(slot)
      const order = compareAtoms(atom, here)
      if (order < 0) {
        counters.outdated++
        if (this.#own.isOwn(slot)) outboxes.get(from)?.push({ op: 'tell', atom: table.atom(slot) })
        else if (place === PLACE.copy)
          outboxes.get(from)?.send({ type: 'outdated', owner: here.owner, keys: [atom.key] })
        return
      }
      if (order === 0 && (place !== PLACE.copy || table.place(slot) !== PLACE.cached)) return
      taken = this.#own.isOwn(slot)
      if (taken) this.#own.relinquish(slot)
      else if (order > 0 && table.place(slot) === PLACE.copy && !sameOrigin(here.owner, atom.owner))
        outboxes.get(here.owner.member)?.send({ type: 'outdated', owner: atom.owner, keys: [atom.key] })
      if (table.place(slot) === PLACE.copy) this.uncount(slot)
    }
    const where = atom.zombie ? PLACE.zombie : place
    if (where === PLACE.copy && this.#isOverShare(atom.owner)) {
      if (slot >= 0) table.remove(slot)
      counters.refusedRoom++
    } else {
      const put = table.put(atom, where, nowMs, place === PLACE.cached)
      if (put < 0) {
        if (slot >= 0) table.remove(slot)
        counters.refusedRoom++
      } else if (where === PLACE.copy) this.#count(put)
    }
    if (taken && !sameOrigin(atom.owner, settings.self)) port.claimed(atom)
    port.learnt?.(atom)
  }

  forget(from: Member, key: Uint32Array, generation: number): void {
    const { table } = this.#shared
    const slot = table.find(key)
    if (slot < 0 || table.place(slot) !== PLACE.copy) return
    if (sameOrigin(table.owner(slot), from) && table.generation(slot) <= generation) this.drop(slot)
  }

  /** The sender's question whether this member holds what it should. */
  sync(from: Member, sequence: number, all: SetDigest): void {
    const held = this.held(from)
    const outbox = this.#shared.outboxes.get(from.member)
    if (sameDigest(held?.all ?? { count: 0, sum: 0 }, all)) outbox?.send({ type: 'same', sequence })
    else outbox?.send({ type: 'differs', buckets: held?.buckets() ?? [] })
  }

  /** All of a bucket that is the sender's, in parts. */
  bucket(
    from: Member,
    bucket: number,
    last: boolean,
    atoms: readonly Atom[],
    wallMs: number,
    nowMs: number,
  ): void {
    const { table, location, counters } = this.#shared
    const before = this.#parts.get(from.member)
    const named = before?.bucket === bucket ? before.named : new Set<number>()
    for (const atom of atoms) {
      if (atom.key.length === KEY_WORDS && location.bucketOf(atom.key) === bucket) {
        this.receive(from, atom, PLACE.copy, wallMs, nowMs)
        named.add(table.find(atom.key))
      } else counters.refusedAtoms++
    }
    if (!last) {
      this.#parts.set(from.member, { bucket, named })
      return
    }
    this.#parts.delete(from.member)
    for (const slot of table.inBucket(bucket))
      if (table.place(slot) === PLACE.copy && !named.has(slot) && sameOrigin(table.owner(slot), from))
        this.drop(slot)
  }

  /** The member, or the link to it, is gone: what it had begun to say it says again. */
  interrupted(member: string): void {
    this.#parts.delete(member)
  }

  drop(slot: number): void {
    if (this.#shared.table.place(slot) === PLACE.copy) this.uncount(slot)
    this.#shared.table.remove(slot)
  }

  /** Whoever had to take it over has had the time: here it is worth no more than what was looked up. */
  demote(slot: number, nowMs: number): void {
    const { table } = this.#shared
    this.uncount(slot)
    table.put(table.atom(slot), PLACE.cached, nowMs)
  }

  /** Before a copy is changed or taken out. */
  uncount(slot: number): void {
    const { table } = this.#shared
    const name = nameOf(table.owner(slot))
    const held = this.#held.get(name)
    held?.remove(table.bucket(slot), table.hash(slot))
    if (held?.all.count === 0) this.#held.delete(name)
  }

  #count(slot: number): void {
    const { table } = this.#shared
    const name = nameOf(table.owner(slot))
    const held = this.#held.get(name) ?? new Digests()
    this.#held.set(name, held)
    held.add(table.bucket(slot), table.hash(slot))
  }

  /** One owner gets half of the table at most. */
  #isOverShare(owner: Origin): boolean {
    return (this.held(owner)?.all.count ?? 0) * 2 >= this.#shared.table.capacity
  }
}

const nameOf = ({ member, incarnation }: Origin): string => `${incarnation} ${member}`
