import { check, EPERM, errno, fail, libc, pinned } from './ffi.ts'

/** Socket option levels and the numbers of <asm-generic/socket.h>. */
export const SOL_SOCKET = 1
export const SO_ERROR = 4
export const SO_ATTACH_FILTER = 26
export const SO_MARK = 36
const SO_SNDBUF = 7
const SO_RCVBUF = 8
const SO_SNDBUFFORCE = 32
const SO_RCVBUFFORCE = 33

export const SOCK_NONBLOCK = 0x800
export const SOCK_CLOEXEC = 0x80000

const integer = pinned(4)
const length = pinned(4)

export const setInt = (fd: number, level: number, option: number, value: number, what: string): void => {
  integer.writeUInt32LE(value >>> 0, 0)
  check(what, libc.setsockopt(fd, level, option, integer, 4))
}

export const setBytes = (fd: number, level: number, option: number, value: Buffer, what: string): void => {
  check(what, libc.setsockopt(fd, level, option, value, value.length))
}

export const getInt = (fd: number, level: number, option: number, what: string): number => {
  length.writeUInt32LE(4, 0)
  check(what, libc.getsockopt(fd, level, option, integer, length))
  return integer.readInt32LE(0)
}

/** Reads a socket's pending error and clears it (0: none). poll(2) reports it as ready until that is done. */
export const takeSocketError = (fd: number): number =>
  getInt(fd, SOL_SOCKET, SO_ERROR, 'getsockopt(SO_ERROR)')

/** Sets a buffer's size past net.core.[rw]mem_max if privileged, else as far as that allows. */
const setBuffer = (fd: number, force: number, plain: number, bytes: number, what: string): void => {
  integer.writeUInt32LE(bytes, 0)
  if (libc.setsockopt(fd, SOL_SOCKET, force, integer, 4) === 0) return
  const number = errno()
  if (number !== EPERM) fail(what, number)
  setInt(fd, SOL_SOCKET, plain, bytes, what)
}

export const setReceiveBuffer = (fd: number, bytes: number): void =>
  setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, bytes, 'setsockopt(SO_RCVBUF)')

export const setSendBuffer = (fd: number, bytes: number): void =>
  setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, bytes, 'setsockopt(SO_SNDBUF)')
