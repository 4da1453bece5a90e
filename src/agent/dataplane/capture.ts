/** `shunt capture` in the data plane's thread: one at a time, bounded in packets and in time, from XDP or from packet sockets. */
import type { CaptureData } from '../../control/types.ts'

export interface CaptureOrder {
  readonly at: 'client' | 'stack'
  /** Four words, as in flow-key.ts. */
  readonly vip: Uint32Array
  /** 0: any. */
  readonly port: number
  /** `mask` 0: any client. */
  readonly client: Uint32Array
  readonly mask: Uint32Array
  readonly count: number
  readonly seconds: number
  readonly snaplen: number
}

/** One packet, as its source has it; `head` is the source's own, good until the call returns. */
export interface CaptureRecord {
  /** Unix time in microseconds. */
  timeUs: number
  link: number
  length: number
  head: Uint8Array
  /** Of XDP, `enum xdp_action`; -1: it did not look. */
  verdict: number
  /** Its `enum counter`. */
  reason: number
}

export interface CaptureSource {
  /** Readable while there are packets. */
  readonly fds: readonly number[]
  /** Takes up to `max` packets; answers how many were taken, wanted or not. */
  read(max: number, deliver: (record: CaptureRecord) => void): number
  /** Packets that there was no room for, until now. */
  lost(): number
  /** Nothing of it is left in the kernel. */
  close(): void
}

/** As it crosses to the main thread. */
export interface CaptureBatch {
  readonly records: readonly CaptureRecord[]
  readonly lost: number
  readonly end: CaptureData['end']
}

const BURST = 64
/** What one turn hands on. */
const ROUNDS = 8

export class Capture {
  readonly #source: CaptureSource
  readonly #post: (batch: CaptureBatch) => void
  readonly #untilMs: number
  #left: number
  #lost = 0

  /** @param post gets what came; the batch with an `end` is the last one */
  constructor(
    source: CaptureSource,
    order: Pick<CaptureOrder, 'count' | 'seconds'>,
    nowMs: number,
    post: (batch: CaptureBatch) => void,
  ) {
    this.#source = source
    this.#post = post
    this.#left = order.count
    this.#untilMs = nowMs + order.seconds * 1000
  }

  get fds(): readonly number[] {
    return this.#source.fds
  }

  /** Milliseconds until it ends by time. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#untilMs - nowMs)
  }

  /** Hands on what came. True: it is over, and closed. */
  turn(nowMs: number): boolean {
    const records: CaptureRecord[] = []
    for (let round = 0; round < ROUNDS && this.#left > 0; round++) {
      const taken = this.#source.read(BURST, record => {
        if (this.#left === 0) return
        this.#left--
        records.push({ ...record, head: record.head.slice() })
      })
      if (taken < BURST) break
    }
    const end = this.#left === 0 ? 'count' : nowMs >= this.#untilMs ? 'time' : null
    const lost = this.#source.lost()
    if (records.length > 0 || lost !== this.#lost || end !== null) this.#post({ records, lost, end })
    this.#lost = lost
    if (end === null) return false
    this.#source.close()
    return true
  }

  /** Before its end: whoever asked is gone. */
  close(): void {
    this.#post({ records: [], lost: this.#source.lost(), end: 'stopped' })
    this.#source.close()
  }
}
