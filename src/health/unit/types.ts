/** What goes into and comes out of the core of a load balancing unit's cache (R-B3). */
import type { HealthMessage, Row, TableVersion } from '../types.ts'

export interface UnitSettings {
  /** Name of this node. */
  readonly name: string
  /** How often a host's beats are tied to this node's clock anew (ms); more often costs messages, less often lets clocks drift. */
  readonly retieMs: number
  /** A host is not asked again sooner than this (ms), then each time after twice as long, up to 8 s. */
  readonly askAgainMs: number
  /** A host's rows are dropped when it has proved nothing for so long after the end of its lease (ms; R-B8). */
  readonly ageMs: number
}

export const UNIT_DEFAULTS: Omit<UnitSettings, 'name'> = { retieMs: 300_000, askAgainMs: 1000, ageMs: 30_000 }

export type UnitEvent =
  /** Membership; hosts that vanish are dropped at once. */
  | { on: 'hosts'; hosts: readonly { name: string; host: number }[] }
  | { on: 'link'; host: string; up: boolean }
  | { on: 'message'; from: string; message: HealthMessage }
  /** That version is in force in the data plane: no packet follows an earlier one any more. */
  | { on: 'applied'; host: string; version: TableVersion }
  /** This machine was suspended for an unknown time: all leases are over, and hosts are asked anew. */
  | { on: 'stood-still' }
  | { on: 'tick' }

export type UnitAction =
  | { do: 'send'; to: string; message: HealthMessage }
  /** To be put in force, in this order, and answered by `applied`; of several a later one does for all. */
  | { do: 'apply'; host: string; version: TableVersion; rows: readonly Row[] }
  /** New connections may go to the host's rows in force until then (`nowMs`'s clock); 0: not any more. */
  | { do: 'lease'; host: string; untilMs: number }
  /** The host has left: nothing of it is held or used any more. */
  | { do: 'drop'; host: string }
  /** The leader of its group says that it is gone; that alone changes nothing. */
  | { do: 'check'; host: string }
  | { do: 'refused'; from: string; why: string }

export interface UnitStep {
  actions: UnitAction[]
  /** Infinite when nothing is due. */
  wakeAtMs: number
}

/** A host in the consolidated cache. */
export interface CachedHost {
  name: string
  host: number
  /** Of the rows held; null: none. */
  version: TableVersion | null
  /** Of the rows that the data plane follows. */
  inForce: TableVersion | null
  /** 0: there was none. */
  leaseUntilMs: number
  /** Name of the leader that passes its heartbeats on; null: it sends them itself. */
  via: string | null
  rows: Row[]
  /** As the host's heartbeats say it; empty: not said yet. */
  dnsName: string
}

export type UnitCounter =
  | 'beats_verified'
  | 'beats_old'
  | 'beats_late'
  | 'beats_ahead'
  | 'beats_wrong'
  | 'beats_no_table'
  | 'beats_unknown_host'
  | 'beats_over_budget'
  | 'row_changes'
  | 'row_changes_unfit'
  | 'snapshots_asked'
  | 'snapshots_taken'
  | 'snapshots_unasked'
  | 'snapshots_unfit'
  | 'postulates_right'
  | 'postulates_wrong'
  | 'leases_over'
  | 'hosts_goodbye'
  | 'hosts_aged'
  | 'refused'

export const sameVersion = (a: TableVersion | null, b: TableVersion | null): boolean =>
  a !== null && b !== null && a.instance === b.instance && a.generation === b.generation
