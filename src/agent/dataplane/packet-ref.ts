import { createPacketView, type PacketView } from './packet.ts'

/**
 * One packet on the slow path: where its bytes stand, what parsing found, and what the kernel's
 * virtio_net_hdr said of it. One object is reused for every packet; whoever keeps a packet copies it.
 */
export interface PacketRef {
  buf: Uint8Array
  /** Offset of the IP header in `buf`. */
  offset: number
  /** Bytes from `offset` to the end of the IP packet. */
  length: number
  readonly view: PacketView
  /** The L4 checksum holds only the pseudo-header's sum (virtio NEEDS_CSUM). */
  partialChecksum: boolean
  /** Segment size in bytes of a GSO/GRO super-packet; 0 for an ordinary packet. */
  gsoSize: number
  /** virtio_net_hdr gso_type without the ECN bit; 0 = none. */
  gsoType: number
}

export const createPacketRef = (): PacketRef => ({
  buf: new Uint8Array(0),
  offset: 0,
  length: 0,
  view: createPacketView(),
  partialChecksum: false,
  gsoSize: 0,
  gsoType: 0,
})

export const TCP_FIN = 0x01
export const TCP_SYN = 0x02
export const TCP_RST = 0x04
export const TCP_ACK = 0x10

/** A first packet of a connection: SYN without ACK. */
export const isSyn = (tcpFlags: number): boolean => (tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN
