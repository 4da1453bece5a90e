/** Since when each row has been up without a break: where slow starts begin (R-B10). Pure. */
import type { Row } from '../types.ts'
import { isUp } from './shares.ts'

export class UpTimes {
  /** By host, then by row. */
  readonly #since = new Map<string, Map<number, number>>()

  /** The rows of a host as they are in force now; none: it is gone. */
  update(host: string, rows: readonly Row[], nowMs: number): void {
    const before = this.#since.get(host)
    const since = new Map<number, number>()
    for (const row of rows) if (isUp(row)) since.set(row.id, before?.get(row.id) ?? nowMs)
    if (since.size === 0) this.#since.delete(host)
    else this.#since.set(host, since)
  }

  /** Monotonic ms; infinite for a row that is not up. */
  of(host: string, row: number): number {
    return this.#since.get(host)?.get(row) ?? Number.POSITIVE_INFINITY
  }
}
