/**
 * bpf(2) and the few calls around it. Numbers and attribute offsets are those of <linux/bpf.h>, which only ever grows at
 * its ends.
 */
import { dlopen } from 'node:ffi'
import { arch } from 'node:os'
import { OsError } from '../../errors.ts'
import { check, EAGAIN, EINTR, errno, errnoSymbol, pinned, pointerOf } from '../ffi.ts'

export const BPF = {
  MAP_CREATE: 0,
  MAP_LOOKUP: 1,
  MAP_UPDATE: 2,
  MAP_DELETE: 3,
  MAP_NEXT_KEY: 4,
  PROG_LOAD: 5,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_RUN: 10,
  GET_INFO: 15,
  MAP_LOOKUP_BATCH: 24,
  MAP_UPDATE_BATCH: 26,
  MAP_DELETE_BATCH: 27,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  ENABLE_STATS: 32,
  LINK_DETACH: 34,
} as const
export type BpfCommand = (typeof BPF)[keyof typeof BPF]

const NUMBERS: Record<string, number> = { x64: 321, arm64: 280 }
const NUMBER = NUMBERS[arch()] ?? -1
const F_DUPFD_CLOEXEC = 1030

const { syscall, fcntl, getpagesize } = dlopen(null, {
  syscall: { return: 'int32', arguments: ['int32', 'int32', 'pointer', 'uint32'] },
  fcntl: { return: 'int32', arguments: ['int32', 'int32', 'int32'] },
  getpagesize: { return: 'int32', arguments: [] },
}).functions

/** Bytes of a page of memory: what mmap(2) counts in. */
export const PAGE_BYTES = getpagesize()

/** What a call reads and writes stays referenced here until it is made: the kernel only knows addresses. */
const held: { buffers: readonly unknown[] } = { buffers: [] }

const HINTS: Record<string, string> = {
  EPERM: 'run as root, or grant CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN',
  ENOSYS: 'this kernel is built without CONFIG_BPF_SYSCALL',
  E2BIG: 'this kernel is too old for it',
}

/** `bpf(2)` at its barest, for what is called often: whoever calls keeps all buffers. Answers the result, or -errno. */
export const bpfAt = (command: BpfCommand, attributes: bigint, bytes: number): number => {
  const rc = syscall(NUMBER, command, attributes, bytes)
  return rc < 0 ? -errno() : rc
}

/** `bpf(command, attributes)`; `keep` are the buffers that the attributes point to. Answers the result, or -errno. */
export const tryBpf = (command: BpfCommand, attributes: Buffer, ...keep: unknown[]): number => {
  held.buffers = keep
  const result = bpfAt(command, pointerOf(attributes), attributes.length)
  held.buffers = []
  return result
}

const RETRIES = 20

/**
 * The same, begun again when a signal came in between: the verifier and test runs give up then (EAGAIN, EINTR), and a
 * runtime's threads signal each other all the time.
 */
export const retryBpf = (command: BpfCommand, attributes: Buffer, ...keep: unknown[]): number => {
  for (let tries = 1; ; tries++) {
    const result = tryBpf(command, attributes, ...keep)
    if ((result !== -EAGAIN && result !== -EINTR) || tries === RETRIES) return result
  }
}

/** As `retryBpf`, throwing OsError; `what` says what was tried, for its message. */
export const bpf = (command: BpfCommand, what: string, attributes: Buffer, ...keep: unknown[]): number => {
  const result = retryBpf(command, attributes, ...keep)
  return result < 0 ? failBpf(what, -result) : result
}

/** Throws the OsError of a bpf(2) call that failed with `number`. */
export const failBpf = (what: string, number: number, hint?: string): never => {
  const symbol = errnoSymbol(number)
  throw new OsError(`bpf: ${what}`, number, symbol, hint ?? HINTS[symbol])
}

/** Another descriptor of the same thing, with a life of its own. */
export const duplicate = (fd: number): number =>
  check('fcntl(F_DUPFD_CLOEXEC)', fcntl(fd, F_DUPFD_CLOEXEC, 0))

/** A text with its terminating NUL, in memory of its own. */
export const cString = (text: string): Buffer<ArrayBuffer> => {
  const bytes = Buffer.from(`${text}\0`)
  const copy = pinned(bytes.length)
  copy.set(bytes)
  return copy
}
