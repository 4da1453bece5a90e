/**
 * The C library's calls that Node has no API for, through `node:ffi`. Everything here is per thread: each
 * worker that imports this module gets bindings, and an errno, of its own.
 *
 * Pointers are passed as BigInt addresses. The callee keeps no reference, so whoever passes an address keeps
 * the Buffer behind it alive: hold it in a field, and allocate it with `pinned`.
 */
import { dlopen, getInt32, getRawPointer } from 'node:ffi'
import { constants } from 'node:os'
import { OsError } from '../errors.ts'

// ssize_t results are declared int32: no call here moves 2 GiB, and a number costs less than a BigInt.
export const libc = dlopen(null, {
  __errno_location: { return: 'pointer', arguments: [] },
  bind: { return: 'int32', arguments: ['int32', 'pointer', 'uint32'] },
  close: { return: 'int32', arguments: ['int32'] },
  eventfd: { return: 'int32', arguments: ['uint32', 'int32'] },
  flock: { return: 'int32', arguments: ['int32', 'int32'] },
  getsockname: { return: 'int32', arguments: ['int32', 'pointer', 'pointer'] },
  getsockopt: { return: 'int32', arguments: ['int32', 'int32', 'int32', 'pointer', 'pointer'] },
  if_nametoindex: { return: 'uint32', arguments: ['string'] },
  ioctl: { return: 'int32', arguments: ['int32', 'uint64', 'pointer'] },
  madvise: { return: 'int32', arguments: ['pointer', 'uint64', 'int32'] },
  mmap: { return: 'pointer', arguments: ['pointer', 'uint64', 'int32', 'int32', 'int32', 'int64'] },
  munmap: { return: 'int32', arguments: ['pointer', 'uint64'] },
  open: { return: 'int32', arguments: ['string', 'int32', 'int32'] },
  poll: { return: 'int32', arguments: ['pointer', 'uint64', 'int32'] },
  read: { return: 'int32', arguments: ['int32', 'pointer', 'uint64'] },
  recv: { return: 'int32', arguments: ['int32', 'pointer', 'uint64', 'int32'] },
  recvmmsg: { return: 'int32', arguments: ['int32', 'pointer', 'uint32', 'int32', 'pointer'] },
  send: { return: 'int32', arguments: ['int32', 'pointer', 'uint64', 'int32'] },
  sendmmsg: { return: 'int32', arguments: ['int32', 'pointer', 'uint32', 'int32'] },
  sendmsg: { return: 'int32', arguments: ['int32', 'pointer', 'int32'] },
  setns: { return: 'int32', arguments: ['int32', 'int32'] },
  setsockopt: { return: 'int32', arguments: ['int32', 'int32', 'int32', 'pointer', 'uint32'] },
  socket: { return: 'int32', arguments: ['int32', 'int32', 'int32'] },
  usleep: { return: 'int32', arguments: ['uint32'] },
  write: { return: 'int32', arguments: ['int32', 'pointer', 'uint64'] },
  writev: { return: 'int32', arguments: ['int32', 'pointer', 'int32'] },
}).functions

const errnoAddress = libc.__errno_location()

/** This thread's errno; read it right after the call that failed. */
export const errno = (): number => getInt32(errnoAddress, 0)

/** The address of a view's first byte. The view must stay referenced for as long as the address is used. */
export const pointerOf = (view: ArrayBuffer | NodeJS.ArrayBufferView): bigint => getRawPointer(view)

/** A zeroed Buffer whose memory never moves (an ArrayBuffer of its own, not part of the Buffer pool). */
export const pinned = (bytes: number): Buffer<ArrayBuffer> => Buffer.from(new ArrayBuffer(bytes))

const SYMBOLS = new Map(Object.entries(constants.errno).map(([symbol, number]) => [number, symbol]))

/** `1` → `EPERM`; a number that Node does not know becomes `E123`. */
export const errnoSymbol = (number: number): string => SYMBOLS.get(number) ?? `E${number}`

export const { EAGAIN, EBADF, EEXIST, EINTR, EMSGSIZE, ENOENT, EPERM } = constants.errno

const HINTS: Record<string, string> = {
  EPERM: 'run as root, or grant CAP_NET_ADMIN and CAP_NET_RAW',
  EACCES: 'run as root, or grant CAP_NET_ADMIN and CAP_NET_RAW',
  ENODEV: 'there is no such interface in this network namespace: see `ip link`',
  EADDRNOTAVAIL: 'no interface of this network namespace has that address: see `ip address`',
  EADDRINUSE: 'another process holds that address and port: see `ss -lnp`',
}

/** Throws the OsError of a failed call: `number` is an errno. */
export const fail = (call: string, number: number, hint?: string): never => {
  const symbol = errnoSymbol(number)
  throw new OsError(call, number, symbol, hint ?? HINTS[symbol])
}

/** Passes a result that is not negative on; otherwise throws OsError with this thread's errno. */
export const check = (call: string, rc: number, hint?: string): number =>
  rc < 0 ? fail(call, errno(), hint) : rc

/** Closes a descriptor that this code owns; closing twice is a caller's error and is reported as one. */
export const closeFd = (fd: number): void => {
  check('close', libc.close(fd))
}
