/** Sends any bytes as Ethernet frames from inside a namespace: what no socket of a higher layer would let out. */
import { openSync } from 'node:fs'
import { check, closeFd, libc, pinned } from '../../src/os/ffi.ts'
import { enterNetns, enterNetnsPath } from '../../src/os/netns.ts'

const AF_PACKET = 17
const SOCK_RAW_CLOEXEC = 3 | 0x80000
const ETH_P_IP = 0x0800
const HEADER_BYTES = 14
/** Nobody's hardware address, so that switches learn nothing wrong. */
const NOBODY = [2, 0, 0, 0, 0xbe, 0xef]

const home = openSync('/proc/thread-self/ns/net', 'r')

/** Runs a function with this thread in a namespace; it must not await. */
export const inside = <T>(netns: string, run: () => T): T => {
  enterNetns(netns)
  try {
    return run()
  } finally {
    enterNetnsPath(`/proc/self/fd/${home}`)
  }
}

/** `02:00:00:00:be:ef` as bytes. */
export const parseMac = (text: string): Uint8Array =>
  Uint8Array.from(text.split(':'), byte => Number.parseInt(byte, 16))

export class FrameSender {
  readonly #fd: number
  readonly #frame = pinned(HEADER_BYTES + 65_536)
  sent = 0

  private constructor(fd: number) {
    this.#fd = fd
  }

  /** Frames leave by `eth0` of the namespace. */
  static open(netns: string): FrameSender {
    return inside(netns, () => {
      const fd = check('socket(AF_PACKET)', libc.socket(AF_PACKET, SOCK_RAW_CLOEXEC, 0))
      const address = pinned(20) // struct sockaddr_ll
      address.writeUInt16LE(AF_PACKET, 0)
      address.writeUInt16BE(ETH_P_IP, 2)
      address.writeInt32LE(libc.if_nametoindex('eth0'), 4)
      check('bind(AF_PACKET)', libc.bind(fd, address, 20))
      return new FrameSender(fd)
    })
  }

  /** One frame with the IPv4 ethertype. */
  send(to: Uint8Array, packet: Uint8Array): void {
    this.#frame.set(to, 0)
    this.#frame.set(NOBODY, 6)
    this.#frame.writeUInt16BE(ETH_P_IP, 12)
    this.#frame.set(packet, HEADER_BYTES)
    check('send(AF_PACKET)', libc.send(this.#fd, this.#frame, BigInt(HEADER_BYTES + packet.length), 0))
    this.sent++
  }

  close(): void {
    closeFd(this.#fd)
  }
}
