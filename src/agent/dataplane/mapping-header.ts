import { DROP } from './drops.ts'
import { addressEquals, isIpv4, readIpv4, readIpv6 } from './flow-key.ts'
import type { PacketView } from './packet.ts'
import { sipHash24 } from './siphash.ts'

/**
 * The mapping header (R-E8; GUE-like, inside UDP): binds a flow identifier to a client, a VIP and their ports, and
 * may carry the packet that caused it. Numbers are big-endian.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +---------------+-------+-------+---------------+-----------+-+-+
 *   |  magic 0x53   | ver 1 | kind  |  key number   | 0 0 0 0 0 0|I|6|   0
 *   +---------------+-------+-------+---------------+-----------+-+-+
 *   |                 epoch of the identifier's forwarder           |   4
 *   +---------------------------------------------------------------+
 *   |                 sequence number of the sender                 |   8
 *   +---------------------------------------------------------------+
 *   |                 time, unix seconds                            |  12
 *   +---------------------------------------------------------------+
 *   |                 flow identifier                               |  16
 *   +---------------+---------------+-------------------------------+
 *   |  IP protocol  |  host index   |  length of the inner packet   |  20
 *   +---------------+---------------+-------------------------------+
 *   |  client port                  |  VIP port                     |  24
 *   +-------------------------------+-------------------------------+
 *   |  client address, VIP address, node address: 4 bytes each, or  |  28
 *   |  16 each when flag 6 is set                                   |
 *   +---------------------------------------------------------------+
 *   |  tag: SipHash-2-4 of all bytes above, little-endian           |  40 or 76
 *   |                                                               |
 *   +---------------------------------------------------------------+
 *   |  inner IP packet, when flag I is set                          |  48 or 84
 *
 * The node address is the forwarder's tunnel address; in CLASSIFIED it is the chosen host's cluster address.
 *
 * The receiver, in this order (1-7 are `decodeMappingHeader`, the rest its caller's):
 *  1. at least 48 bytes, else MAPPING_TRUNCATED
 *  2. magic, else MAPPING_BAD_MAGIC
 *  3. version, else MAPPING_BAD_VERSION
 *  4. a known kind, else MAPPING_BAD_KIND
 *  5. no unknown flag, else MAPPING_BAD_FLAGS
 *  6. the whole header is there, else MAPPING_TRUNCATED; the inner length equals the rest of the datagram and is 0
 *     exactly when flag I is clear, else MAPPING_BAD_LENGTH
 *  7. flag 6 set exactly when some address needs it, client and VIP of one family, else MAPPING_BAD_FLAGS
 *  8. the key is known, else MAPPING_UNKNOWN_KEY; `verifyMappingTag`, else MAPPING_BAD_TAG
 *  9. the time is near the own clock, else MAPPING_TIME (answered by STALE_TIME)
 * 10. the sender is a peer with the role that the kind needs, else MAPPING_NOT_A_PEER or MAPPING_WRONG_ROLE
 * 11. the epoch is current and the sequence new, else MAPPING_OLD_EPOCH or MAPPING_OLD_SEQUENCE
 * 12. an inner packet parses and `innerMatches`, else MAPPING_TUPLE_MISMATCH
 */
export const KIND = {
  MAP: 1,
  MAP_ACK: 2,
  ASK: 3,
  CLASSIFY: 4,
  CLASSIFIED: 5,
  UNKNOWN: 6,
  STALE_TIME: 7,
  REFUSED: 8,
} as const

const LAST_KIND = KIND.REFUSED
const MAGIC = 0x53
const VERSION = 1
const FIXED_LENGTH = 28
const TAG_LENGTH = 8

export const MAPPING_FLAG_IPV6 = 0x01
export const MAPPING_FLAG_INNER = 0x02

export const MAPPING_HEADER_IPV4 = FIXED_LENGTH + 3 * 4 + TAG_LENGTH
export const MAPPING_HEADER_IPV6 = FIXED_LENGTH + 3 * 16 + TAG_LENGTH

/** Of the datagrams, which go between cluster addresses: outer IPv4 and UDP headers, whatever family is inside. */
const OUTER_HEADERS = 20 + 8

/** Bytes that a packet of that family grows by when it travels behind a mapping header. */
export const mappingOverhead = (family: 4 | 6): number =>
  OUTER_HEADERS + (family === 4 ? MAPPING_HEADER_IPV4 : MAPPING_HEADER_IPV6)

/** One mapping header; reused. Addresses are four words each (IPv4 v4-mapped). */
export interface MappingHeader {
  /** KIND. */
  kind: number
  /** Number of the cluster secret that the tag's key comes from, 0..255. */
  keyNumber: number
  /** MAPPING_FLAG bits; derived by `encodeMappingHeader`, read by `decodeMappingHeader`. */
  flags: number
  epoch: number
  sequence: number
  /** Unix time in seconds. */
  timeS: number
  identifier: number
  protocol: number
  hostIndex: number
  /** Bytes of the inner packet, 0 = none. */
  innerLength: number
  /** Client port << 16 | VIP port. */
  ports: number
  readonly client: Uint32Array
  readonly vip: Uint32Array
  readonly node: Uint32Array
  /** Absolute offset of the tag; set by encode and decode. */
  tagOffset: number
  /** Absolute offset of the inner packet; set by encode and decode. */
  innerOffset: number
}

/** A header with all numbers 0 and all addresses 0.0.0.0. */
export const createMappingHeader = (): MappingHeader => ({
  kind: 0,
  keyNumber: 0,
  flags: 0,
  epoch: 0,
  sequence: 0,
  timeS: 0,
  identifier: 0,
  protocol: 0,
  hostIndex: 0,
  innerLength: 0,
  ports: 0,
  client: Uint32Array.of(0, 0, 0xffff, 0),
  vip: Uint32Array.of(0, 0, 0xffff, 0),
  node: Uint32Array.of(0, 0, 0xffff, 0),
  tagOffset: 0,
  innerOffset: 0,
})

const NO_ADDRESS = [0, 0, 0xffff, 0]

/** Fills in a header of no known flow, which an identifier alone names; its node address is the caller's to set. */
export const fillWithoutFlow = (
  h: MappingHeader,
  kind: number,
  epoch: number,
  sequence: number,
  identifier: number,
): void => {
  h.kind = kind
  h.epoch = epoch
  h.sequence = sequence
  h.identifier = identifier
  h.hostIndex = 0
  h.protocol = 0
  h.ports = 0
  h.client.set(NO_ADDRESS)
  h.vip.set(NO_ADDRESS)
}

/** The bytes that `encodeMappingHeader` will write for these addresses: 48 or 84. */
export const mappingHeaderLength = (h: MappingHeader): number =>
  isIpv4(h.client, 0) && isIpv4(h.vip, 0) && isIpv4(h.node, 0) ? MAPPING_HEADER_IPV4 : MAPPING_HEADER_IPV6

/**
 * Writes and signs the header; the caller puts `h.innerLength` bytes of packet after it.
 * @param key 128 bits, four little-endian words
 * @returns bytes written, 48 or 84
 * @throws RangeError if the buffer is too small, the kind unknown, or the inner length too large for its field
 */
export function encodeMappingHeader(
  h: MappingHeader,
  buf: Uint8Array,
  offset: number,
  key: Uint32Array,
): number {
  const length = mappingHeaderLength(h)
  if (offset < 0 || offset + length > buf.length)
    throw new RangeError(`no room for a mapping header at ${offset}`)
  if (!(h.kind >= 1 && h.kind <= LAST_KIND)) throw new RangeError(`no mapping message is of kind ${h.kind}`)
  if (h.innerLength < 0 || h.innerLength > 0xffff)
    throw new RangeError(`inner packet of ${h.innerLength} bytes`)
  const ipv6 = length === MAPPING_HEADER_IPV6
  h.flags = (ipv6 ? MAPPING_FLAG_IPV6 : 0) | (h.innerLength > 0 ? MAPPING_FLAG_INNER : 0)
  buf[offset] = MAGIC
  buf[offset + 1] = (VERSION << 4) | h.kind
  buf[offset + 2] = h.keyNumber
  buf[offset + 3] = h.flags
  write32(buf, offset + 4, h.epoch)
  write32(buf, offset + 8, h.sequence)
  write32(buf, offset + 12, h.timeS)
  write32(buf, offset + 16, h.identifier)
  buf[offset + 20] = h.protocol
  buf[offset + 21] = h.hostIndex
  buf[offset + 22] = h.innerLength >>> 8
  buf[offset + 23] = h.innerLength
  write32(buf, offset + 24, h.ports)
  let at = writeAddress(buf, offset + FIXED_LENGTH, h.client, ipv6)
  at = writeAddress(buf, at, h.vip, ipv6)
  at = writeAddress(buf, at, h.node, ipv6)
  h.tagOffset = at
  h.innerOffset = offset + length
  sipHash24(key, buf, offset, length - TAG_LENGTH, tag)
  for (let i = 0; i < TAG_LENGTH; i++) buf[at + i] = tag[i >>> 2] >>> ((i & 3) * 8)
  return length
}

/**
 * Reads a datagram of `length` bytes at `offset`: structure only (steps 1-7), nothing is believed yet. Never throws,
 * never reads outside. After a reason other than NONE the header means nothing.
 * @returns DROP.NONE or a MAPPING_ reason
 */
export function decodeMappingHeader(
  buf: Uint8Array,
  offset: number,
  length: number,
  out: MappingHeader,
): number {
  if (length < MAPPING_HEADER_IPV4) return DROP.MAPPING_TRUNCATED
  if (buf[offset] !== MAGIC) return DROP.MAPPING_BAD_MAGIC
  if (buf[offset + 1] >>> 4 !== VERSION) return DROP.MAPPING_BAD_VERSION
  const kind = buf[offset + 1] & 0x0f
  if (kind === 0 || kind > LAST_KIND) return DROP.MAPPING_BAD_KIND
  const flags = buf[offset + 3]
  if ((flags & ~(MAPPING_FLAG_IPV6 | MAPPING_FLAG_INNER)) !== 0) return DROP.MAPPING_BAD_FLAGS
  const ipv6 = (flags & MAPPING_FLAG_IPV6) !== 0
  const headerLength = ipv6 ? MAPPING_HEADER_IPV6 : MAPPING_HEADER_IPV4
  if (length < headerLength) return DROP.MAPPING_TRUNCATED
  const innerLength = (buf[offset + 22] << 8) | buf[offset + 23]
  if (innerLength !== length - headerLength) return DROP.MAPPING_BAD_LENGTH
  if (innerLength > 0 !== ((flags & MAPPING_FLAG_INNER) !== 0)) return DROP.MAPPING_BAD_LENGTH
  out.kind = kind
  out.keyNumber = buf[offset + 2]
  out.flags = flags
  out.epoch = read32(buf, offset + 4)
  out.sequence = read32(buf, offset + 8)
  out.timeS = read32(buf, offset + 12)
  out.identifier = read32(buf, offset + 16)
  out.protocol = buf[offset + 20]
  out.hostIndex = buf[offset + 21]
  out.innerLength = innerLength
  out.ports = read32(buf, offset + 24)
  let at = readAddress(buf, offset + FIXED_LENGTH, out.client, ipv6)
  at = readAddress(buf, at, out.vip, ipv6)
  at = readAddress(buf, at, out.node, ipv6)
  out.tagOffset = at
  out.innerOffset = offset + headerLength
  if (ipv6 && mappingHeaderLength(out) !== headerLength) return DROP.MAPPING_BAD_FLAGS
  if (isIpv4(out.client, 0) !== isIpv4(out.vip, 0)) return DROP.MAPPING_BAD_FLAGS
  return DROP.NONE
}

/** Whether the tag of a decoded header at `offset` was made with this key; takes the same time for any tag. */
export function verifyMappingTag(
  buf: Uint8Array,
  offset: number,
  h: MappingHeader,
  key: Uint32Array,
): boolean {
  sipHash24(key, buf, offset, h.tagOffset - offset, tag)
  let difference = 0
  for (let i = 0; i < TAG_LENGTH; i++)
    difference |= buf[h.tagOffset + i] ^ ((tag[i >>> 2] >>> ((i & 3) * 8)) & 0xff)
  return difference === 0
}

/**
 * Whether an inner packet (parsed as `view`, IP header at `offset`) is of the flow that the header names. False for a
 * later fragment, which has no ports.
 */
export function innerMatches(h: MappingHeader, view: PacketView, buf: Uint8Array, offset: number): boolean {
  if (view.fragmentOffset !== 0 || view.protocol !== h.protocol) return false
  if (view.sourcePort !== h.ports >>> 16 || view.destinationPort !== (h.ports & 0xffff)) return false
  if (view.family === 4) {
    readIpv4(buf, offset + 12, inner, 0)
    readIpv4(buf, offset + 16, inner, 4)
  } else {
    readIpv6(buf, offset + 8, inner, 0)
    readIpv6(buf, offset + 24, inner, 4)
  }
  return addressEquals(inner, 0, h.client, 0) && addressEquals(inner, 4, h.vip, 0)
}

const tag = new Uint32Array(2)
const inner = new Uint32Array(8)

function writeAddress(buf: Uint8Array, at: number, words: Uint32Array, ipv6: boolean): number {
  for (let i = ipv6 ? 0 : 3; i < 4; i++, at += 4) write32(buf, at, words[i])
  return at
}

function readAddress(buf: Uint8Array, at: number, out: Uint32Array, ipv6: boolean): number {
  if (!ipv6) {
    readIpv4(buf, at, out, 0)
    return at + 4
  }
  readIpv6(buf, at, out, 0)
  return at + 16
}

const read32 = (buf: Uint8Array, at: number): number =>
  ((buf[at] << 24) | (buf[at + 1] << 16) | (buf[at + 2] << 8) | buf[at + 3]) >>> 0

function write32(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 24
  buf[at + 1] = value >>> 16
  buf[at + 2] = value >>> 8
  buf[at + 3] = value
}
