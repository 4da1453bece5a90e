import { DROP } from './drops.ts'

export const PROTOCOL_TCP = 6
export const PROTOCOL_UDP = 17

/** TCP flag bits of byte 13 of the header (RFC 9293, section 3.1). */
export const TCP_FLAG = {
  FIN: 0x01,
  SYN: 0x02,
  RST: 0x04,
  PSH: 0x08,
  ACK: 0x10,
  URG: 0x20,
  ECE: 0x40,
  CWR: 0x80,
} as const

const IPV6_HOP_BY_HOP = 0
const IPV6_ROUTING = 43
const IPV6_FRAGMENT = 44
const IPV6_DESTINATION_OPTIONS = 60
/** More extension headers than this are refused: each one costs a look, and honest senders use one or two. */
const MAX_EXTENSION_HEADERS = 8

/** What `parsePacket` found. One object is reused for every packet. All offsets are absolute in the buffer. */
export interface PacketView {
  family: 4 | 6
  /** IP protocol of what starts at `l4`. */
  protocol: number
  /** Offset of the L4 header; in a later fragment, of its data. */
  l4: number
  /** Offset of the L4 payload; equals `l4` where there is no L4 header. */
  payload: number
  /** Offset after the last byte of the IP packet, by its own length; what follows is padding. */
  end: number
  /** Part of a fragmented datagram (a first fragment too). */
  fragment: boolean
  moreFragments: boolean
  /** Bytes before this fragment's data in the whole datagram; not 0: no L4 header, no ports. */
  fragmentOffset: number
  /** IPv4 identification (16 bits) or that of the IPv6 fragment header (32 bits; 0 without one). */
  identification: number
  /** TCP_FLAG bits; 0 if not TCP. */
  tcpFlags: number
  sourcePort: number
  destinationPort: number
  /** TTL or hop limit. */
  ttl: number
  /** Bytes of L4 payload in this packet; for UDP by its own length field. */
  payloadLength: number
}

export const createPacketView = (): PacketView => ({
  family: 4,
  protocol: 0,
  l4: 0,
  payload: 0,
  end: 0,
  fragment: false,
  moreFragments: false,
  fragmentOffset: 0,
  identification: 0,
  tcpFlags: 0,
  sourcePort: 0,
  destinationPort: 0,
  ttl: 0,
  payloadLength: 0,
})

/**
 * Reads the headers of one IP packet that starts at `offset`. Never throws and never reads outside
 * `offset..offset+length-1`. Bytes after the IP packet's own end are padding and ignored.
 *
 * A packet of another protocol than TCP and UDP answers UNSUPPORTED_PROTOCOL with the view filled up to `l4` and
 * `end`; after any other reason the view means nothing. A later fragment answers NONE, with no ports.
 *
 * @returns DROP.NONE or the reason for which the packet cannot be carried
 */
export function parsePacket(buf: Uint8Array, offset: number, length: number, out: PacketView): number {
  if (length < 1) return DROP.TRUNCATED
  out.payload = 0
  out.fragment = false
  out.moreFragments = false
  out.fragmentOffset = 0
  out.identification = 0
  out.tcpFlags = 0
  out.sourcePort = 0
  out.destinationPort = 0
  out.payloadLength = 0
  const version = buf[offset] >>> 4
  let reason: number
  if (version === 4) reason = parseIpv4(buf, offset, length, out)
  else if (version === 6) reason = parseIpv6(buf, offset, length, out)
  else return DROP.BAD_VERSION
  if (reason !== DROP.NONE) return reason
  out.payload = out.l4
  if (out.fragmentOffset !== 0) {
    out.payloadLength = out.end - out.l4
    return DROP.NONE
  }
  if (out.protocol === PROTOCOL_TCP) return parseTcp(buf, out)
  if (out.protocol === PROTOCOL_UDP) return parseUdp(buf, out)
  return DROP.UNSUPPORTED_PROTOCOL
}

function parseIpv4(buf: Uint8Array, offset: number, length: number, out: PacketView): number {
  if (length < 20) return DROP.TRUNCATED
  const headerLength = (buf[offset] & 0x0f) * 4
  if (headerLength < 20) return DROP.BAD_HEADER_LENGTH
  const totalLength = (buf[offset + 2] << 8) | buf[offset + 3]
  if (totalLength < headerLength) return DROP.BAD_TOTAL_LENGTH
  if (totalLength > length) return DROP.TRUNCATED
  // RFC 1812, section 5.2.2: who forwards verifies the header checksum. It also keeps rewriting honest: an
  // incremental update would turn a damaged header into a different damaged header.
  let sum = 0
  for (let at = offset; at < offset + headerLength; at += 2) sum += (buf[at] << 8) | buf[at + 1]
  sum = (sum & 0xffff) + (sum >>> 16)
  if (((sum + (sum >>> 16)) & 0xffff) !== 0xffff) return DROP.BAD_CHECKSUM
  const fragmentWord = (buf[offset + 6] << 8) | buf[offset + 7]
  out.family = 4
  out.protocol = buf[offset + 9]
  out.ttl = buf[offset + 8]
  out.l4 = offset + headerLength
  out.end = offset + totalLength
  out.identification = (buf[offset + 4] << 8) | buf[offset + 5]
  out.moreFragments = (fragmentWord & 0x2000) !== 0
  out.fragmentOffset = (fragmentWord & 0x1fff) * 8
  out.fragment = out.moreFragments || out.fragmentOffset !== 0
  return DROP.NONE
}

function parseIpv6(buf: Uint8Array, offset: number, length: number, out: PacketView): number {
  if (length < 40) return DROP.TRUNCATED
  const end = offset + 40 + ((buf[offset + 4] << 8) | buf[offset + 5])
  if (end > offset + length) return DROP.TRUNCATED
  // A v4-mapped address on the wire would share the flow key of an IPv4 client; RFC 6890 forbids it there.
  if (isMapped(buf, offset + 8) || isMapped(buf, offset + 24)) return DROP.BAD_ADDRESS
  let next = buf[offset + 6]
  let at = offset + 40
  let fragmentHeader = false
  out.family = 6
  out.ttl = buf[offset + 7]
  out.end = end
  for (let count = 0; isExtension(next); count++) {
    if (count === MAX_EXTENSION_HEADERS) return DROP.EXTENSION_HEADERS
    if (at + 8 > end) return DROP.TRUNCATED
    if (next === IPV6_FRAGMENT) {
      if (fragmentHeader) return DROP.EXTENSION_HEADERS
      fragmentHeader = true
      const word = (buf[at + 2] << 8) | buf[at + 3]
      out.identification =
        ((buf[at + 4] << 24) | (buf[at + 5] << 16) | (buf[at + 6] << 8) | buf[at + 7]) >>> 0
      out.moreFragments = (word & 1) !== 0
      out.fragmentOffset = word & 0xfff8
      // Neither offset nor more: an atomic fragment, a whole packet (RFC 6946).
      out.fragment = word > 7 || out.moreFragments
      next = buf[at]
      at += 8
      if (out.fragmentOffset !== 0) break
      continue
    }
    // Hop-by-hop options stand first or nowhere (RFC 8200, section 4.1). A routing header with segments left
    // means that the address in the IPv6 header is not the one that the L4 checksum covers.
    if (next === IPV6_HOP_BY_HOP && count !== 0) return DROP.EXTENSION_HEADERS
    if (next === IPV6_ROUTING && buf[at + 3] !== 0) return DROP.EXTENSION_HEADERS
    next = buf[at]
    at += (buf[at + 1] + 1) * 8
    if (at > end) return DROP.TRUNCATED
  }
  out.protocol = next
  out.l4 = at
  return DROP.NONE
}

const isExtension = (next: number): boolean =>
  next === IPV6_HOP_BY_HOP ||
  next === IPV6_ROUTING ||
  next === IPV6_FRAGMENT ||
  next === IPV6_DESTINATION_OPTIONS

function isMapped(buf: Uint8Array, at: number): boolean {
  if (buf[at + 10] !== 0xff || buf[at + 11] !== 0xff) return false
  for (let i = 0; i < 10; i++) if (buf[at + i] !== 0) return false
  return true
}

function parseTcp(buf: Uint8Array, out: PacketView): number {
  const at = out.l4
  if (out.end - at < 20) return DROP.TRUNCATED
  const headerLength = (buf[at + 12] >>> 4) * 4
  if (headerLength < 20 || headerLength > out.end - at) return DROP.BAD_HEADER_LENGTH
  out.sourcePort = (buf[at] << 8) | buf[at + 1]
  out.destinationPort = (buf[at + 2] << 8) | buf[at + 3]
  out.tcpFlags = buf[at + 13]
  out.payload = at + headerLength
  out.payloadLength = out.end - out.payload
  return DROP.NONE
}

function parseUdp(buf: Uint8Array, out: PacketView): number {
  const at = out.l4
  const available = out.end - at
  if (available < 8) return DROP.TRUNCATED
  const udpLength = (buf[at + 4] << 8) | buf[at + 5]
  if (udpLength < 8) return DROP.BAD_TOTAL_LENGTH
  // A first fragment holds less than the datagram's length says; a whole packet must not.
  if (udpLength > available && !out.moreFragments) return DROP.BAD_TOTAL_LENGTH
  out.sourcePort = (buf[at] << 8) | buf[at + 1]
  out.destinationPort = (buf[at + 2] << 8) | buf[at + 3]
  out.payload = at + 8
  out.payloadLength = Math.min(udpLength, available) - 8
  return DROP.NONE
}
