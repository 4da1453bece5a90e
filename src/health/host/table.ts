/** A host's health and load table as the units are told of it (figure 13A): its rows, and the chain that stands for its state (R-B5). */
import { appKey } from '../app-id.ts'
import { TokenChain } from '../chain.ts'
import { chunkOf, tableDigests } from '../digest.ts'
import { CHUNKS, type HealthMessage, type Row, type RowOperation, type TableVersion } from '../types.ts'

type RowChange = Extract<HealthMessage, { type: 'row-change' }>
type SendSnapshot = Extract<HealthMessage, { type: 'send-snapshot' }>

export class HostTable {
  readonly #host: number
  #instance: number
  readonly #seed: () => Uint8Array
  readonly #chainLinks: number | undefined
  readonly #rows = new Map<number, Row>()
  readonly #ids = new Map<string, number>()
  #generation = 1
  #chain: TokenChain
  /** Token b - anchorBeat of the chain is that of beat b. */
  #anchorBeat = 0
  #digests: number[] | null = null
  #lastChange: RowChange | null = null

  constructor(host: number, instance: number, seed: () => Uint8Array, chainLinks?: number) {
    this.#host = host
    this.#instance = instance
    this.#seed = seed
    this.#chainLinks = chainLinks
    this.#chain = new TokenChain(seed(), chainLinks)
  }

  get version(): TableVersion {
    return { instance: this.#instance, generation: this.#generation }
  }
  /** The message that brought this generation, as it was sent; null for the first one. */
  get lastChange(): RowChange | null {
    return this.#lastChange
  }
  rows(): Row[] {
    return [...this.#rows.values()]
  }
  row(id: number): Row | undefined {
    return this.#rows.get(id)
  }
  rowOf(key: string): Row | undefined {
    const id = this.#ids.get(key)
    return id === undefined ? undefined : this.#rows.get(id)
  }

  /** The next generation is of another table with the same rows: units take a snapshot of it before they follow it. */
  renew(instance: number): void {
    this.#instance = instance
  }

  /** Begins the next generation. `beat`: the last one whose token may be out; not one more of the old chain goes out after it. */
  commit(operations: readonly RowOperation[], beat: number): RowChange {
    for (const operation of operations) this.#apply(operation)
    this.#generation++
    this.#chain = new TokenChain(this.#seed(), this.#chainLinks)
    this.#anchorBeat = beat
    if (operations.length > 0) this.#digests = null
    this.#lastChange = { type: 'row-change', host: this.#host, ...this.#state(), operations }
    return this.#lastChange
  }

  /** Null when the chain of this generation has none for that beat. */
  token(beat: number): string | null {
    const position = beat - this.#anchorBeat
    return position < 1 || position > this.#chain.links ? null : this.#chain.token(position)
  }

  /** `theirs`: the asker's digests; none: everything, so that it forgets what is no more. */
  snapshot(theirs: readonly number[]): Pick<SendSnapshot, 'version' | 'anchor' | 'anchorBeat' | 'chunks'> {
    this.#digests ??= tableDigests(this.#rows.values())
    const ours = this.#digests
    const chunks = Array.from({ length: CHUNKS }, (_, index) => ({ index, rows: [] as Row[] }))
    for (const row of this.#rows.values()) chunks[chunkOf(row.id)]!.rows.push(row)
    for (const { rows } of chunks) rows.sort((a, b) => a.id - b.id)
    return { ...this.#state(), chunks: chunks.filter(({ index }) => theirs[index] !== ours[index]) }
  }

  #state(): Pick<RowChange, 'version' | 'anchor' | 'anchorBeat'> {
    return { version: this.version, anchor: this.#chain.anchor, anchorBeat: this.#anchorBeat }
  }

  #apply(operation: RowOperation): void {
    if (operation.operation === 'add') {
      this.#rows.set(operation.row.id, operation.row)
      this.#ids.set(appKey(operation.row.app), operation.row.id)
      return
    }
    const id = operation.operation === 'update' ? operation.row.id : operation.id
    const before = this.#rows.get(id)!
    if (operation.operation === 'update') {
      this.#rows.set(id, { ...operation.row, app: before.app })
      return
    }
    this.#rows.delete(id)
    this.#ids.delete(appKey(before.app))
  }
}
