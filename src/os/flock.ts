/** Locks of whole files between processes: flock(2). */
import { check, EAGAIN, errno, libc } from './ffi.ts'

const LOCK_EX_NB = 2 | 4

/** False: another open file of it has the lock. It is free again when `fd` and its copies are closed, or the process ends. */
export const tryLock = (fd: number): boolean => {
  const rc = libc.flock(fd, LOCK_EX_NB)
  if (rc < 0 && errno() === EAGAIN) return false
  check('flock', rc)
  return true
}
