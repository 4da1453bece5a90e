/** Frames at an interface: sends any bytes, and takes what comes in, with the tag that the kernel takes off before a socket sees it. */
import { check, closeFd, EAGAIN, errno, fail, libc, pinned } from '../../src/os/ffi.ts'
import { attachFilter } from '../../src/os/mark-filter.ts'
import { link } from '../../src/os/netlink/route.ts'
import { SOCK_CLOEXEC, SOCK_NONBLOCK, setInt, setReceiveBuffer } from '../../src/os/sockopt.ts'

const AF_PACKET = 17
const SOCK_RAW = 3
const ETH_P_ALL = 3
const SOL_PACKET = 263
const PACKET_IGNORE_OUTGOING = 23
const LARGEST = 16_384

/** Keeps frames only that have a tag aside (SKF_AD_VLAN_TAG_PRESENT of <linux/filter.h>). */
const taggedOnly = (): Buffer => {
  const program = pinned(4 * 8)
  const set = (i: number, code: number, ifTrue: number, ifFalse: number, k: number): void => {
    program.writeUInt16LE(code, i * 8)
    program.set([ifTrue, ifFalse], i * 8 + 2)
    program.writeUInt32LE(k >>> 0, i * 8 + 4)
  }
  set(0, 0x20, 0, 0, 0xfffff030)
  set(1, 0x15, 1, 0, 0)
  set(2, 0x06, 0, 0, 0x40000)
  set(3, 0x06, 0, 0, 0)
  return program
}

const open = (index: number, filter?: Buffer): number => {
  // Nothing comes in before bind() names a protocol.
  const fd = check('socket(AF_PACKET)', libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
  setInt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, 'setsockopt(PACKET_IGNORE_OUTGOING)')
  setReceiveBuffer(fd, 4 << 20)
  if (filter !== undefined) attachFilter(fd, filter)
  const address = pinned(20) // struct sockaddr_ll
  address.writeUInt16LE(AF_PACKET, 0)
  address.writeUInt16BE(ETH_P_ALL, 2)
  address.writeInt32LE(index, 4)
  check('bind(AF_PACKET)', libc.bind(fd, address, 20))
  return fd
}

export interface SeenFrame {
  /** Without its outermost tag. */
  readonly frame: Uint8Array
  readonly tagged: boolean
}

export class FrameSocket {
  readonly #all: number
  readonly #tagged: number
  readonly #buffer = pinned(LARGEST)

  /** Inside of the interface's namespace. */
  constructor(name: string) {
    const { index } = link(name)
    this.#all = open(index)
    this.#tagged = open(index, taggedOnly())
  }

  send(frame: Uint8Array): void {
    this.#buffer.set(frame)
    check('send(AF_PACKET)', libc.send(this.#all, this.#buffer, BigInt(frame.length), 0))
  }

  #next(fd: number): Uint8Array | null {
    const length = libc.recv(fd, this.#buffer, BigInt(LARGEST), 0)
    if (length >= 0) return new Uint8Array(this.#buffer.subarray(0, length))
    const number = errno()
    return number === EAGAIN ? null : fail('recv(AF_PACKET)', number)
  }

  #drain(fd: number): Uint8Array[] {
    const frames: Uint8Array[] = []
    for (let frame = this.#next(fd); frame !== null; frame = this.#next(fd)) frames.push(frame)
    return frames
  }

  /** All that came since it was asked last. */
  take(): SeenFrame[] {
    const frames = this.#drain(this.#all)
    const tagged = this.#drain(this.#tagged)
    return frames.map(frame => {
      const at = tagged.findIndex(other => Buffer.compare(other, frame) === 0)
      if (at >= 0) tagged.splice(at, 1)
      return { frame, tagged: at >= 0 }
    })
  }

  close(): void {
    closeFd(this.#all)
    closeFd(this.#tagged)
  }
}
