/** Who is at the other end of a Unix socket, as the kernel noted it when it connected (unix(7), SO_PEERCRED). */
import { check, closeFd, EINTR, errno, libc, pinned } from './ffi.ts'
import { getInt, SOL_SOCKET } from './sockopt.ts'

const SO_PEERCRED = 17
/** Linux 6.5; a descriptor of the process itself, which no later process of that number can be taken for. */
const SO_PEERPIDFD = 77
const POLLIN = 1

export interface PeerProcess {
  /** 0 for a process of a PID namespace that cannot be seen from here. */
  readonly pid: number
  /** Effective, at the time of connect(2). */
  readonly uid: number
  readonly gid: number
  /** False once the process has ended: `pid` may then be another's. Older kernels cannot tell and answer true. */
  isAlive(): boolean
  close(): void
}

const credentials = pinned(12)
const length = pinned(4)

/** pid, uid and gid of the peer of a connected Unix socket. @throws OsError */
export const peerCredentials = (fd: number): { pid: number; uid: number; gid: number } => {
  length.writeUInt32LE(12, 0)
  check('getsockopt(SO_PEERCRED)', libc.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length))
  return {
    pid: credentials.readInt32LE(0),
    uid: credentials.readUInt32LE(4),
    gid: credentials.readUInt32LE(8),
  }
}

const openPidFd = (fd: number): number => {
  try {
    return getInt(fd, SOL_SOCKET, SO_PEERPIDFD, 'getsockopt(SO_PEERPIDFD)')
  } catch {
    return -1
  }
}

const pollOne = pinned(8)
const hasEnded = (pidFd: number): boolean => {
  for (;;) {
    pollOne.writeInt32LE(pidFd, 0)
    pollOne.writeUInt32LE(POLLIN, 4)
    const ready = libc.poll(pollOne, 1n, 0)
    if (ready >= 0) return ready > 0
    if (errno() !== EINTR) return true
  }
}

/** The process behind a connected Unix socket; to be closed. @throws OsError */
export const peerProcess = (fd: number): PeerProcess => {
  const peer = peerCredentials(fd)
  let pidFd = openPidFd(fd)
  return {
    ...peer,
    isAlive: () => pidFd < 0 || !hasEnded(pidFd),
    close: () => {
      if (pidFd >= 0) closeFd(pidFd)
      pidFd = -1
    },
  }
}
