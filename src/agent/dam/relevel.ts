/** The document asks for another number of copies: own atoms are put anew with it, or end, some buckets at a time. Pure. */
import { type AtomTable, PLACE } from '../../dam/atom-table.ts'
import { BUCKETS } from '../../dam/location.ts'

export interface RelevelPorts {
  /** Null: there is none to go through. */
  table(): AtomTable | null
  /** Null: no atoms. */
  levelOf(key: Uint32Array): number | null
  put(key: Uint32Array, host: number): void
  end(key: Uint32Array): void
}

export class Relevel {
  readonly #ports: RelevelPorts
  #cursor = BUCKETS

  constructor(ports: RelevelPorts) {
    this.#ports = ports
  }

  get isBusy(): boolean {
    return this.#cursor < BUCKETS
  }

  begin(): void {
    this.#cursor = 0
  }

  stop(): void {
    this.#cursor = BUCKETS
  }

  step(buckets: number): void {
    const table = this.#ports.table()
    if (table === null) return
    for (let left = buckets; left > 0 && this.#cursor < BUCKETS; left--) this.#one(table, this.#cursor++)
  }

  #one(table: AtomTable, bucket: number): void {
    // A change moves the atoms of the list that is gone through.
    for (const slot of [...table.inBucket(bucket)]) {
      if (table.place(slot) !== PLACE.own) continue
      const { key, host, level } = table.atom(slot)
      const wanted = this.#ports.levelOf(key)
      if (wanted === null) this.#ports.end(key)
      else if (wanted !== level) this.#ports.put(key, host)
    }
  }
}
