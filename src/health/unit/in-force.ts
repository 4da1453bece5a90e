/** Which version of a host's table the data plane follows, and which ones it was told to. */
import type { TableVersion } from '../types.ts'
import type { HeldTable } from './held-table.ts'
import { sameVersion } from './types.ts'

/** Tables that may wait for their `applied`; beyond, the oldest is forgotten: it takes the answer to a later one. */
const MAX_WAITING = 8

export class InForce {
  #table: HeldTable | null = null
  #waiting: HeldTable[] = []

  /** What the data plane follows; null: nothing, or not known. */
  get table(): HeldTable | null {
    return this.#table
  }

  get isEmpty(): boolean {
    return this.#table === null && this.#waiting.length === 0
  }

  told(table: HeldTable): void {
    this.#waiting = [...this.#waiting.filter(w => !sameVersion(w.version, table.version)), table].slice(
      -MAX_WAITING,
    )
  }

  /** False: it was not told to, or is further already. */
  applied(version: TableVersion): boolean {
    const at = this.#waiting.findLastIndex(waiting => sameVersion(waiting.version, version))
    if (at < 0) return false
    this.#table = this.#waiting[at]!
    this.#waiting = this.#waiting.slice(at + 1)
    return true
  }

  clear(): void {
    this.#table = null
    this.#waiting = []
  }
}
