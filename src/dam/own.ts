/**
 * The atoms that this member answers for: their copies are where they belong (R-C5), what changes is passed on in order, and what members hold is
 * compared by digests.
 */
import { PLACE } from './atom-table.ts'
import { Digests, sameDigest } from './digest.ts'
import { BUCKETS } from './location.ts'
import { isUnheard, nextGeneration, sameOrigin } from './order.ts'
import type { Shared } from './settings.ts'
import type { Atom, BucketDigest, Level, Origin } from './types.ts'
import { FULL, MOST_ATOMS } from './types.ts'

/** Buckets sent again after one comparison; the next one finds the rest. */
const MOST_BUCKETS = 128

/** Answers to comparisons that one member may still owe. */
const MOST_COMPARISONS = 2

/** In the place of a member that went. */
const GONE = -1

const NOWHERE: readonly Origin[] = []

/** What has to be followed, and by whom. */
export type Waits = readonly (readonly [member: string, sequence: number])[]

export class OwnAtoms {
  readonly #shared: Shared
  /** By member: what it should hold of this member's atoms. */
  readonly #expected = new Map<string, Digests>()
  /** By bucket: the order by which its copies were placed, and the number of the view that it is of. */
  readonly #placed: (readonly Origin[])[] = Array.from({ length: BUCKETS }, () => NOWHERE)
  readonly #planned = new Uint32Array(BUCKETS)
  #view = 1
  #cursor = BUCKETS
  /** By member and bucket: copies that it need not keep any longer once their new places have theirs. */
  readonly #releasing = new Map<string, Map<number, Waits>>()
  /** By member: comparisons that it may answer, for each answer is a lot of work. */
  readonly #compared = new Map<string, number>()
  /** Told before a copy of another member's gives way to an atom of this one's. */
  uncountCopy: (slot: number) => void = () => {}
  /** Told before an own atom becomes another version of it, or no own one. */
  changes: (slot: number) => void = () => {}

  constructor(shared: Shared) {
    this.#shared = shared
    this.#planned.fill(1)
  }

  isOwn(slot: number): boolean {
    const { table, settings } = this.#shared
    return (
      table.place(slot) === PLACE.own ||
      (table.isZombie(slot) && sameOrigin(table.owner(slot), settings.self))
    )
  }

  /** The members changed: those that went, and those that came or began anew. */
  onMembers(gone: readonly string[], come: readonly string[]): void {
    for (const name of gone) {
      this.#expected.delete(name)
      this.#releasing.delete(name)
      this.#compared.delete(name)
    }
    for (const name of come) this.#expected.set(name, new Digests())
    // One that is back before a bucket was placed without it has to be counted, and told, anew: it keeps its place there, as another one.
    const { table } = this.#shared
    const away = new Map(gone.map(member => [member, { member, incarnation: GONE }]))
    if (away.size > 0)
      for (let bucket = 0; bucket < BUCKETS; bucket++)
        this.#placed[bucket] = table.isEmpty(bucket)
          ? NOWHERE
          : this.#placed[bucket].map(member => away.get(member.member) ?? member)
    this.#view++
    this.#cursor = 0
  }

  /** Whether all copies are placed by the members of now. */
  get settled(): boolean {
    return this.#cursor >= BUCKETS && this.#releasing.size === 0
  }

  /** AddAtom, in the place of whatever is there. Undefined: there is no room. @param heard false: any other member's is above it */
  put(
    key: Uint32Array,
    host: number,
    level: Level,
    wallMs: number,
    nowMs: number,
    heard = true,
  ): Waits | undefined {
    const { table, settings, clock } = this.#shared
    const slot = table.find(key)
    const atMs = clock.at(wallMs, nowMs)
    const generation = nextGeneration(slot < 0 ? 0 : table.generation(slot), heard ? atMs : 0)
    const { self } = settings
    return this.store({ key, host, generation, zombie: false, level, owner: self, home: self }, nowMs)
  }

  /** DeleteAtom: whoever owns it, it has ended. Undefined: there is no such atom. */
  end(key: Uint32Array, wallMs: number, nowMs: number): Waits | undefined {
    const { table, settings, clock } = this.#shared
    const slot = table.find(key)
    if (slot < 0 || table.isZombie(slot)) return undefined
    const atom = table.atom(slot)
    // Nor does its end end others'.
    const atMs = clock.at(wallMs, nowMs)
    const generation = nextGeneration(atom.generation, isUnheard(atom.generation) ? 0 : atMs)
    return this.store({ ...atom, generation, zombie: true, owner: settings.self, home: settings.self }, nowMs)
  }

  /** Puts an own atom in force here and at its places; whose it was is told. Undefined: there is no room. */
  store(atom: Atom, nowMs: number): Waits | undefined {
    const { table, location, outboxes, counters } = this.#shared
    const bucket = location.bucketOf(atom.key)
    this.#place(bucket)
    const found = table.find(atom.key)
    let earlier: readonly Origin[] = []
    let told: string | undefined
    if (found >= 0) {
      if (table.place(found) === PLACE.own) {
        this.changes(found)
        earlier = this.#targets(bucket, table.level(found))
        this.#count(found, earlier, false)
      } else {
        told = table.owner(found).member
        if (table.place(found) === PLACE.copy) this.uncountCopy(found)
      }
    }
    const slot = table.put(atom, atom.zombie ? PLACE.zombie : PLACE.own, nowMs)
    if (slot < 0) {
      counters.refusedRoom++
      return undefined
    }
    const targets = this.#targets(bucket, atom.level)
    if (!atom.zombie) this.#count(slot, targets, true)
    const waits: (readonly [string, number])[] = []
    for (const { member } of targets) {
      const sequence = outboxes.get(member)?.push({ op: 'add', atom })
      if (sequence !== undefined) waits.push([member, sequence])
    }
    for (const { member } of earlier)
      if (!targets.some(target => target.member === member))
        outboxes.get(member)?.push({ op: 'forget', key: atom.key, generation: atom.generation })
    for (const [member, buckets] of this.#releasing)
      if (buckets.has(bucket)) outboxes.get(member)?.push({ op: 'add', atom })
    if (told !== undefined && !targets.some(({ member }) => member === told))
      outboxes.get(told)?.push({ op: 'tell', atom })
    return waits
  }

  /** A newer version is another member's: this one's is no longer counted, nor asked for. Its slot is the caller's to fill. */
  relinquish(slot: number): void {
    const { table, outboxes } = this.#shared
    if (table.place(slot) !== PLACE.own) return
    this.changes(slot)
    const bucket = table.bucket(slot)
    this.#place(bucket)
    const targets = this.#targets(bucket, table.level(slot))
    this.#count(slot, targets, false)
    const op = { op: 'forget', key: table.key(slot), generation: table.generation(slot) } as const
    for (const { member } of targets) outboxes.get(member)?.push(op)
  }

  /** Moves copies to where the members of now want them: so many buckets at a time. */
  replan(buckets: number): void {
    const { table } = this.#shared
    for (let left = buckets; left > 0 && this.#cursor < BUCKETS; left--) {
      const bucket = this.#cursor++
      // Before an atom comes to an empty one, it is placed there.
      if (!table.isEmpty(bucket)) this.#place(bucket)
    }
    for (const [member, waiting] of this.#releasing) {
      for (const [bucket, waits] of waiting)
        if (this.hasFollowed(waits)) {
          waiting.delete(bucket)
          this.#sendBucket(member, bucket)
        }
      if (waiting.size === 0) this.#releasing.delete(member)
    }
  }

  /** Whether every member that lives has followed. */
  hasFollowed(waits: Waits): boolean {
    return waits.every(
      ([member, sequence]) => this.#shared.outboxes.get(member)?.hasFollowed(sequence) ?? true,
    )
  }

  /** Asks all members whether they hold what they should. */
  compare(): void {
    if (this.#cursor < BUCKETS) return
    for (const [member, digests] of this.#expected) this.compareWith(member, digests)
  }

  compareWith(member: string, digests = this.#expected.get(member)): void {
    const outbox = this.#shared.outboxes.get(member)
    if (outbox === undefined || digests === undefined || this.#cursor < BUCKETS) return
    this.#compared.set(member, Math.min(MOST_COMPARISONS, (this.#compared.get(member) ?? 0) + 1))
    outbox.send({ type: 'sync', sequence: outbox.mark(), all: digests.all })
  }

  differs(member: string, theirs: readonly BucketDigest[]): void {
    const digests = this.#expected.get(member)
    if (digests === undefined) return
    const compared = this.#compared.get(member) ?? 0
    if (compared === 0) {
      this.#shared.counters.unaskedReturns++
      return
    }
    this.#compared.set(member, compared - 1)
    const held = new Map(theirs.map(digest => [digest.bucket, digest]))
    let left = MOST_BUCKETS
    for (let bucket = 0; bucket < BUCKETS && left > 0; bucket++) {
      if (sameDigest(digests.of(bucket), held.get(bucket) ?? { count: 0, sum: 0 })) continue
      if (this.#releasing.get(member)?.has(bucket)) continue
      left--
      this.#sendBucket(member, bucket)
    }
  }

  /** Own atoms of a bucket, ended ones too. */
  *inBucket(bucket: number): Generator<number> {
    for (const slot of this.#shared.table.inBucket(bucket)) if (this.isOwn(slot)) yield slot
  }

  #sendBucket(member: string, bucket: number): void {
    const { table, outboxes } = this.#shared
    this.#place(bucket)
    const atoms: Atom[] = []
    for (const slot of this.inBucket(bucket))
      if (this.#targets(bucket, table.level(slot)).some(target => target.member === member))
        atoms.push(table.atom(slot))
    for (const [part, last] of parts(atoms))
      outboxes.get(member)?.send({ type: 'bucket', bucket, last, atoms: part })
  }

  /** Goes over to the order of now in a bucket. */
  #place(bucket: number): void {
    if (this.#planned[bucket] === this.#view) return
    this.#planned[bucket] = this.#view
    const { table, location, outboxes } = this.#shared
    const before = this.#placed[bucket]
    const order = location.order(bucket)
    this.#placed[bucket] = order
    const waits: (readonly [string, number])[] = []
    const released = new Set<string>()
    for (const slot of table.inBucket(bucket)) {
      if (!this.isOwn(slot)) continue
      const level = table.level(slot)
      const [from, to] = [this.#among(before, level), this.#among(order, level)]
      const zombie = table.isZombie(slot)
      for (const target of to) {
        if (isAmong(from, target)) continue
        if (!zombie) this.#count(slot, [target], true)
        const sequence = outboxes.get(target.member)?.push({ op: 'add', atom: table.atom(slot) })
        if (sequence !== undefined && !zombie) waits.push([target.member, sequence])
      }
      for (const target of from) {
        if (zombie || isAmong(to, target) || !isAmong(location.members, target)) continue
        this.#count(slot, [target], false)
        released.add(target.member)
      }
    }
    // Where an atom goes now is more important than what waited for an earlier order.
    for (const member of released) this.#release(member, bucket, waits)
  }

  #release(member: string, bucket: number, waits: Waits): void {
    const last = new Map<string, number>()
    for (const [name, sequence] of waits) last.set(name, Math.max(sequence, last.get(name) ?? 0))
    const buckets = this.#releasing.get(member) ?? new Map<number, Waits>()
    buckets.set(bucket, [...last])
    this.#releasing.set(member, buckets)
  }

  #targets(bucket: number, level: Level): readonly Origin[] {
    return this.#among(this.#placed[bucket], level)
  }

  #among(order: readonly Origin[], level: Level): readonly Origin[] {
    const { self } = this.#shared.settings
    const found: Origin[] = []
    for (const member of order) {
      if (level < FULL && found.length >= level) break
      if (member.member !== self.member) found.push(member)
    }
    return found
  }

  #count(slot: number, targets: readonly Origin[], counts: boolean): void {
    const { table } = this.#shared
    const bucket = table.bucket(slot)
    const hash = targets.length === 0 ? 0 : table.hash(slot)
    for (const { member } of targets) {
      const digests = this.#expected.get(member)
      if (counts) digests?.add(bucket, hash)
      else digests?.remove(bucket, hash)
    }
  }
}

/** As many as fit a message; one, empty, of none. */
export function* parts(atoms: readonly Atom[]): Generator<readonly [part: readonly Atom[], last: boolean]> {
  for (let at = 0; at === 0 || at < atoms.length; at += MOST_ATOMS)
    yield [atoms.slice(at, at + MOST_ATOMS), at + MOST_ATOMS >= atoms.length]
}

/** The same life of the same member. */
const isAmong = (members: readonly Origin[], { member, incarnation }: Origin): boolean =>
  members.some(other => other.member === member && other.incarnation === incarnation)
