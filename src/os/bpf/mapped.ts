/** Memory of maps in this process. */
import { toArrayBuffer } from 'node:ffi'
import { ShuntError } from '../../errors.ts'
import { check, libc } from '../ffi.ts'
import type { BpfMap } from './map.ts'
import { PAGE_BYTES } from './syscall.ts'

const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 1
const TYPE_ARRAY = 2
const F_MMAPABLE = 1 << 10
const F_RDONLY_PROG = 1 << 7

const pages = (bytes: number): number => Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES

/** Some pages of a descriptor, as an ArrayBuffer that `release` makes empty: views of it then read nothing. */
export class MappedMemory {
  readonly memory: ArrayBuffer
  readonly #address: bigint
  readonly #bytes: number
  #mapped = true

  /** `bytes` from `offset` (whole pages). Throws OsError. */
  constructor(fd: number, bytes: number, offset: number, writable: boolean) {
    const address = libc.mmap(
      0n,
      BigInt(bytes),
      writable ? PROT_READ | PROT_WRITE : PROT_READ,
      MAP_SHARED,
      fd,
      BigInt(offset),
    )
    if (BigInt.asIntN(64, address) === -1n) check('mmap(bpf map)', -1)
    this.#address = address
    this.#bytes = bytes
    this.memory = toArrayBuffer(address, bytes, false)
  }

  release(): void {
    if (!this.#mapped) return
    this.#mapped = false
    // Detached first: a view that somebody kept would otherwise read and write whatever is mapped there next.
    this.memory.transfer()
    check('munmap', libc.munmap(this.#address, BigInt(this.#bytes)))
  }
}

/**
 * The values of an array map, shared with the programs that use it: reading and writing costs no system call. Value `n`
 * begins at `n * stride`. A word that both sides write needs Atomics on `words`; aligned 8 byte stores are whole.
 */
export class MappedArray {
  readonly entries: number
  /** Bytes from one value to the next: the size of a value, padded to 8. */
  readonly stride: number
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly words: BigUint64Array<ArrayBuffer>
  readonly view: DataView<ArrayBuffer>
  readonly #mapped: MappedMemory

  /**
   * The map may be closed afterwards. A section of constants (.rodata) is mapped read-only: writing to it ends the process.
   * Throws ShuntError when the map is not an array with BPF_F_MMAPABLE, OsError.
   */
  constructor({ fd, info }: BpfMap) {
    if (info.type !== TYPE_ARRAY || (info.flags & F_MMAPABLE) === 0)
      throw new ShuntError(
        'SHUNT_ERR_DATAPLANE',
        `the map ${info.name} is no memory-mapped array: give it BPF_F_MMAPABLE`,
      )
    this.entries = info.maxEntries
    this.stride = (info.valueBytes + 7) & ~7
    const size = this.entries * this.stride
    this.#mapped = new MappedMemory(fd, pages(size), 0, (info.flags & F_RDONLY_PROG) === 0)
    const { memory } = this.#mapped
    this.bytes = new Uint8Array(memory, 0, size)
    this.words = new BigUint64Array(memory, 0, size / 8)
    this.view = new DataView(memory, 0, size)
  }

  /** Gives the memory back; all views are empty from then on. Twice is harmless. */
  release(): void {
    this.#mapped.release()
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
