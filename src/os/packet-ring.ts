import { toArrayBuffer } from 'node:ffi'
import { check, closeFd, libc, pinned, pointerOf } from './ffi.ts'
import { openPacketSocket, type PacketRingOptions, type PacketSocket, SOL_PACKET } from './packet-socket.ts'
import { takeSocketError } from './sockopt.ts'
import { VNET_HEADER_BYTES, vnetRebase } from './vnet.ts'

const PACKET_STATISTICS = 6

// struct tpacket2_hdr { u32 status, len, snaplen; u16 mac, net; ... }, here as 32-bit words
const WORD_LENGTH = 1
const WORD_SNAP_LENGTH = 2
const WORD_MAC_NET = 3
const STATUS_KERNEL = 0
const STATUS_USER = 1
const STATUS_COPY = 2

/** A virtio_net_hdr, an Ethernet header with room to spare, and the largest IPv4 packet. */
const SIDE_BYTES = 67584

/**
 * Gets one packet. `buffer` (the whole ring, or a side buffer) may be read and changed, but only during the
 * call. The IP header is at `offset`; `length` counts from there and includes link-layer padding, so go by
 * the packet's own length. `vnet` is the offset of its 10 byte virtio_net_hdr, relative to the IP header,
 * which tells of unfinished checksums and merged (GRO) segments.
 */
export type PacketHandler = (
  buffer: Uint8Array,
  offset: number,
  length: number,
  vnet: number,
  interfaceIndex: number,
) => void

export interface PacketRingStats {
  /** Passed the filter and found room. */
  packets: number
  /** Passed the filter and found the ring full. */
  drops: number
  /** Did not fit a frame, and the queue for such packets was full: dropped here. */
  truncated: number
}

/**
 * Receives marked packets from one interface through an AF_PACKET ring shared with the kernel.
 *
 * A socket bound to one protocol is served after the nftables ingress hook, so it sees only what that let by,
 * with the mark that was set there; one bound to ETH_P_ALL would see every packet before it. TPACKET_V2 and
 * not V3: V3 hands over blocks, on a timer, which adds up to a millisecond to each first packet.
 */
export class PacketRing {
  readonly fd: number
  /** Errors that the kernel reported on the socket (an interface that went down), by errno. */
  readonly errors = new Map<number, number>()
  readonly #interfaceIndex: number
  readonly #address: bigint
  readonly #frames: number
  readonly #frameWords: number
  readonly #side = new Uint8Array(new ArrayBuffer(SIDE_BYTES)) // no Buffer: slice() must copy, as on the ring
  readonly #sideAddress = pointerOf(this.#side)
  readonly #stats: PacketRingStats = { packets: 0, drops: 0, truncated: 0 }
  #bytes: Uint8Array
  #words: Int32Array
  #head = 0
  #wasEmpty = false

  private constructor({ fd, address, frames, frameSize }: PacketSocket, interfaceIndex: number) {
    this.fd = fd
    this.#address = address
    this.#interfaceIndex = interfaceIndex
    this.#frames = frames
    this.#frameWords = frameSize / 4
    const memory = toArrayBuffer(address, frames * frameSize, false)
    this.#bytes = new Uint8Array(memory)
    this.#words = new Int32Array(memory)
  }

  /** Throws OsError (EPERM without CAP_NET_RAW, ENODEV for an unknown interface) and RangeError. */
  static open(options: PacketRingOptions): PacketRing {
    return new PacketRing(openPacketSocket(options), options.interfaceIndex)
  }

  /**
   * Hands up to `maxFrames` waiting packets to `handler`, in order, and gives each frame back to the kernel
   * when it returns (or throws). Never blocks. Answers how many frames were taken.
   */
  receive(maxFrames: number, handler: PacketHandler): number {
    let taken = 0
    for (; taken < maxFrames; taken++) {
      const word = this.#head * this.#frameWords
      const status = Atomics.load(this.#words, word)
      if ((status & STATUS_USER) === 0) break
      try {
        if ((status & STATUS_COPY) !== 0) this.#deliverOversize(word, handler)
        else this.#deliver(word, handler)
      } finally {
        Atomics.store(this.#words, word, STATUS_KERNEL)
        this.#head = this.#head + 1 === this.#frames ? 0 : this.#head + 1
      }
    }
    if (taken === 0) this.#noteError()
    this.#wasEmpty = taken === 0
    return taken
  }

  /** Totals since the ring was opened. */
  stats(): PacketRingStats {
    const values = pinned(8) // struct tpacket_stats { u32 packets (drops included), drops; }, cleared by reading
    const length = pinned(4)
    length.writeUInt32LE(8, 0)
    const rc = libc.getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, values, length)
    check('getsockopt(PACKET_STATISTICS)', rc)
    const drops = values.readUInt32LE(4)
    this.#stats.packets += values.readUInt32LE(0) - drops
    this.#stats.drops += drops
    return { ...this.#stats }
  }

  /** Unmaps the ring: what a handler was given must not be touched afterwards. */
  close(): void {
    const bytes = this.#bytes.length
    this.#bytes = new Uint8Array(0)
    this.#words = new Int32Array(0)
    check('munmap', libc.munmap(this.#address, BigInt(bytes)))
    closeFd(this.fd)
  }

  #deliver(word: number, handler: PacketHandler): void {
    const snapped = this.#words[word + WORD_SNAP_LENGTH]
    if (snapped < this.#words[word + WORD_LENGTH]) {
      this.#stats.truncated++
      return
    }
    const macNet = this.#words[word + WORD_MAC_NET]
    const mac = macNet & 0xffff
    const net = macNet >>> 16
    const vnet = word * 4 + mac - VNET_HEADER_BYTES
    vnetRebase(this.#bytes, vnet, net - mac)
    handler(this.#bytes, word * 4 + net, snapped - (net - mac), vnet, this.#interfaceIndex)
  }

  /**
   * A frame marked COPY has its whole packet in the socket's queue. Two processors may queue in another order
   * than they take frames, so only the count is relied on, and what is read describes itself.
   */
  #deliverOversize(word: number, handler: PacketHandler): void {
    const macNet = this.#words[word + WORD_MAC_NET]
    const macLength = (macNet >>> 16) - (macNet & 0xffff)
    const ip = VNET_HEADER_BYTES + macLength
    const bytes = libc.read(this.fd, this.#sideAddress, BigInt(SIDE_BYTES))
    if (bytes <= ip || bytes === SIDE_BYTES) {
      this.#stats.truncated++
      return
    }
    vnetRebase(this.#side, 0, macLength)
    handler(this.#side, ip, bytes - ip, 0, this.#interfaceIndex)
  }

  /** Readable and yet empty, twice: an error is pending, and poll(2) would spin until it is taken. */
  #noteError(): void {
    if (!this.#wasEmpty) return
    const number = takeSocketError(this.fd)
    if (number !== 0) this.errors.set(number, (this.errors.get(number) ?? 0) + 1)
  }
}
