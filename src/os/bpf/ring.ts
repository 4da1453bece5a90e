import { ShuntError } from '../../errors.ts'
import type { BpfMap } from './map.ts'
import { MappedMemory } from './mapped.ts'
import { PAGE_BYTES } from './syscall.ts'

const TYPE_RINGBUF = 27
const HEADER_BYTES = 8
const BUSY = 1 << 31
const DISCARDED = 1 << 30
const LENGTH = DISCARDED - 1

/**
 * Gets one record: `length` bytes of `view` from `offset`. Only during the call, and only to read: the memory is shared with
 * the kernel and write-protected (a write ends the process).
 */
export type RecordHandler = (view: DataView, offset: number, length: number) => void

/**
 * Reads a ring buffer (BPF_MAP_TYPE_RINGBUF) through shared memory. `fd` is readable, for a `Poller`, while there are records:
 * a worker that waits in poll(2) costs nothing. One reader a ring.
 */
export class BpfRing {
  readonly fd: number
  readonly #mask: number
  readonly #consumer: MappedMemory
  readonly #producer: MappedMemory
  readonly #read: BigInt64Array
  readonly #written: Int32Array
  readonly #headers: Int32Array
  readonly #data: DataView

  /** The map stays its owner's, and open for as long as `fd` is waited for. Throws ShuntError for another kind of map. */
  constructor({ fd, info }: BpfMap) {
    if (info.type !== TYPE_RINGBUF)
      throw new ShuntError('SHUNT_ERR_DATAPLANE', `the map ${info.name} is no ring buffer`)
    const bytes = info.maxEntries
    this.fd = fd
    this.#mask = bytes - 1
    // A page with the reader's position; a page with the writer's; the data, twice, so that no record is ever split.
    this.#consumer = new MappedMemory(fd, PAGE_BYTES, 0, true)
    this.#producer = new MappedMemory(fd, PAGE_BYTES + 2 * bytes, PAGE_BYTES, false)
    this.#read = new BigInt64Array(this.#consumer.memory, 0, 1)
    const shared = this.#producer.memory
    this.#written = new Int32Array(shared, 0, 1)
    this.#headers = new Int32Array(shared, PAGE_BYTES, (2 * bytes) / 4)
    this.#data = new DataView(shared, PAGE_BYTES, 2 * bytes)
  }

  /**
   * Hands up to `maxRecords` waiting records to `handler`, in order, and gives their room back, also when it throws. Never
   * blocks. Answers how many records were handed over.
   */
  receive(maxRecords: number, handler: RecordHandler): number {
    if (this.#read.length === 0) return 0
    let taken = 0
    let position = this.#read[0]
    // Positions only grow; their low halves are enough to tell where in the ring they are and whether they differ.
    let low = Number(BigInt.asIntN(32, position))
    const from = low
    try {
      while (taken < maxRecords && low !== Atomics.load(this.#written, 0)) {
        const offset = low & this.#mask
        const header = Atomics.load(this.#headers, offset >> 2)
        if ((header & BUSY) !== 0) break // reserved and not yet submitted
        const length = header & LENGTH
        low = (low + ((length + HEADER_BYTES + 7) & ~7)) | 0
        if ((header & DISCARDED) !== 0) continue
        taken++
        handler(this.#data, offset + HEADER_BYTES, length)
      }
    } finally {
      position += BigInt((low - from) >>> 0)
      Atomics.store(this.#read, 0, position)
    }
    return taken
  }

  /** Unmaps the ring. */
  close(): void {
    this.#consumer.release()
    this.#producer.release()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
