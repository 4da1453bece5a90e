import { type PacketView, PROTOCOL_TCP, PROTOCOL_UDP } from './packet.ts'

/**
 * The Internet checksum (RFC 1071). A "sum" is a ones-complement sum of 16-bit big-endian words that is not yet
 * folded and not inverted: an integer below 2^31, so that engines keep it a small integer.
 */

/** Adds the words of `length` bytes to `sum`; an odd last byte is the high half of a word. */
export function addBytes(sum: number, buf: Uint8Array, at: number, length: number): number {
  const end = at + (length & ~1)
  while (at < end) {
    // 8192 words add less than 2^29: fold once a block, not once a word.
    const stop = end - at > 16384 ? at + 16384 : end
    for (; at < stop; at += 2) sum += (buf[at] << 8) | buf[at + 1]
    sum = (sum & 0xffff) + (sum >>> 16)
  }
  return (length & 1) === 0 ? sum : sum + (buf[at] << 8)
}

/** Brings a sum to 16 bits. */
export function fold(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum + (sum >>> 16)) & 0xffff
}

/**
 * The checksum after words that add up to `oldSum` were replaced by words that add up to `newSum` (RFC 1624,
 * equation 3). Both may be single 16-bit words, or folded sums of many.
 */
export const incremental = (check: number, oldSum: number, newSum: number): number =>
  ~fold((~check & 0xffff) + (~oldSum & 0xffff) + newSum) & 0xffff

/** The checksum of an IPv4 header as it should be, whatever stands in its field. */
export function ipv4HeaderChecksum(buf: Uint8Array, offset: number): number {
  const headerLength = (buf[offset] & 0x0f) * 4
  const sum = addBytes(addBytes(0, buf, offset, 10), buf, offset + 12, headerLength - 12)
  return ~fold(sum) & 0xffff
}

/** Bytes that the L4 checksum covers: for UDP its own length, which may be less than the IP packet's. */
export const l4Length = (view: PacketView): number => view.payload - view.l4 + view.payloadLength

/** Offset of the L4 checksum field inside the TCP or UDP header. */
export const checksumField = (protocol: number): number => (protocol === PROTOCOL_TCP ? 16 : 6)

/** Sum of the pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1) for `length` bytes of L4. */
export function pseudoHeaderSum(buf: Uint8Array, offset: number, view: PacketView, length: number): number {
  const addresses = view.family === 4 ? addBytes(0, buf, offset + 12, 8) : addBytes(0, buf, offset + 8, 32)
  return addresses + view.protocol + length
}

/** The L4 checksum of an unfragmented packet as it should be, whatever stands in its field. */
export function l4Checksum(buf: Uint8Array, offset: number, view: PacketView): number {
  const length = l4Length(view)
  const field = checksumField(view.protocol)
  let sum = pseudoHeaderSum(buf, offset, view, length)
  sum = addBytes(sum, buf, view.l4, field)
  sum = addBytes(sum, buf, view.l4 + field + 2, length - field - 2)
  return finishChecksum(sum, view.protocol)
}

/** Inverts a sum; UDP sends 0xffff for 0, because 0 says that there is no checksum (RFC 768). */
export function finishChecksum(sum: number, protocol: number): number {
  const check = ~fold(sum) & 0xffff
  return check === 0 && protocol === PROTOCOL_UDP ? 0xffff : check
}
