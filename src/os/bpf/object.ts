/** What maps, programs and links have in common: a descriptor that somebody must close, information, a pin. */
import { closeFd, errnoSymbol, pinned, pointerOf } from '../ffi.ts'
import { BPF, bpf, cString, failBpf, tryBpf } from './syscall.ts'

/** `struct bpf_*_info` by descriptor. The kernel fills as much of `bytes` as it knows, and leaves the rest zero. */
export const objectInfo = (fd: number, bytes: number): Buffer => {
  const info = pinned(bytes)
  const attributes = pinned(16) // u32 fd, info_len; u64 info
  attributes.writeUInt32LE(fd, 0)
  attributes.writeUInt32LE(bytes, 4)
  attributes.writeBigUInt64LE(pointerOf(info), 8)
  bpf(BPF.GET_INFO, 'object information', attributes, info)
  return info
}

/** A name of at most 15 bytes within an info struct. */
export const infoName = (info: Buffer, at: number): string => {
  const end = info.indexOf(0, at)
  return info.toString('latin1', at, Math.min(end < 0 ? at + 16 : end, at + 16))
}

const pathAttributes = (path: string, fd: number): [Buffer, Buffer] => {
  const text = cString(path)
  const attributes = pinned(16) // u64 pathname; u32 bpf_fd, file_flags
  attributes.writeBigUInt64LE(pointerOf(text), 0)
  attributes.writeUInt32LE(fd, 8)
  return [attributes, text]
}

/** Opens what is pinned at a path, whatever it is; `null` when nothing is there. Throws OsError. */
export const openPinned = (path: string): number | null => {
  const result = tryBpf(BPF.OBJ_GET, ...pathAttributes(path, 0))
  if (result >= 0) return result
  return errnoSymbol(-result) === 'ENOENT' ? null : failBpf(`open ${path}`, -result)
}

/** Owns a descriptor of a BPF object. */
export abstract class BpfObject {
  readonly fd: number
  #open = true

  constructor(fd: number) {
    this.fd = fd
  }

  /**
   * Gives the object a name in a bpffs folder, so that it outlives this process.
   * Throws OsError: EEXIST when the path is taken, EPERM and EINVAL when it is not on a bpffs.
   */
  pin(path: string): void {
    bpf(BPF.OBJ_PIN, `pin ${path}`, ...pathAttributes(path, this.fd))
  }

  /** Closes the descriptor; the object itself goes with its last descriptor, pin and link. Twice is harmless. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    closeFd(this.fd)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}
