/** QueryAtom (R-C4, figure 24): the members that should have a copy are asked first, and at once; then all. */
import { ReservedRate } from '../gossip/reserved-rate.ts'
import { PLACE } from './atom-table.ts'
import type { Copies } from './copies.ts'
import { compareAtoms } from './order.ts'
import type { Shared } from './settings.ts'
import { type Atom, KEY_WORDS, type Member, MOST_KEYS, type Origin } from './types.ts'

/** Members of the first stage. */
const NEAREST = 2
/** Queries at a time; and of those that are asked for the first time. */
const MOST_OPEN = 65_536
const MOST_OPEN_ONCE = MOST_OPEN / 2
/** Keys a second that members are asked for, one of them twice for each at most: they answer more (dam.ts). Half is for what is asked for again. */
const RATE = {
  all: { ratePerS: 24_000, burst: 4_000 },
  reserved: { ratePerS: 12_000, burst: 1_000 },
} as const

/** `certain`: every live member that could have it has answered. */
export type Found = (atom: Atom | null, certain: boolean) => void

interface Open {
  readonly key: Uint32Array
  readonly tell: Found[]
  /** Members that have not answered in this stage. */
  asked: Set<string>
  all: boolean
  untilMs: number
  best: Atom | null
  /** Some member could not be asked, or did not answer in time. */
  isUnsure: boolean
}

export class Queries {
  readonly #shared: Shared
  readonly #copies: Copies
  readonly #open = new Map<string, Open>()
  /** By member: keys that gather for it; and what was asked, by number. */
  readonly #gathered = new Map<string, Uint32Array[]>()
  readonly #sent = new Map<
    number,
    { readonly member: string; readonly keys: readonly string[]; readonly untilMs: number }
  >()
  #nextId = 1
  #rate: ReservedRate | null = null

  constructor(shared: Shared, copies: Copies) {
    this.#shared = shared
    this.#copies = copies
  }

  get open(): number {
    return this.#open.size
  }

  /** Null: nobody has it. `tell` may be called at once. @param again it has been asked for before */
  ask(key: Uint32Array, nowMs: number, tell: Found, again: boolean): void {
    const { table, location, settings } = this.#shared
    const slot = table.find(key)
    if (slot >= 0) {
      table.touch(slot, nowMs)
      tell(table.atom(slot), true)
      return
    }
    const name = nameOf(key)
    const open = this.#open.get(name)
    if (open !== undefined) {
      open.tell.push(tell)
      return
    }
    const order = location
      .order(location.bucketOf(key))
      .filter(({ member }) => member !== settings.self.member)
    if (order.length === 0) {
      tell(null, true)
      return
    }
    if (!this.#mayAsk(1, again, nowMs)) {
      tell(null, false)
      return
    }
    const entry: Open = {
      key: key.slice(0, KEY_WORDS),
      tell: [tell],
      asked: new Set(),
      all: order.length <= NEAREST,
      untilMs: nowMs + settings.queryMs,
      best: null,
      isUnsure: false,
    }
    this.#open.set(name, entry)
    this.#send(entry, order.slice(0, NEAREST))
  }

  /** Asks an owner for its own versions of keys, whatever is here. */
  refresh(owner: Origin, keys: readonly Uint32Array[], nowMs: number): void {
    const { location, settings } = this.#shared
    if (owner.member === settings.self.member || location.member(owner.member) === undefined) return
    const wanted = keys.filter(key => key.length === KEY_WORDS).slice(0, MOST_KEYS)
    // The next comparison finds what is not asked for now.
    if (wanted.length === 0 || !this.#mayAsk(wanted.length, false, nowMs)) return
    const gathered = this.#gathered.get(owner.member) ?? []
    gathered.push(...wanted)
    this.#gathered.set(owner.member, gathered)
  }

  #mayAsk(keys: number, again: boolean, nowMs: number): boolean {
    this.#rate ??= new ReservedRate(RATE, nowMs)
    const isFull = this.#open.size >= (again ? MOST_OPEN : MOST_OPEN_ONCE)
    if (!isFull && this.#rate.take(again, nowMs, keys)) return true
    this.#shared.counters.refusedAsks += keys
    return false
  }

  flush(nowMs: number): void {
    if (this.#gathered.size === 0) return
    const untilMs = nowMs + this.#shared.settings.queryMs
    for (const [member, keys] of this.#gathered) {
      for (let at = 0; at < keys.length; at += MOST_KEYS) {
        const part = keys.slice(at, at + MOST_KEYS)
        const id = this.#nextId++ % 2 ** 32
        this.#sent.set(id, { member, keys: part.map(nameOf), untilMs })
        this.#shared.outboxes.get(member)?.send({ type: 'query', id, keys: part })
      }
    }
    this.#gathered.clear()
  }

  /** Ends stages whose time is over. Members that are gone do not answer any more. */
  tick(nowMs: number): void {
    for (const entry of this.#open.values()) {
      for (const member of entry.asked) {
        if (this.#answers(member)) continue
        entry.asked.delete(member)
        entry.isUnsure = true
      }
      if (entry.untilMs <= nowMs || entry.asked.size === 0) this.#next(entry, nowMs)
    }
    for (const [id, { untilMs }] of this.#sent) {
      if (untilMs > nowMs) break
      this.#sent.delete(id)
    }
  }

  answered(from: Member, id: number, atoms: readonly Atom[], wallMs: number, nowMs: number): void {
    const { counters } = this.#shared
    const sent = this.#sent.get(id)
    if (sent === undefined || sent.member !== from.member) {
      counters.unaskedReturns++
      return
    }
    this.#sent.delete(id)
    const asked = new Set(sent.keys)
    for (const atom of atoms) {
      if (!this.#copies.isSound(atom, wallMs)) counters.refusedAtoms++
      else if (!asked.has(nameOf(atom.key))) counters.unaskedReturns++
      else {
        this.#copies.accept(from.member, atom, PLACE.cached, nowMs)
        const open = this.#open.get(nameOf(atom.key))
        if (open !== undefined && (open.best === null || compareAtoms(atom, open.best) > 0)) open.best = atom
      }
    }
    for (const name of sent.keys) {
      const open = this.#open.get(name)
      if (open === undefined) continue
      open.asked.delete(from.member)
      // The owner's own word cannot be bettered by a copy.
      if (open.best !== null && open.best.owner.member === from.member) this.#finish(open)
      else if (open.asked.size === 0) this.#next(open, nowMs)
    }
  }

  /** One whose link is down may be back soon, and is not waited for. */
  #answers(member: string): boolean {
    const { location, port } = this.#shared
    return location.member(member) !== undefined && (port.reaches?.(member) ?? true)
  }

  #next(open: Open, nowMs: number): void {
    const { location, settings } = this.#shared
    if (open.best !== null || open.all) {
      this.#finish(open)
      return
    }
    // All are asked again.
    open.isUnsure = false
    open.all = true
    open.untilMs = nowMs + settings.queryMs
    const order = location.order(location.bucketOf(open.key))
    this.#send(
      open,
      order.filter(({ member }) => member !== settings.self.member),
    )
  }

  #send(open: Open, members: readonly Member[]): void {
    open.asked = new Set(members.map(({ member }) => member))
    for (const { member } of members) {
      if (!this.#answers(member)) continue
      const keys = this.#gathered.get(member) ?? []
      keys.push(open.key)
      this.#gathered.set(member, keys)
    }
  }

  #finish(open: Open): void {
    this.#open.delete(nameOf(open.key))
    const certain = open.asked.size === 0 && !open.isUnsure
    for (const tell of open.tell) tell(open.best, certain)
  }
}

const nameOf = (key: Uint32Array): string =>
  String.fromCharCode(...new Uint16Array(key.buffer, key.byteOffset, 2 * KEY_WORDS))
