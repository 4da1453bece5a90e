/** The heads of packets of one interface, through a ring shared with the kernel (packet(7)): to look at, not to answer. */
import { toArrayBuffer } from 'node:ffi'
import { check, closeFd, libc, pinned } from './ffi.ts'
import { attachFilter } from './mark-filter.ts'
import { bindTo, mapRing, SOL_PACKET } from './packet-socket.ts'
import { SOCK_CLOEXEC, SOCK_NONBLOCK, setBytes, setInt, takeSocketError } from './sockopt.ts'

const AF_PACKET = 17
const SOCK_RAW = 3
const PACKET_RX_RING = 5
const PACKET_STATISTICS = 6
const PACKET_VERSION = 10
const TPACKET_V2 = 1
const BLOCK_BYTES = 65_536
/** Room for the heads, behind the kernel's own header of less than 100 bytes. */
const FRAME_BYTES = 512
const BLOCKS = 4
const FRAMES = (BLOCKS * BLOCK_BYTES) / FRAME_BYTES

// struct tpacket2_hdr { u32 status, len, snaplen; u16 mac, net; u32 sec, nsec; u16 vlan_tci, vlan_tpid; ... }
const [STATUS, LENGTH, SNAP_LENGTH, MAC_NET, SECONDS, NANOSECONDS, VLAN] = [0, 1, 2, 3, 4, 5, 6]
const FRAME_WORDS = FRAME_BYTES / 4
const STATUS_USER = 1
const VLAN_VALID = 1 << 4
const ETHERNET_BYTES = 14
const MAC_BYTES = 12

export const CAPTURE_SNAPLEN = 256
/** Every packet, before the rules of nftables. */
export const ETH_P_ALL = 0x0003
export const ETH_P_IP = 0x0800
export const ETH_P_IPV6 = 0x86dd

export interface CaptureSocketOptions {
  readonly interfaceIndex: number
  /** Classic BPF; says how many bytes are kept, at most CAPTURE_SNAPLEN. */
  readonly filter: Buffer
  /** ETH_P_ALL, or a protocol: then it is what the rules let by, as they changed it. */
  readonly etherType: number
}

/** `frame`: from the Ethernet header on, good until the call returns; `network`: where its IP header is. */
export type HeadHandler = (frame: Uint8Array, network: number, length: number, timeUs: number) => void

export class CaptureSocket {
  readonly fd: number
  readonly #address: bigint
  #bytes: Uint8Array
  #words: Int32Array
  #next = 0
  #dropped = 0

  /** Throws OsError (EPERM without CAP_NET_RAW, ENODEV). */
  constructor({ interfaceIndex, filter, etherType }: CaptureSocketOptions) {
    const fd = check('socket(AF_PACKET)', libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
    let address = 0n
    try {
      setInt(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2, 'setsockopt(PACKET_VERSION)')
      // Nothing comes in before it is bound to a protocol.
      attachFilter(fd, filter)
      const request = pinned(16) // struct tpacket_req
      for (const [i, value] of [BLOCK_BYTES, BLOCKS, FRAME_BYTES, FRAMES].entries())
        request.writeUInt32LE(value, i * 4)
      setBytes(fd, SOL_PACKET, PACKET_RX_RING, request, 'setsockopt(PACKET_RX_RING)')
      address = mapRing(fd, BLOCKS * BLOCK_BYTES)
      bindTo(fd, interfaceIndex, etherType)
    } catch (error) {
      if (address !== 0n) libc.munmap(address, BigInt(BLOCKS * BLOCK_BYTES))
      libc.close(fd)
      throw error
    }
    this.fd = fd
    this.#address = address
    const memory = toArrayBuffer(address, BLOCKS * BLOCK_BYTES, false)
    this.#bytes = new Uint8Array(memory)
    this.#words = new Int32Array(memory)
  }

  /** Hands on up to `max` packets, each frame given back to the kernel afterwards; answers how many. Never blocks. */
  read(max: number, handler: HeadHandler): number {
    let taken = 0
    for (; taken < max && this.#words.length > 0; taken++) {
      const word = this.#next * FRAME_WORDS
      if ((Atomics.load(this.#words, word + STATUS) & STATUS_USER) === 0) break
      try {
        this.#deliver(word, handler)
      } finally {
        Atomics.store(this.#words, word + STATUS, 0)
        this.#next = (this.#next + 1) % FRAMES
      }
    }
    // An interface that went down: poll(2) would spin.
    if (taken === 0) takeSocketError(this.fd)
    return taken
  }

  #deliver(word: number, handler: HeadHandler): void {
    const words = this.#words
    const [mac, net] = [words[word + MAC_NET]! & 0xffff, words[word + MAC_NET]! >>> 16]
    const snapped = words[word + SNAP_LENGTH]!
    const timeUs =
      (words[word + SECONDS]! >>> 0) * 1e6 + Math.floor((words[word + NANOSECONDS]! >>> 0) / 1000)
    const frame = this.#bytes.subarray(word * 4 + mac, word * 4 + mac + snapped)
    const whole = withLink(frame, net - mac, this.#tagOf(word))
    const added = whole.length - frame.length
    handler(whole, net - mac + added, words[word + LENGTH]! + added, timeUs)
  }

  /** The VLAN tag that the kernel took out of the frame, as it stood there; null: none. */
  #tagOf(word: number): Uint8Array | null {
    if ((this.#words[word + STATUS]! & VLAN_VALID) === 0) return null
    const tag = this.#words[word + VLAN]! >>> 0
    const [tci, type] = [tag & 0xffff, tag >>> 16 || 0x8100]
    return Uint8Array.of(type >> 8, type & 0xff, tci >> 8, tci & 0xff)
  }

  /** Packets that found the ring full, until now. */
  dropped(): number {
    const values = pinned(8) // struct tpacket_stats { u32 packets, drops; }, cleared by reading
    const length = pinned(4)
    length.writeUInt32LE(8, 0)
    check(
      'getsockopt(PACKET_STATISTICS)',
      libc.getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, values, length),
    )
    this.#dropped += values.readUInt32LE(4)
    return this.#dropped
  }

  /** Unmaps the ring: what a handler was given must not be touched afterwards. */
  close(): void {
    this.#bytes = new Uint8Array(0)
    this.#words = new Int32Array(0)
    check('munmap', libc.munmap(this.#address, BigInt(BLOCKS * BLOCK_BYTES)))
    closeFd(this.fd)
  }
}

/** A frame with its tag back in; of a device without Ethernet (a tun), with an empty header, so that all of a file are alike. */
export const withLink = (frame: Uint8Array, linkBytes: number, tag: Uint8Array | null): Uint8Array => {
  if (linkBytes < ETHERNET_BYTES) {
    const whole = new Uint8Array(ETHERNET_BYTES + frame.length - linkBytes)
    const isIpv6 = frame.length > linkBytes && frame[linkBytes]! >> 4 === 6
    whole.set(isIpv6 ? [0x86, 0xdd] : [0x08, 0x00], MAC_BYTES)
    whole.set(frame.subarray(linkBytes), ETHERNET_BYTES)
    return whole
  }
  if (tag === null) return frame
  const whole = new Uint8Array(frame.length + tag.length)
  whole.set(frame.subarray(0, MAC_BYTES))
  whole.set(tag, MAC_BYTES)
  whole.set(frame.subarray(MAC_BYTES), MAC_BYTES + tag.length)
  return whole
}
