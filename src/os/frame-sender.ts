import { check, closeFd, libc, pinned } from './ffi.ts'
import { SOCK_CLOEXEC, SOCK_NONBLOCK } from './sockopt.ts'

const AF_PACKET = 17
const SOCK_RAW = 3

/** Sends whole Ethernet frames out of an interface, as they are. Throws OsError. */
export const sendFrames = (interfaceIndex: number, frames: readonly Uint8Array[]): void => {
  // Protocol 0 receives nothing: packet(7).
  const fd = check('socket(AF_PACKET)', libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
  try {
    const address = pinned(20) // struct sockaddr_ll
    address.writeUInt16LE(AF_PACKET, 0)
    address.writeInt32LE(interfaceIndex, 4)
    check('bind(AF_PACKET)', libc.bind(fd, address, 20))
    for (const frame of frames) {
      const bytes = pinned(frame.length)
      bytes.set(frame)
      check('send(AF_PACKET)', libc.send(fd, bytes, BigInt(frame.length), 0))
    }
  } finally {
    closeFd(fd)
  }
}
