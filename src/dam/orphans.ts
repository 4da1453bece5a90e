/**
 * Atoms whose owner is gone (R-C5, R-D6): the member nearest to their bucket takes them over, with what others hold of them, and asks the hosts
 * whether they are still so. If the owner was only out of reach, it gets them back.
 */
import { PLACE } from './atom-table.ts'
import type { Copies } from './copies.ts'
import { sameDigest } from './digest.ts'
import { BUCKETS } from './location.ts'
import { compareAtoms, nextGeneration, sameOrigin } from './order.ts'
import { type OwnAtoms, parts } from './own.ts'
import type { Shared } from './settings.ts'
import { TakenOver } from './taken-over.ts'
import type { Atom, BucketDigest, Member, Origin, SetDigest } from './types.ts'

const NOTHING: SetDigest = { count: 0, sum: 0 }

export class Orphans {
  readonly #shared: Shared
  readonly #own: OwnAtoms
  readonly #copies: Copies
  readonly takenOver: TakenOver
  /** Since when owners have been gone. */
  #goneMs = new Map<string, number>()
  #cursor = BUCKETS
  #here = new Map<
    string,
    { readonly owner: Origin; readonly adopter: string; readonly buckets: BucketDigest[] }
  >()
  /** Who was told last of whose atoms, and may want them: once, for that is a lot of work. */
  #told = new Set<string>()
  #back = new Map<string, Atom[]>()
  /** Buckets that are being handed over; null: this member does not leave. */
  #leaving: Set<number> | null = null

  constructor(shared: Shared, own: OwnAtoms, copies: Copies) {
    this.#shared = shared
    this.#own = own
    this.#copies = copies
    this.takenOver = new TakenOver(shared.table.capacity)
    own.changes = slot => this.takenOver.sure(slot)
    copies.homeward = (atom, nowMs) => this.#homeward(atom, nowMs)
  }

  /** Looks through all atoms for those whose owner is gone, or is back: when members change, and again while there are some. */
  look(): void {
    this.#cursor = 0
    this.#here = new Map()
    this.#back = new Map()
  }

  get isLooking(): boolean {
    return this.#cursor < BUCKETS
  }

  step(buckets: number, nowMs: number): void {
    if (this.#cursor >= BUCKETS) return
    for (let left = buckets; left > 0 && this.#cursor < BUCKETS; left--) this.#lookAt(this.#cursor++, nowMs)
    if (this.#cursor < BUCKETS) return
    const { outboxes } = this.#shared
    for (const { owner, adopter, buckets } of this.#here.values())
      outboxes.get(adopter)?.send({ type: 'orphans-here', owner, buckets })
    for (const [home, all] of this.#back)
      for (const [atoms] of parts(all)) outboxes.get(home)?.send({ type: 'give-back', atoms })
    this.#told = new Set(this.#here.keys())
    this.#here = new Map()
    this.#back = new Map()
    const { table } = this.#shared
    const known = new Set(
      [...table.origins.known()].map(({ origin }) => `${origin.incarnation} ${origin.member}`),
    )
    for (const name of this.#goneMs.keys()) if (!known.has(name)) this.#goneMs.delete(name)
  }

  #lookAt(bucket: number, nowMs: number): void {
    const { table, location, settings } = this.#shared
    if (table.isEmpty(bucket)) return
    const adopter = location.order(bucket)[0]
    for (const slot of table.inBucket(bucket)) {
      const place = table.place(slot)
      if (place === PLACE.copy) {
        const owner = table.owner(slot)
        if (adopter === undefined || this.isLive(owner)) continue
        if (adopter.member === settings.self.member) {
          // What finds no room stays a copy, and is found as such, until hosts have vouched for others.
          if (this.takenOver.hasRoom) this.#adopt(table.atom(slot), owner.member, nowMs)
        } else if (nowMs - this.#goneSince(owner, nowMs) < settings.deadMs)
          this.#tell(adopter.member, owner, bucket)
        else this.#copies.demote(slot, nowMs)
      } else if (place === PLACE.own) {
        const home = table.home(slot)
        if (!sameOrigin(home, settings.self) && this.isLive(home)) this.#giveBack(slot, home, nowMs)
      }
    }
  }

  isLive({ member, incarnation }: Origin): boolean {
    return this.#shared.location.member(member)?.incarnation === incarnation
  }

  #goneSince({ member, incarnation }: Origin, nowMs: number): number {
    const name = `${incarnation} ${member}`
    const since = this.#goneMs.get(name) ?? nowMs
    this.#goneMs.set(name, since)
    return since
  }

  #tell(adopter: string, owner: Origin, bucket: number): void {
    const name = nameOf(adopter, owner)
    const entry = this.#here.get(name) ?? { owner, adopter, buckets: [] }
    this.#here.set(name, entry)
    if (entry.buckets.at(-1)?.bucket === bucket) return
    entry.buckets.push({ bucket, ...(this.#copies.held(owner)?.of(bucket) ?? NOTHING) })
  }

  /** @param saidBy the member whose word it rests on */
  #adopt(atom: Atom, saidBy: string, nowMs: number): void {
    const { table, settings } = this.#shared
    const { self } = settings
    // Not above what another member may claim by a packet it has seen: hence not by the clock.
    const generation = nextGeneration(atom.generation, 0)
    const adopted = { ...atom, generation, owner: self }
    if (this.#own.store(adopted, nowMs) !== undefined && !atom.zombie)
      this.takenOver.add(table.find(atom.key), saidBy)
  }

  #giveBack(slot: number, home: Origin, nowMs: number): void {
    const { table } = this.#shared
    const atom = table.atom(slot)
    this.#own.relinquish(slot)
    table.put({ ...atom, owner: home }, PLACE.cached, nowMs)
    const atoms = this.#back.get(home.member) ?? []
    atoms.push(atom)
    this.#back.set(home.member, atoms)
  }

  /** Somebody holds atoms of an owner that is gone, and takes this member for the one to take them over. */
  here(from: Member, owner: Origin, buckets: readonly BucketDigest[]): void {
    if (this.isLive(owner)) return
    const held = this.#copies.held(owner)
    const missing = buckets.filter(digest => !sameDigest(held?.of(digest.bucket) ?? NOTHING, digest))
    if (missing.length === 0) return
    const outbox = this.#shared.outboxes.get(from.member)
    outbox?.send({ type: 'orphans-want', owner, buckets: missing.map(({ bucket }) => bucket) })
  }

  want(from: Member, owner: Origin, buckets: readonly number[]): void {
    const { table, counters } = this.#shared
    if (!this.#told.delete(nameOf(from.member, owner))) {
      counters.unaskedReturns++
      return
    }
    for (const bucket of new Set(buckets)) {
      if (!(bucket >= 0 && bucket < BUCKETS)) continue
      const atoms: Atom[] = []
      for (const slot of table.inBucket(bucket))
        if (table.place(slot) === PLACE.copy && sameOrigin(table.owner(slot), owner))
          atoms.push(table.atom(slot))
      if (atoms.length > 0) this.#offer(from.member, owner, bucket, atoms)
    }
  }

  #offer(to: string, owner: Origin, bucket: number, all: readonly Atom[]): void {
    for (const [atoms, last] of parts(all))
      this.#shared.outboxes.get(to)?.send({ type: 'orphans', owner, bucket, last, atoms })
  }

  /** Atoms to take over: of an owner that is gone, or that leaves and says so itself. */
  take(
    from: Member,
    owner: Origin,
    bucket: number,
    last: boolean,
    atoms: readonly Atom[],
    wallMs: number,
    nowMs: number,
  ): void {
    const { table, location, counters, outboxes, settings, clock, port } = this.#shared
    const leaves = sameOrigin(owner, from)
    if (!leaves && this.isLive(owner)) return
    for (const atom of atoms) {
      const sound = this.#copies.isSound(atom, wallMs) && sameOrigin(atom.owner, owner)
      if (!sound || location.bucketOf(atom.key) !== bucket) {
        counters.refusedAtoms++
        continue
      }
      clock.saw(atom.generation)
      const slot = table.find(atom.key)
      if (slot >= 0 && compareAtoms(atom, table.rank(slot)) < 0) {
        counters.outdated++
        continue
      }
      if (!atom.zombie && !this.#believes(from.member, slot)) {
        counters.refusedOrphans++
        continue
      }
      this.#adopt(leaves ? { ...atom, home: settings.self } : atom, from.member, nowMs)
      port.learnt?.(atom)
    }
    if (leaves && last) outboxes.get(from.member)?.send({ type: 'taken', bucket })
  }

  /** What is taken over already takes no more room. */
  #believes(member: string, slot: number): boolean {
    const { table } = this.#shared
    return (slot >= 0 && table.place(slot) === PLACE.own) || this.takenOver.believes(member)
  }

  /** Other members took this one for dead, and kept its atoms. */
  back(atoms: readonly Atom[], wallMs: number, nowMs: number): void {
    const { counters, settings } = this.#shared
    for (const atom of atoms)
      if (this.#copies.isSound(atom, wallMs) && sameOrigin(atom.home, settings.self))
        this.#homeward(atom, nowMs)
      else counters.refusedAtoms++
  }

  /** What this member knows itself of an atom that was its own is what counts: it lives here, or it has ended, or another one has claimed it. */
  #homeward(atom: Atom, nowMs: number): void {
    const { table, settings } = this.#shared
    const slot = table.find(atom.key)
    const own = slot >= 0 && this.#own.isOwn(slot)
    if (slot >= 0 && !own) return
    const here = own ? table.atom(slot) : { ...atom, zombie: true }
    const generation = nextGeneration(Math.max(atom.generation, here.generation), 0)
    this.#own.store({ ...here, generation, owner: settings.self, home: settings.self }, nowMs)
  }

  /** Keys of adopted atoms whose host has not been asked yet; each is given once. */
  unsure(most: number): Uint32Array[] {
    return this.takenOver.unsure(this.#shared.table, most)
  }

  /** Hands everything over, to leave. */
  leave(): void {
    const { table, location, settings } = this.#shared
    this.#leaving ??= new Set(Array.from({ length: BUCKETS }, (_, bucket) => bucket))
    for (const bucket of this.#leaving) {
      const heir = location.order(bucket).find(({ member }) => member !== settings.self.member)
      const atoms = [...this.#own.inBucket(bucket)].map(slot => table.atom(slot))
      if (heir === undefined || atoms.length === 0) this.#leaving.delete(bucket)
      else this.#offer(heir.member, settings.self, bucket, atoms)
    }
  }

  /** Whether nothing is left to hand over. */
  get hasLeft(): boolean {
    return this.#leaving?.size === 0
  }

  /** The one that gets them has taken them over. */
  taken(from: Member, bucket: number): void {
    const { location, settings } = this.#shared
    const heir = location.order(bucket).find(({ member }) => member !== settings.self.member)
    if (heir?.member === from.member) this.#leaving?.delete(bucket)
  }
}

const nameOf = (adopter: string, { member, incarnation }: Origin): string =>
  `${adopter} ${incarnation} ${member}`
