import { ShuntError } from '../errors.ts'
import { check, libc, pinned } from './ffi.ts'
import { attachFilter, markFilter } from './mark-filter.ts'
import { SOCK_CLOEXEC, SOCK_NONBLOCK, setBytes, setInt, setReceiveBuffer } from './sockopt.ts'

const AF_PACKET = 17
const SOCK_RAW = 3
export const SOL_PACKET = 263
const PACKET_RX_RING = 5
const PACKET_COPY_THRESH = 7
const PACKET_VERSION = 10
const PACKET_VNET_HDR = 15
const TPACKET_V2 = 1
const ETH_P_IP = 0x0800
export const ETH_P_IPV6 = 0x86dd

const BLOCK_BYTES = 65536
/** Room for what does not fit a frame: about 50 packets of 64 kB. */
const OVERSIZE_QUEUE_BYTES = 8 << 20

export interface PacketRingOptions {
  /** One ring an interface and protocol. */
  interfaceIndex: number
  /** Only packets with `(skb mark & markMask) === (mark & markMask)` come in. */
  mark: number
  markMask: number
  /** Bytes a frame, a power of two of 256..65536 (default 2048); larger packets take a slower way, whole. */
  frameSize?: number
  /** Frames in the ring (default 2048), rounded up to whole 64 kB blocks; a full ring drops, and counts. */
  frames?: number
  /** Ethernet protocol in host order (default 0x0800, IPv4). */
  etherType?: number
}

/** A bound AF_PACKET socket and its mapped ring: `frames` frames of `frameSize` bytes from `address` on. */
export interface PacketSocket {
  fd: number
  address: bigint
  frames: number
  frameSize: number
}

export const openPacketSocket = (options: PacketRingOptions): PacketSocket => {
  const { interfaceIndex, mark, markMask, frameSize = 2048, etherType = ETH_P_IP } = options
  if (frameSize < 256 || frameSize > BLOCK_BYTES || (frameSize & (frameSize - 1)) !== 0) {
    throw new RangeError(`frameSize must be a power of two of 256..${BLOCK_BYTES}, not ${frameSize}`)
  }
  const perBlock = BLOCK_BYTES / frameSize
  const blocks = Math.ceil((options.frames ?? 2048) / perBlock)
  // Protocol 0 receives nothing: no packet comes in before the filter is attached and bind() names a protocol.
  const fd = check('socket(AF_PACKET)', libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))
  let address = 0n
  const bytes = blocks * BLOCK_BYTES
  try {
    setInt(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2, 'setsockopt(PACKET_VERSION)')
    setInt(fd, SOL_PACKET, PACKET_VNET_HDR, 1, 'setsockopt(PACKET_VNET_HDR)') // refused once there is a ring
    setInt(fd, SOL_PACKET, PACKET_COPY_THRESH, 1, 'setsockopt(PACKET_COPY_THRESH)')
    setReceiveBuffer(fd, OVERSIZE_QUEUE_BYTES)
    attachFilter(fd, markFilter(mark, markMask))
    const request = pinned(16) // struct tpacket_req
    for (const [index, value] of [BLOCK_BYTES, blocks, frameSize, blocks * perBlock].entries()) {
      request.writeUInt32LE(value, index * 4)
    }
    setBytes(fd, SOL_PACKET, PACKET_RX_RING, request, 'setsockopt(PACKET_RX_RING)')
    address = mapRing(fd, bytes)
    bindTo(fd, interfaceIndex, etherType)
    return { fd, address, frames: blocks * perBlock, frameSize }
  } catch (error) {
    if (address !== 0n) libc.munmap(address, BigInt(bytes))
    libc.close(fd)
    throw error
  }
}

export const mapRing = (fd: number, bytes: number): bigint => {
  const address = libc.mmap(null, BigInt(bytes), 3, 1, fd, 0n) // PROT_READ | PROT_WRITE, MAP_SHARED
  if (address === 0xffffffffffffffffn) check('mmap(PACKET_RX_RING)', -1)
  if (address === 0n) throw new ShuntError('SHUNT_ERR_OS', 'mmap(PACKET_RX_RING) answered the null address')
  return address
}

export const bindTo = (fd: number, interfaceIndex: number, etherType: number): void => {
  const address = pinned(20) // struct sockaddr_ll
  address.writeUInt16LE(AF_PACKET, 0)
  address.writeUInt16BE(etherType, 2)
  address.writeInt32LE(interfaceIndex, 4)
  check('bind(AF_PACKET)', libc.bind(fd, address, 20))
}
