/** Maps by system call: one entry at a time, and many at once. */
import { readFileSync } from 'node:fs'
import { errnoSymbol, pinned, pointerOf } from '../ffi.ts'
import { BpfObject, infoName, objectInfo, openPinned } from './object.ts'
import { BPF, bpf, bpfAt, duplicate, failBpf, tryBpf } from './syscall.ts'

const INFO_BYTES = 88
const ELEMENT_BYTES = 32
/** To delete: the kernel refuses attributes with anything behind what a command takes. */
const KEY_ONLY = 16
/** BPF_MAP_TYPE_PERCPU_HASH, _PERCPU_ARRAY, _LRU_PERCPU_HASH, _PERCPU_CGROUP_STORAGE. */
const PER_CPU: ReadonlySet<number> = new Set([5, 6, 10, 21])
const MODES = { any: 0, insert: 1, replace: 2 } as const

export interface MapInfo {
  id: number
  /** BPF_MAP_TYPE_... */
  type: number
  /** At most 15 bytes of the C name. */
  name: string
  keyBytes: number
  valueBytes: number
  maxEntries: number
  /** BPF_F_... */
  flags: number
}

/** Of what a batch look-up found: `count` keys, and as many values, one behind the other. */
export interface MapBatch {
  count: number
  keys: Uint8Array
  values: Uint8Array
}

/** Processors that there may ever be: a per-CPU map has a value for each. */
const possibleCpus = (): number => {
  const last = /(\d+)\s*$/.exec(readFileSync('/sys/devices/system/cpu/possible', 'latin1'))?.[1]
  return Number(last ?? 0) + 1
}

const align8 = (bytes: number): number => (bytes + 7) & ~7

export class BpfMap extends BpfObject {
  readonly info: MapInfo
  /** Bytes of a value in look-ups and updates: of all processors together in a per-CPU map, each padded to 8. */
  readonly valueBytes: number
  readonly #key: Buffer
  readonly #value: Buffer
  readonly #element = pinned(ELEMENT_BYTES) // u32 map_fd, pad; u64 key, value, flags
  readonly #pointer = pointerOf(this.#element)

  /** Takes `fd` over. */
  constructor(fd: number) {
    super(fd)
    this.info = readInfo(fd)
    const { keyBytes, valueBytes, type } = this.info
    this.valueBytes = PER_CPU.has(type) ? align8(valueBytes) * possibleCpus() : valueBytes
    this.#key = pinned(keyBytes)
    this.#value = pinned(this.valueBytes)
    this.#element.writeUInt32LE(fd, 0)
    this.#element.writeBigUInt64LE(pointerOf(this.#key), 8)
    this.#element.writeBigUInt64LE(pointerOf(this.#value), 16)
  }

  /** The map pinned at a path; `null` when nothing is there. Throws OsError. */
  static open(path: string): BpfMap | null {
    const fd = openPinned(path)
    return fd === null ? null : new BpfMap(fd)
  }

  /** The map of another thread of this process, by its descriptor: with one of its own, to be closed. Throws OsError. */
  static attach(fd: number): BpfMap {
    return new BpfMap(duplicate(fd))
  }

  /** A copy of the value; `null` when the key is not there. */
  lookup(key: Uint8Array): Uint8Array | null {
    this.#putKey(key)
    const result = bpfAt(BPF.MAP_LOOKUP, this.#pointer, ELEMENT_BYTES)
    if (result >= 0) return new Uint8Array(this.#value)
    return isAbsent(result) ? null : failBpf(`look up in ${this.info.name}`, -result)
  }

  /**
   * Sets a value. Answers false when an `insert` found the key there, a `replace` did not, or (any mode) the map is full.
   * Throws OsError for the rest.
   */
  update(key: Uint8Array, value: Uint8Array, mode: keyof typeof MODES = 'any'): boolean {
    this.#putKey(key)
    if (value.length !== this.valueBytes)
      throw new RangeError(
        `a value of ${this.info.name} has ${this.valueBytes} bytes, this one ${value.length}`,
      )
    this.#value.set(value)
    this.#element[24] = MODES[mode]
    const result = bpfAt(BPF.MAP_UPDATE, this.#pointer, ELEMENT_BYTES)
    this.#element[24] = 0
    if (result >= 0) return true
    const symbol = errnoSymbol(-result)
    return symbol === 'E2BIG' || symbol === 'EEXIST' || symbol === 'ENOENT'
      ? false
      : failBpf(`update ${this.info.name}`, -result)
  }

  /** Answers false when the key is not there. Throws OsError (EINVAL: an array has no entries to delete). */
  delete(key: Uint8Array): boolean {
    this.#putKey(key)
    const result = bpfAt(BPF.MAP_DELETE, this.#pointer, KEY_ONLY)
    if (result >= 0) return true
    return isAbsent(result) ? false : failBpf(`delete from ${this.info.name}`, -result)
  }

  /** The key after this one (`null`: the first); `null` at the end. A key that is gone leads to the first again. */
  nextKey(key: Uint8Array | null): Uint8Array | null {
    if (key !== null) this.#putKey(key)
    const next = pinned(this.info.keyBytes)
    const attributes = pinned(32)
    attributes.writeUInt32LE(this.fd, 0)
    attributes.writeBigUInt64LE(key === null ? 0n : pointerOf(this.#key), 8)
    attributes.writeBigUInt64LE(pointerOf(next), 16)
    const result = tryBpf(BPF.MAP_NEXT_KEY, attributes, this.#key, next)
    if (result >= 0) return new Uint8Array(next)
    return isAbsent(result) ? null : failBpf(`list ${this.info.name}`, -result)
  }

  /**
   * All entries, up to `chunk` at a time, in views that the next step overwrites. Entries that come or go meanwhile may
   * or may not be seen; none that stays is missed. Throws OsError.
   */
  *batches(chunk = 4096): Generator<MapBatch> {
    const { keyBytes } = this.info
    const size = Math.max(Math.min(chunk, this.info.maxEntries), 1)
    let [keys, values] = [pinned(size * keyBytes), pinned(size * this.valueBytes)]
    const token = pinned(Math.max(keyBytes, 4))
    const attributes = this.#batchAttributes(keys, values)
    attributes.writeBigUInt64LE(pointerOf(token), 8)
    for (let room = size; ; ) {
      attributes.writeUInt32LE(room, 32)
      const result = tryBpf(BPF.MAP_LOOKUP_BATCH, attributes, keys, values, token)
      const symbol = result < 0 ? errnoSymbol(-result) : ''
      if (symbol === 'ENOSPC' && room < this.info.maxEntries) {
        // One bucket of a hash holds more than a chunk: it is not handed out in parts.
        room *= 2
        ;[keys, values] = [pinned(room * keyBytes), pinned(room * this.valueBytes)]
        attributes.writeBigUInt64LE(pointerOf(keys), 16)
        attributes.writeBigUInt64LE(pointerOf(values), 24)
        continue
      }
      if (result < 0 && symbol !== 'ENOENT') failBpf(`read all of ${this.info.name}`, -result)
      const count = attributes.readUInt32LE(32)
      if (count > 0)
        yield {
          count,
          keys: keys.subarray(0, count * keyBytes),
          values: values.subarray(0, count * this.valueBytes),
        }
      if (result < 0) return
      attributes.writeBigUInt64LE(pointerOf(token), 0)
    }
  }

  /** Sets many at once; buffers made by `pinned` are not copied. Answers how many were set before the first that failed. */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number): number {
    if (keys.length < count * this.info.keyBytes || values.length < count * this.valueBytes)
      throw new RangeError(`${count} entries of ${this.info.name} do not lie in these buffers`)
    return this.#changeBatch(BPF.MAP_UPDATE_BATCH, keys, values, count)
  }

  /** Deletes many at once. Answers how many were deleted before the first that was not there. */
  deleteBatch(keys: Uint8Array, count: number): number {
    if (keys.length < count * this.info.keyBytes)
      throw new RangeError(`${count} keys of ${this.info.name} do not lie in this buffer`)
    return this.#changeBatch(BPF.MAP_DELETE_BATCH, keys, null, count)
  }

  #changeBatch(
    command: typeof BPF.MAP_UPDATE_BATCH | typeof BPF.MAP_DELETE_BATCH,
    keys: Uint8Array,
    values: Uint8Array | null,
    count: number,
  ): number {
    const attributes = this.#batchAttributes(keys, values)
    attributes.writeUInt32LE(count, 32)
    const result = tryBpf(command, attributes, keys, values)
    if (result >= 0) return attributes.readUInt32LE(32)
    const symbol = errnoSymbol(-result)
    // The kernel writes the number back also when one fails; a call that it refused as a whole leaves what it was.
    if (symbol === 'E2BIG' || symbol === 'ENOENT' || symbol === 'EBUSY') return attributes.readUInt32LE(32)
    return failBpf(`change many entries of ${this.info.name}`, -result)
  }

  #batchAttributes(keys: Uint8Array, values: Uint8Array | null): Buffer {
    // u64 in_batch, out_batch, keys, values; u32 count, map_fd; u64 elem_flags, flags
    const attributes = pinned(56)
    attributes.writeBigUInt64LE(pointerOf(keys), 16)
    attributes.writeBigUInt64LE(values === null ? 0n : pointerOf(values), 24)
    attributes.writeUInt32LE(this.fd, 36)
    return attributes
  }

  #putKey(key: Uint8Array): void {
    if (key.length !== this.info.keyBytes)
      throw new RangeError(
        `a key of ${this.info.name} has ${this.info.keyBytes} bytes, this one ${key.length}`,
      )
    this.#key.set(key)
  }
}

const isAbsent = (result: number): boolean => errnoSymbol(-result) === 'ENOENT'

const readInfo = (fd: number): MapInfo => {
  const info = objectInfo(fd, INFO_BYTES)
  const [type, id, keyBytes, valueBytes, maxEntries, flags] = [0, 4, 8, 12, 16, 20].map(at =>
    info.readUInt32LE(at),
  )
  return { type, id, keyBytes, valueBytes, maxEntries, flags, name: infoName(info, 24) }
}

/** Makes a map of its own, without a program (BPF_MAP_TYPE_... and BPF_F_... as in <linux/bpf.h>). Throws OsError. */
export const createMap = (options: Omit<MapInfo, 'id'>): BpfMap => {
  const attributes = pinned(72)
  const { type, keyBytes, valueBytes, maxEntries, flags, name } = options
  for (const [index, value] of [type, keyBytes, valueBytes, maxEntries, flags].entries())
    attributes.writeUInt32LE(value, index * 4)
  attributes.write(name.slice(0, 15), 28, 'latin1')
  return new BpfMap(bpf(BPF.MAP_CREATE, `create the map ${name}`, attributes))
}
