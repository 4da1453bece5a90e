/** Opens something in another network namespace and comes straight back (setns(2)). */
import { check, closeFd, libc } from './ffi.ts'

const CLONE_NEWNET = 0x40000000
const O_RDONLY_CLOEXEC = 0x80000

/**
 * Runs `open` with the calling thread in the namespace at `path`, such as `/proc/<pid>/ns/net`. It must not await and
 * should do no more than open a socket, which then belongs to that namespace from any thread. Takes CAP_SYS_ADMIN: without it
 * OsError EPERM, with the thread where it was.
 */
export const openInNetns = <T>(path: string, open: () => T): T => {
  const home = check('open(own namespace)', libc.open('/proc/thread-self/ns/net', O_RDONLY_CLOEXEC, 0))
  try {
    // Going home is tried before leaving: what forbids it, forbids it now.
    check('setns(own namespace)', libc.setns(home, CLONE_NEWNET), 'grant CAP_SYS_ADMIN')
    const there = check(`open(${path})`, libc.open(path, O_RDONLY_CLOEXEC, 0))
    try {
      check(`setns(${path})`, libc.setns(there, CLONE_NEWNET), 'grant CAP_SYS_ADMIN')
    } finally {
      libc.close(there)
    }
    try {
      return open()
    } finally {
      // A thread that stayed would take a container's network for the machine's, and all that it did would be wrong.
      if (libc.setns(home, CLONE_NEWNET) < 0) process.abort()
    }
  } finally {
    closeFd(home)
  }
}
