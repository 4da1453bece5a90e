/** What the parts of the manager share. */
import type { AtomTable } from './atom-table.ts'
import type { GenerationClock } from './clock.ts'
import type { Location } from './location.ts'
import type { Outbox } from './outbox.ts'
import type { Atom, DamMessage, Origin } from './types.ts'

export interface DamSettings {
  readonly self: Origin
  /** Most atoms of all kinds and owners. */
  readonly capacity: number
  /** Of the location of atoms and of digests: shared by the members, secret to others. */
  readonly sharedKey: readonly [number, number]
  /** Of the table: this member's. */
  readonly tableKey: readonly [number, number]
  /** How long an ended atom is kept (R-C6): the protocol's dead time, and longer than anything stays on its way. */
  readonly deadMs: number
  /** How long an atom that was only looked up is kept after its last use. */
  readonly cacheMs: number
  /** How often members compare what they hold. */
  readonly syncMs: number
  /** How long each stage of a query waits. */
  readonly queryMs: number
  /** How far another member's versions may be ahead of this one's clock. Up to half of it their clock is followed, so clocks may be so far apart. */
  readonly aheadMs: number
}

export interface DamPort {
  /** To a live member; may be lost with the link. */
  send(member: string, message: DamMessage): void
  /** Whether a live member can be asked now; left out: all of them can. */
  reaches?(member: string): boolean
  /** An atom of another member's has come, to copy or to take over, or is another one than before. */
  learnt?(atom: Atom): void
  /** An atom that was this member's is another's now. */
  claimed(atom: Atom): void
}

/** Numbered reasons for what is not done. Told in `shunt drops`. */
export interface DamCounters {
  /** Adds of what is not the sender's, implausible generations, unknown kinds or levels. */
  refusedAtoms: number
  /** No room, or the sender's share of the table is used up. */
  refusedRoom: number
  /** To be taken over on another member's word, beyond what that is good for (taken-over.ts). */
  refusedOrphans: number
  /** Older than what is here. */
  outdated: number
  /** Messages from what is no live member. */
  strangers: number
  /** Keys of queries above a member's rate: those queries are not answered. */
  refusedQueries: number
  /** Keys that this member did not ask others for, above its own rate. */
  refusedAsks: number
  /** Answers that nobody asked for. */
  unaskedReturns: number
}

export interface Shared {
  readonly settings: DamSettings
  readonly port: DamPort
  readonly table: AtomTable
  readonly location: Location
  readonly counters: DamCounters
  readonly clock: GenerationClock
  /** By name of the member; none for this one, and for those that are not live. */
  readonly outboxes: ReadonlyMap<string, Outbox>
}
