/**
 * The 10-byte `virtio_net_hdr` that the kernel puts before a packet on a TUN device or packet socket with
 * IFF_VNET_HDR / PACKET_VNET_HDR (virtio 1.2, section 5.1.6). Fields are little-endian on the machines that we
 * support (the kernel's "native" order).
 *
 *      0        1          2-3       4-5        6-7          8-9
 *   +-------+----------+---------+----------+------------+-------------+
 *   | flags | gso_type | hdr_len | gso_size | csum_start | csum_offset |
 *   +-------+----------+---------+----------+------------+-------------+
 */
export const VNET_HEADER_LENGTH = 10

/** The L4 checksum field holds only the pseudo-header's sum; whoever sends it must complete it. */
export const VNET_NEEDS_CSUM = 1
/** The L4 checksum was verified by the device. */
export const VNET_DATA_VALID = 2

export const VNET_GSO_NONE = 0
export const VNET_GSO_TCPV4 = 1
export const VNET_GSO_UDP = 3
export const VNET_GSO_TCPV6 = 4
export const VNET_GSO_UDP_L4 = 5
/** Bit beside a TCP type: CWR is set on the first segment. */
export const VNET_GSO_ECN = 0x80

export const vnetFlags = (buf: Uint8Array, at: number): number => buf[at]
export const vnetNeedsChecksum = (buf: Uint8Array, at: number): boolean => (buf[at] & VNET_NEEDS_CSUM) !== 0
/** Without the ECN bit. */
export const vnetGsoType = (buf: Uint8Array, at: number): number => buf[at + 1] & ~VNET_GSO_ECN
export const vnetGsoEcn = (buf: Uint8Array, at: number): boolean => (buf[at + 1] & VNET_GSO_ECN) !== 0
/** Bytes of all headers; a hint. */
export const vnetHeadersLength = (buf: Uint8Array, at: number): number => read16(buf, at + 2)
/** Payload bytes of each segment; meaningless when the type is NONE. */
export const vnetGsoSize = (buf: Uint8Array, at: number): number => read16(buf, at + 4)
/** Where checksumming starts, in bytes from the start of the packet. */
export const vnetChecksumStart = (buf: Uint8Array, at: number): number => read16(buf, at + 6)
/** Where the result goes, in bytes after `vnetChecksumStart`. */
export const vnetChecksumOffset = (buf: Uint8Array, at: number): number => read16(buf, at + 8)

/** Writes a whole header; pass zeros for a complete, unsegmented packet. */
export function writeVnetHeader(
  buf: Uint8Array,
  at: number,
  flags: number,
  gsoType: number,
  headersLength: number,
  gsoSize: number,
  checksumStart: number,
  checksumOffset: number,
): void {
  buf[at] = flags
  buf[at + 1] = gsoType
  write16(buf, at + 2, headersLength)
  write16(buf, at + 4, gsoSize)
  write16(buf, at + 6, checksumStart)
  write16(buf, at + 8, checksumOffset)
}

const read16 = (buf: Uint8Array, at: number): number => buf[at] | (buf[at + 1] << 8)

function write16(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value
  buf[at + 1] = value >>> 8
}
