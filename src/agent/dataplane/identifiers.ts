import { type Columns, HEAP } from './columns.ts'
import { halfSipHash13 } from './half-siphash.ts'
import { SlotTable } from './slot-table.ts'

export interface IdentifierSettings {
  /** Most identifiers in use and in quarantine together. */
  readonly capacity: number
  /** How long a freed identifier rests; must exceed a packet's life in the cluster network. */
  readonly quarantineMs: number
  /** Secret 64-bit hash key, as two 32-bit numbers. */
  readonly k0: number
  readonly k1: number
  /** Most candidates looked at, in the neutral class and again outside of it; 1..256. */
  readonly maxProbes?: number
  /** For what `adopt` goes by; left out: they end with the process. */
  readonly columns?: Columns
}

const IN_USE = 0
const QUARANTINE = 1
const NOBODY = -1

/** Each allocation may lay one to rest later, and lets up to this many out: the quarantine cannot fall behind. */
const EXPIRE_PER_ALLOCATION = 2

/**
 * The flow identifiers of one forwarder in one epoch (R-E8, decision 2): 32-bit numbers that replace the ports.
 *
 * - The top byte is the host index, 1..255, so 0 is never valid and a kernel map may choose the host by it. The low
 *   16 bits, the destination port on the wire, are never 0, because devices drop port 0.
 * - Preferred is a checksum-neutral one: high half + low half ≡ source port + destination port (mod 65535). Each
 *   host index has 256 of them for one port sum; the search starts at a keyed-hash offset.
 * - With that class exhausted, any other of the host index is taken; its packets need their checksum fixed.
 * - One that was ever sent in tunnelled form is freed into quarantine, and not used again for `quarantineMs`: a late
 *   packet must not reach another client's connection. One never sent (embryonic) is freed at once.
 * - With `capacity` in use and in quarantine, allocation fails (counted) rather than reuse one early.
 */
export class IdentifierAllocator {
  readonly capacity: number
  /** May change: it goes for what rests already too. */
  quarantineMs: number
  /** Allocations that had to leave the neutral class. */
  nonNeutral = 0
  /** Allocations that failed. */
  exhausted = 0

  /** In use, and owned by nobody yet. */
  #reserved = 0
  readonly #table: SlotTable
  readonly #owners: Int32Array
  readonly #k0: number
  readonly #k1: number
  readonly #maxProbes: number
  readonly #seed = new Uint32Array(3)
  readonly #key = new Uint32Array(1)

  constructor({ capacity, quarantineMs, k0, k1, maxProbes = 256, columns = HEAP }: IdentifierSettings) {
    this.#table = new SlotTable({ capacity, keyWords: 1, lists: 2, k0, k1, columns })
    this.#owners = columns.i32('owners', capacity)
    this.capacity = capacity
    this.quarantineMs = quarantineMs
    this.#k0 = k0
    this.#k1 = k1
    this.#maxProbes = Math.min(256, Math.max(1, maxProbes))
  }

  get inUse(): number {
    return this.#table.length(IN_USE)
  }

  get quarantined(): number {
    return this.#table.length(QUARANTINE)
  }

  /** How many are in use and owned by nobody. */
  get reserved(): number {
    return this.#reserved
  }

  /** Those that are; a scan of the whole table. */
  allReserved(): number[] {
    const { keys } = this.#table
    return this.#table.select(slot => this.#isReservedAt(slot)).map(slot => keys[slot])
  }

  /**
   * @param hostIndex 1..255
   * @param ports source port << 16 | destination port of the client's packets
   * @param owner the flow's slot, kept for `owner()`
   * @param nowMs monotonic
   * @returns an identifier, or 0: none is free
   * @throws RangeError for an impossible host index
   */
  allocate(hostIndex: number, ports: number, owner: number, nowMs: number): number {
    if (!(hostIndex >= 1 && hostIndex <= 255))
      throw new RangeError(`host index ${hostIndex} is not within 1..255`)
    this.expire(nowMs, EXPIRE_PER_ALLOCATION)
    const table = this.#table
    if (table.size < table.capacity) {
      // The counter makes consecutive choices differ, so that identifiers cannot be foretold from outside.
      this.#seed[0] = ports
      this.#seed[1] = hostIndex
      this.#seed[2]++
      const hash = halfSipHash13(this.#k0, this.#k1, this.#seed, 0, 3)
      let identifier = this.#probeNeutral(hostIndex, ports, hash)
      if (identifier === 0) {
        identifier = this.#probeAny(hostIndex, hash)
        if (identifier !== 0 && !isNeutral(identifier, ports)) this.nonNeutral++
      }
      if (identifier !== 0) {
        this.#key[0] = identifier
        this.#owners[table.insert(this.#key, 0, IN_USE, nowMs)] = owner
        return identifier
      }
    }
    this.exhausted++
    return 0
  }

  /**
   * An identifier that nobody owns yet: put ready for whoever opens a flow to the host, and given an owner by `rehome`. Neutral for no ports.
   * @returns 0: none is free
   */
  reserve(hostIndex: number, nowMs: number): number {
    this.expire(nowMs, EXPIRE_PER_ALLOCATION)
    const table = this.#table
    if (table.size >= table.capacity) return 0
    this.#seed[0] = 0
    this.#seed[1] = hostIndex
    this.#seed[2]++
    const identifier = this.#probeAny(hostIndex, halfSipHash13(this.#k0, this.#k1, this.#seed, 0, 3))
    if (identifier === 0) return 0
    this.#key[0] = identifier
    this.#owners[table.insert(this.#key, 0, IN_USE, nowMs)] = NOBODY
    this.#reserved++
    return identifier
  }

  /** In use, and owned by nobody. */
  isReserved(identifier: number): boolean {
    const slot = this.#find(identifier)
    return slot >= 0 && this.#isReservedAt(slot)
  }

  #isReservedAt(slot: number): boolean {
    return this.#table.listOf(slot) === IN_USE && this.#owners[slot] === NOBODY
  }

  /** Whether the identifier leaves the L4 checksum as it is for packets with these ports. */
  isNeutral(identifier: number, ports: number): boolean {
    return isNeutral(identifier, ports)
  }

  /**
   * Takes in what an earlier process left in the columns. One that is in use and whose owner does not hold it (any more) rests from now on;
   * those that nobody owns are the kernel's to give away until `restReserved`.
   * @param laterMs see SlotTable.adopt
   */
  adopt(laterMs: number, holds: (owner: number, identifier: number) => boolean, nowMs: number): void {
    const table = this.#table
    table.adopt(laterMs, slot => table.keys[slot] !== 0)
    for (const slot of table.select(slot => table.listOf(slot) === IN_USE))
      if (this.#owners[slot] !== NOBODY && !holds(this.#owners[slot], table.keys[slot]))
        table.move(slot, QUARANTINE, nowMs)
    this.#reserved = table.select(slot => this.#isReservedAt(slot)).length
  }

  /** No flow of the kernel's is to be found any more: what it may have taken all the same rests. */
  restReserved(nowMs: number): void {
    const table = this.#table
    for (const slot of table.select(slot => this.#isReservedAt(slot))) table.move(slot, QUARANTINE, nowMs)
    this.#reserved = 0
  }

  /** Takes an identifier in use that an earlier process allocated, or the kernel gave away; false: it is taken, or there is no room. */
  claim(identifier: number, owner: number, nowMs: number): boolean {
    if (this.isReserved(identifier)) return this.rehome(identifier, owner)
    if (this.#find(identifier) >= 0 || this.#table.size >= this.capacity) return false
    this.#owners[this.#table.insert(this.#key, 0, IN_USE, nowMs)] = owner
    return true
  }

  /** The owner given at allocation, or -1 if the identifier is not in use (or in quarantine). */
  owner(identifier: number): number {
    const slot = this.#find(identifier)
    return slot >= 0 && this.#table.listOf(slot) === IN_USE ? this.#owners[slot] : -1
  }

  /** Gives an identifier to another owner; false if it is not in use. */
  rehome(identifier: number, owner: number): boolean {
    const slot = this.#find(identifier)
    if (slot < 0 || this.#table.listOf(slot) !== IN_USE) return false
    if (this.#owners[slot] === NOBODY) this.#reserved--
    this.#owners[slot] = owner
    return true
  }

  /**
   * Ends the use of an identifier; false if it is not in use.
   * @param quarantine whether it was ever sent in tunnelled form
   */
  free(identifier: number, nowMs: number, quarantine: boolean): boolean {
    const slot = this.#find(identifier)
    if (slot < 0 || this.#table.listOf(slot) !== IN_USE) return false
    if (this.#owners[slot] === NOBODY) this.#reserved--
    if (quarantine) this.#table.move(slot, QUARANTINE, nowMs)
    else this.#table.remove(slot)
    return true
  }

  /** Ends up to `max` quarantines that are over; returns how many. */
  expire(nowMs: number, max: number): number {
    let count = 0
    while (count < max) {
      const slot = this.#table.oldest(QUARANTINE)
      if (slot < 0 || nowMs - this.#table.lastUse[slot] < this.quarantineMs) break
      this.#table.remove(slot)
      count++
    }
    return count
  }

  #find(identifier: number): number {
    this.#key[0] = identifier
    return this.#table.find(this.#key)
  }

  /** The 256 of the class differ in the second byte, which then decides the low half. */
  #probeNeutral(hostIndex: number, ports: number, hash: number): number {
    const sum = (ports >>> 16) + (ports & 0xffff)
    for (let i = 0; i < this.#maxProbes; i++) {
      const high = (hostIndex << 8) | ((hash + i) & 0xff)
      const low = (sum + 65535 - high) % 65535
      const identifier = ((high << 16) | (low === 0 ? 0xffff : low)) >>> 0
      if (this.#find(identifier) < 0) return identifier
    }
    return 0
  }

  /** An odd stride visits every number of 24 bits, and runs of used ones do not hinder it. */
  #probeAny(hostIndex: number, hash: number): number {
    const stride = (hash >>> 8) | 1
    let low = hash & 0xffffff
    for (let i = 0; i < this.#maxProbes; i++, low = (low + stride) & 0xffffff) {
      if ((low & 0xffff) === 0) continue
      const identifier = ((hostIndex << 24) | low) >>> 0
      if (this.#find(identifier) < 0) return identifier
    }
    return 0
  }
}

/** Both sums equal modulo 65535, the arithmetic of the Internet checksum (RFC 1071). */
export function isNeutral(identifier: number, ports: number): boolean {
  const a = (identifier >>> 16) + (identifier & 0xffff)
  const b = (ports >>> 16) + (ports & 0xffff)
  return (a - b) % 65535 === 0
}
