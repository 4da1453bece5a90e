import { AddressMap } from './address-map.ts'
import { type Columns, HEAP } from './columns.ts'
import { SlotTable } from './slot-table.ts'

export const MAPPING_LIST = {
  /** Learnt from a SYN; nothing tunnelled came yet. */
  EMBRYONIC: 0,
  ESTABLISHED: 1,
  /** FIN or RST passed. */
  CLOSING: 2,
  /** Busy enough for the kernel: gives way last. */
  COMMITTED: 3,
} as const

/** Tunnel address (four words), identifier. */
export const MAPPING_KEY_WORDS = 5
/** Client (four words), VIP (four words), ports, protocol: the flow key. */
export const TUPLE_WORDS = 10
const PROTOCOL = 9

/**
 * A host's mapping table (R-E8): (tunnel address, identifier) -> the connection's 4-tuple, with the epoch and
 * sequence of the message that set it. Whatever is evicted is asked for again when a packet needs it.
 */
export class MappingTable {
  readonly table: SlotTable
  readonly embryonicCapacity: number
  readonly tuples: Uint32Array
  readonly epoch: Uint32Array
  readonly sequence: Uint32Array
  readonly slowPackets: Uint32Array
  /** Milliseconds until which the kernel may hold the mapping; 0 = not committed. */
  readonly committedUntilMs: Float64Array
  /** Mappings by VIP; none without any. */
  readonly vips = new AddressMap<number>()

  constructor(capacity: number, embryonicCapacity: number, k0: number, k1: number, columns: Columns = HEAP) {
    const total = capacity + embryonicCapacity
    this.embryonicCapacity = embryonicCapacity
    this.table = new SlotTable({ capacity: total, keyWords: MAPPING_KEY_WORDS, lists: 4, k0, k1, columns })
    this.tuples = columns.u32('tuples', total * TUPLE_WORDS)
    this.epoch = columns.u32('epoch', total)
    this.sequence = columns.u32('sequence', total)
    this.slowPackets = columns.u32('slow-packets', total)
    this.committedUntilMs = columns.f64('committed-until-ms', total)
  }

  /** The slot to give up for a new entry, or -1 when there is room. Embryonic entries never displace others. */
  victim(): number {
    const { table } = this
    if (table.length(MAPPING_LIST.EMBRYONIC) >= this.embryonicCapacity)
      return table.oldest(MAPPING_LIST.EMBRYONIC)
    if (table.size < table.capacity) return -1
    const closing = table.oldest(MAPPING_LIST.CLOSING)
    if (closing >= 0) return closing
    const established = table.oldest(MAPPING_LIST.ESTABLISHED)
    return established >= 0 ? established : table.oldest(MAPPING_LIST.COMMITTED)
  }

  sameTuple(slot: number, tuple: Uint32Array): boolean {
    const at = slot * TUPLE_WORDS
    for (let i = 0; i < TUPLE_WORDS; i++) if (this.tuples[at + i] !== tuple[i]) return false
    return true
  }

  /** A new entry, half-open; -1 when the table is full. */
  insert(key: Uint32Array, tuple: Uint32Array, nowMs: number): number {
    const slot = this.table.insert(key, 0, MAPPING_LIST.EMBRYONIC, nowMs)
    if (slot < 0) return slot
    this.slowPackets[slot] = 0
    this.committedUntilMs[slot] = 0
    this.#write(slot, tuple)
    this.#count(slot, 1)
    return slot
  }

  setTuple(slot: number, tuple: Uint32Array): void {
    this.#count(slot, -1)
    this.#write(slot, tuple)
    this.#count(slot, 1)
  }

  remove(slot: number): void {
    this.#count(slot, -1)
    this.tuples[slot * TUPLE_WORDS + PROTOCOL] = 0
    this.table.remove(slot)
  }

  /** The protocol last and cleared first: one that was cut short is none (`adopt`). */
  #write(slot: number, tuple: Uint32Array): void {
    const at = slot * TUPLE_WORDS
    this.tuples[at + PROTOCOL] = 0
    for (let i = 0; i < TUPLE_WORDS; i++) this.tuples[at + i] = tuple[i]
  }

  /** Of an empty table: takes in what an earlier process left in the columns, as far as `keep` wants it. @param laterMs see SlotTable.adopt */
  adopt(laterMs: number, keep: (slot: number) => boolean): void {
    this.table.adopt(laterMs, slot => this.tuples[slot * TUPLE_WORDS + PROTOCOL] !== 0 && keep(slot))
    for (const slot of this.table.select(() => true)) this.#count(slot, 1)
  }

  #count(slot: number, by: number): void {
    const at = slot * TUPLE_WORDS + 4
    const count = (this.vips.get(this.tuples, at) ?? 0) + by
    if (count > 0) this.vips.set(this.tuples, at, count)
    else this.vips.delete(this.tuples, at)
  }
}
