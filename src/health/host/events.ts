/** What a host's health and load table is told, and what it asks of its shell. */
import type { LoadSettings } from '../smoothing.ts'
import type { AppId, DirectiveState, Health, HealthMessage, WaitingWhy, WhenFailing } from '../types.ts'
import type { OverloadSettings } from './overload.ts'

export interface HostSettings {
  /** Host number (host-number.ts). */
  host: number
  name: string
  /** Between two heartbeats (ms), 1 to 65535. */
  beatMs: number
  /** Beats that a lease lasts, all told: where leaders pass on changes only, with `forwardEvery` in it. */
  leaseBeats: number
  /** Every so many beats the leader is asked to pass the heartbeat on. */
  forwardEvery: number
  /** Where this host is reached, at most 253 bytes, and every how many beats that is said. */
  dnsName: string
  dnsEvery: number
  overload: OverloadSettings
  load: LoadSettings
  /**
   * The agent ran here less than a lease ago: units may still hold its rows as active, so that rows that start otherwise go through the
   * directive protocol first. Left out: no.
   */
  isRestart?: boolean
  /** Beats that one chain of tokens lasts (chain.ts), 1 to 4096; a change of the table begins another, and costs as many hashes. Left out: 512. */
  chainLinks?: number
}

/** What the cluster document may change while the host runs. */
export type HostPolicy = Pick<HostSettings, 'leaseBeats' | 'forwardEvery' | 'overload'>

export interface Endpoint {
  readonly app: AppId
  /** 0 to 99. */
  readonly capacity: number
  readonly whenFailing: WhenFailing
}

export type HostEvent =
  /** All that listen now (R-B2). */
  | { on: 'endpoints'; endpoints: readonly Endpoint[] }
  /** `app`: an appKey (app-id.ts). Of applications that do not listen it is ignored. */
  | { on: 'health'; app: string; health: Health }
  /** A raw sample, percent of the capacity. */
  | { on: 'load'; app: string; percent: number }
  /** `app`: an appKey, or '*': all of this host, those to come too. `state` null: withdrawn. */
  | { on: 'order'; app: string; state: DirectiveState | null }
  /** In force from now on. `instance`: random u32, of the table that begins if leases have another length. */
  | { on: 'settings'; settings: HostPolicy; instance: number }
  /** The agent will stop: everything drains. */
  | { on: 'stopping' }
  /** The agent stops now: units forget this host's rows at once. Nothing is sent after it. */
  | { on: 'goodbye'; reason: string }
  /** Signed membership: names of the load balancing units. */
  | { on: 'units'; units: readonly string[] }
  /** Where heartbeats go; null: straight to the units; own name: we lead. */
  | { on: 'leader'; leader: string | null }
  /** A unit whose link is up gets row changes from now on; it asks for a snapshot itself. Our own is always up. */
  | { on: 'link'; unit: string; up: boolean }
  | { on: 'message'; from: string; message: HealthMessage }
  | { on: 'tick' }

export type HostAction =
  | { do: 'send'; to: string; message: HealthMessage }
  /** The rows changed: for display. */
  | { do: 'rows' }
  /** All units follow this directive. */
  | { do: 'settled'; id: number; state: DirectiveState }
  /** `from` is our own name for what this node's own shell asked. */
  | { do: 'refused'; from: string; why: string }

/** A directive that not all units follow yet. */
export interface PendingDirective {
  id: number
  target: DirectiveState
  sinceMs: number
  /** Until then a unit that stays silent may use the earlier rows. */
  lapsesMs: number
  waiting: { unit: string; why: WaitingWhy }[]
}
