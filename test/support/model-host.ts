/** A host as a unit sees it: rows, generations, chains and beats, without the directive protocol. */
import { TokenChain } from '../../src/health/chain.ts'
import { chunkOf, tableDigests } from '../../src/health/digest.ts'
import {
  CHUNKS,
  type HealthMessage,
  type HeartbeatEntry,
  type Row,
  type RowOperation,
  type TableVersion,
} from '../../src/health/types.ts'

type Get = Extract<HealthMessage, { type: 'get-snapshot' }>
type Snapshot = Extract<HealthMessage, { type: 'send-snapshot' }>
export type RowChange = Extract<HealthMessage, { type: 'row-change' }>

export const modelRow = (id: number, over: Partial<Row> = {}): Row => ({
  id,
  app: {
    vip: `10.99.0.${1 + (id % 3)}`,
    port: 80,
    physical: '10.10.0.71',
    physicalPort: 80,
    protocol: 'tcp',
    specific: '',
  },
  health: 'unknown',
  load: 0,
  capacity: 50,
  target: 'active',
  current: 'active',
  cause: 'default',
  ...over,
})

export class ModelHost {
  readonly name: string
  readonly host: number
  readonly beatMs: number
  readonly leaseBeats = 3
  rows = new Map<number, Row>()
  #instance = 0
  #generation = 1
  #chain!: TokenChain
  #anchorBeat = 0
  /** Of beat 1. */
  #startMs = 0
  #sent = 0
  #seeds = 0
  readonly #links: number

  constructor(
    name: string,
    host: number,
    startMs: number,
    options: { links?: number; beatMs?: number } = {},
  ) {
    this.name = name
    this.host = host
    this.#links = options.links ?? 32
    this.beatMs = options.beatMs ?? 1000
    this.restart(startMs)
  }

  get version(): TableVersion {
    return { instance: this.#instance, generation: this.#generation }
  }

  get leaseMs(): number {
    return this.leaseBeats * this.beatMs
  }

  get anchorBeat(): number {
    return this.#anchorBeat
  }

  /** The agent starts anew, with the rows of those applications that run. */
  restart(nowMs: number): void {
    this.#instance++
    this.#generation = 1
    this.#startMs = nowMs
    this.#sent = 0
    this.#begin(0)
  }

  timeOf(beat: number): number {
    return this.#startMs + (beat - 1) * this.beatMs
  }

  get nextBeatMs(): number {
    return this.timeOf(this.#sent + 1)
  }

  change(operations: readonly RowOperation[]): RowChange {
    for (const change of operations) {
      if (change.operation === 'add') this.rows.set(change.row.id, change.row)
      else if (change.operation === 'delete') this.rows.delete(change.id)
      else this.rows.set(change.row.id, { ...this.rows.get(change.row.id)!, ...change.row })
    }
    this.#generation++
    this.#begin(this.#sent)
    return { type: 'row-change', host: this.host, ...this.#state(), operations }
  }

  set(row: Row): RowChange {
    if (!this.rows.has(row.id)) return this.change([{ operation: 'add', row }])
    const { app: _, ...state } = row
    return this.change([{ operation: 'update', row: state }])
  }

  /** The heartbeat that is due; null when the chain has run out: then a row change must come first. */
  beat(): HeartbeatEntry | null {
    const beat = this.#sent + 1
    const position = beat - this.#anchorBeat
    if (position > this.#chain.links) return null
    this.#sent = beat
    return {
      host: this.host,
      beat,
      token: this.#chain.token(position),
      hello: beat <= 3,
      forward: false,
      dnsName: '',
    }
  }

  answer(get: Get, nowMs: number): Snapshot {
    const ours = tableDigests(this.rows.values())
    const chunks = Array.from({ length: CHUNKS }, (_, index) => ({
      index,
      rows: [...this.rows.values()].filter(row => chunkOf(row.id) === index),
    }))
    return {
      type: 'send-snapshot',
      host: this.host,
      request: get.request,
      ...this.#state(),
      beat: Math.max(1, Math.ceil((nowMs - this.#startMs) / this.beatMs) + 1),
      beatMs: this.beatMs,
      leaseBeats: this.leaseBeats,
      chunks: chunks.filter(({ index }) => get.chunks[index] !== ours[index]),
    }
  }

  #begin(anchorBeat: number): void {
    const seed = new Uint8Array(32)
    new DataView(seed.buffer).setUint32(0, this.host)
    new DataView(seed.buffer).setUint32(4, this.#seeds++)
    this.#chain = new TokenChain(seed, this.#links)
    this.#anchorBeat = anchorBeat
  }

  #state(): { version: TableVersion; anchor: string; anchorBeat: number } {
    return { version: this.version, anchor: this.#chain.anchor, anchorBeat: this.#anchorBeat }
  }
}

export const heartbeat = (entries: HeartbeatEntry[], leader = 0, gone: number[] = []): HealthMessage => ({
  type: 'heartbeat',
  leader,
  entries,
  gone,
})
