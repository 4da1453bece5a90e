/** Length of the legacy virtio_net_hdr (<linux/virtio_net.h>) that AF_PACKET and TUN put before a packet. */
export const VNET_HEADER_BYTES = 10

// u8 flags, u8 gso_type, then u16 in the machine's order (little-endian): hdr_len, gso_size, csum_start, csum_offset
const FLAGS = 0
const NEEDS_CHECKSUM = 1
const GSO_TYPE = 1
const HEADERS_LENGTH = 2
const CHECKSUM_START = 6

const subtract = (buffer: Uint8Array, at: number, amount: number): void => {
  const value = Math.max((buffer[at] | (buffer[at + 1] << 8)) - amount, 0)
  buffer[at] = value
  buffer[at + 1] = value >>> 8
}

/**
 * Makes the header's offsets count from the IP header, as TUN wants them; AF_PACKET counts from the link-layer
 * header.
 */
export const vnetRebase = (buffer: Uint8Array, vnet: number, linkHeaderBytes: number): void => {
  if ((buffer[vnet + FLAGS] & NEEDS_CHECKSUM) !== 0) subtract(buffer, vnet + CHECKSUM_START, linkHeaderBytes)
  if (buffer[vnet + GSO_TYPE] !== 0) subtract(buffer, vnet + HEADERS_LENGTH, linkHeaderBytes)
}
