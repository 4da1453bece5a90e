/**
 * From forms of routes and mappings that earlier versions had. A struct that changes gets a line here: the fingerprint that it had until
 * now, as it stands in the layout module before `make bpf-layouts`, and a function that reads it.
 */

import type { Mapping } from './mapping-slots.ts'
import type { RouteContent } from './route-value.ts'

/** A route of an earlier form. */
export interface OldRoute {
  /** Four words (see flow-key.ts). */
  readonly client: Uint32Array
  readonly port: number
  readonly service: number
  readonly content: RouteContent
  /** Tick of the last packet. */
  readonly stamp: number
}

/** Reads all entries; `memory` is the map's values, from their first byte. Throws Error for what it cannot read. */
export interface Migration {
  readonly routes?: (memory: Uint8Array<ArrayBuffer>) => Iterable<OldRoute>
  readonly mappings?: (memory: Uint8Array<ArrayBuffer>) => Iterable<Mapping>
}

/** Map -> fingerprint of the form before -> how it is read. */
export type MigrationTable = Readonly<Record<string, Readonly<Record<string, Migration>>>>

export const MIGRATIONS: MigrationTable = {}
