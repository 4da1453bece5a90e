/** Frames at an interface: sends any bytes, and takes what comes in, with the tag that the kernel takes off before a socket sees it. */
import { check, closeFd, EAGAIN, errno, fail, libc, pinned } from '../../src/os/ffi.ts'
import { attachFilter } from '../../src/os/mark-filter.ts'
import { link } from '../../src/os/netlink/route.ts'
import { SOCK_CLOEXEC, SOCK_NONBLOCK, setInt, setReceiveBuffer } from '../../src/os/sockopt.ts'

const AF_PACKET = 17
const SOCK_RAW = 3
const ETH_P_ALL = 3
const SOL_PACKET = 263
const PACKET_VNET_HDR = 15
const PACKET_IGNORE_OUTGOING = 23
const VNET_BYTES = 10
/** So much of a frame lies where the kernel looks for headers, as after a card's driver; more of a large one would not by itself. */
const HEADERS_BYTES = 1024
const LARGEST = 16_384

/** A classic BPF program for a socket. */
const filter = (
  ...instructions: (readonly [code: number, ifTrue: number, ifFalse: number, k: number])[]
): Buffer => {
  const program = pinned(instructions.length * 8)
  instructions.forEach(([code, ifTrue, ifFalse, k], i) => {
    program.writeUInt16LE(code, i * 8)
    program.set([ifTrue, ifFalse], i * 8 + 2)
    program.writeUInt32LE(k, i * 8 + 4)
  })
  return program
}
const nothing = (): Buffer => filter([0x06, 0, 0, 0])
/** Keeps frames only that have a tag aside (SKF_AD_VLAN_TAG_PRESENT of <linux/filter.h>). */
const taggedOnly = (): Buffer =>
  filter([0x20, 0, 0, 0xfffff030], [0x15, 1, 0, 0], [0x06, 0, 0, 0x40000], [0x06, 0, 0, 0])

const open = (index: number, program?: Buffer): number => {
  // Nothing comes in before bind() names a protocol.
  const fd = check('socket(AF_PACKET)', libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
  setInt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, 'setsockopt(PACKET_IGNORE_OUTGOING)')
  setReceiveBuffer(fd, 4 << 20)
  if (program !== undefined) attachFilter(fd, program)
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
  readonly #out: number
  readonly #buffer = pinned(LARGEST)

  /** Inside of the interface's namespace. */
  constructor(name: string) {
    const { index } = link(name)
    this.#all = open(index)
    this.#tagged = open(index, taggedOnly())
    this.#out = open(index, nothing())
    setInt(this.#out, SOL_PACKET, PACKET_VNET_HDR, 1, 'setsockopt(PACKET_VNET_HDR)')
  }

  send(frame: Uint8Array): void {
    // struct virtio_net_hdr { u8 flags, gso_type; u16 hdr_len, ... }
    this.#buffer.fill(0, 0, VNET_BYTES)
    this.#buffer.writeUInt16LE(Math.min(frame.length, HEADERS_BYTES), 2)
    this.#buffer.set(frame, VNET_BYTES)
    const bytes = BigInt(VNET_BYTES + frame.length)
    check('send(AF_PACKET)', libc.send(this.#out, this.#buffer, bytes, 0))
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
    closeFd(this.#out)
  }
}
