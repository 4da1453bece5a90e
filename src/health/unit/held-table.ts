/** A version of a host's table that a unit holds, and the chain that proves it current (R-B5). */
import { isDeepStrictEqual } from 'node:util'
import { appType } from '../app-id.ts'
import { verifyToken } from '../chain.ts'
import { tableDigests } from '../digest.ts'
import type { DirectiveState, HeartbeatEntry, Row, TableVersion } from '../types.ts'
import type { Rows } from './table.ts'

export class HeldTable {
  readonly version: TableVersion
  readonly rows: Rows
  readonly anchor: string
  readonly anchorBeat: number
  /** The newest token that was verified. */
  #known: { token: string; position: number }
  #digests: number[] | undefined
  #byType: Map<string, Row[]> | undefined

  constructor(from: { version: TableVersion; anchor: string; anchorBeat: number }, rows: Rows) {
    this.version = from.version
    this.anchor = from.anchor
    this.anchorBeat = from.anchorBeat
    this.rows = rows
    this.#known = { token: from.anchor, position: 0 }
  }

  /** Hashes that verifying takes; not positive: no newer beat than the newest known. */
  distance(beat: number): number {
    return beat - this.anchorBeat - this.#known.position
  }

  /** Whether the token proves that this version was current at that beat; then it and those before it prove nothing more. */
  verify(entry: HeartbeatEntry): boolean {
    const position = entry.beat - this.anchorBeat
    if (!verifyToken(this.#known, entry.token, position)) return false
    this.#known = { token: entry.token, position }
    return true
  }

  /** Of two of the same version: whether they have the same rows and the same chain. */
  equals(other: HeldTable): boolean {
    if (this.anchor !== other.anchor || this.anchorBeat !== other.anchorBeat) return false
    return this.rows === other.rows || isDeepStrictEqual(this.digests(), other.digests())
  }

  /** For the question what differs (digest.ts). */
  digests(): number[] {
    this.#digests ??= tableDigests(this.rows.values())
    return this.#digests
  }

  ofType(type: string): readonly Row[] {
    this.#byType ??= byType(this.rows)
    return this.#byType.get(type) ?? []
  }
}

const byType = (rows: Rows): Map<string, Row[]> => {
  const types = new Map<string, Row[]>()
  for (const row of rows.values()) {
    const type = appType(row.app)
    const same = types.get(type)
    if (same === undefined) types.set(type, [row])
    else same.push(row)
  }
  return types
}

/** Ids of those states that the rows do not have as their target (R-B6). */
export const differing = (
  rows: Rows,
  states: readonly { readonly id: number; readonly state: DirectiveState }[],
): number[] => states.filter(({ id, state }) => rows.get(id)?.target !== state).map(({ id }) => id)
