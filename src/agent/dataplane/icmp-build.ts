import { addBytes, fold, incremental, ipv4HeaderChecksum } from './checksum.ts'
import {
  FRAGMENTATION_NEEDED,
  ICMP4,
  ICMP6,
  type IcmpView,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
} from './icmp-packet.ts'
import type { PacketView } from './packet.ts'

/** As much of the packet as makes an error of at most so many bytes: RFC 1812, section 4.3.2.3; RFC 4443, section 2.4 (c). */
const LARGEST4 = 576
const LARGEST6 = 1280
const TTL = 64
/** Internetwork control (RFC 1812, section 4.3.2.5). */
const CS6 = 0xc0

export const LARGEST_ERROR_BYTES = LARGEST6

/** Type, code, and the second word of an ICMP error. */
export interface IcmpError {
  readonly type: number
  readonly code: number
  readonly word: number
}

/** The packet is larger than its way allows; `mtuBytes` is what that does allow (RFC 1191, RFC 8201). */
export const tooBig = (family: 4 | 6, mtuBytes: number): IcmpError =>
  family === 4
    ? { type: ICMP4.UNREACHABLE, code: FRAGMENTATION_NEEDED, word: Math.min(mtuBytes, 0xffff) }
    : { type: ICMP6.TOO_BIG, code: 0, word: mtuBytes }

/** TTL or hop limit used up on the way. */
export const timeExceeded = (family: 4 | 6): IcmpError => ({
  type: family === 4 ? ICMP4.TIME_EXCEEDED : ICMP6.TIME_EXCEEDED,
  code: 0,
  word: 0,
})

/**
 * An ICMP error about the packet at `offset`, to its sender, written to `out` from 0 on.
 * @param source four words of the packet's family: who tells of it
 * @returns its bytes
 */
export function buildError(
  out: Uint8Array,
  error: IcmpError,
  source: Uint32Array,
  buf: Uint8Array,
  offset: number,
  length: number,
  family: 4 | 6,
): number {
  const header = family === 4 ? 20 : 40
  const at = header + 8
  const total = Math.min(family === 4 ? LARGEST4 : LARGEST6, at + length)
  out.fill(0, 0, at)
  out.set(buf.subarray(offset, offset + total - at), at)
  out[header] = error.type
  out[header + 1] = error.code
  write32(out, header + 4, error.word)
  if (family === 4) {
    out[0] = 0x45
    out[1] = CS6
    write16(out, 2, total)
    out[8] = TTL
    out[9] = PROTOCOL_ICMP
    write32(out, 12, source[3])
    out.set(buf.subarray(offset + 12, offset + 16), 16)
    write16(out, 10, ipv4HeaderChecksum(out, 0))
  } else {
    out[0] = 0x60 | (CS6 >> 4)
    write16(out, 4, total - 40)
    out[6] = PROTOCOL_ICMPV6
    out[7] = TTL
    for (let i = 0; i < 4; i++) write32(out, 8 + 4 * i, source[i])
    out.set(buf.subarray(offset + 8, offset + 24), 24)
  }
  const sum = addBytes(0, out, header, total - header)
  const pseudo = family === 4 ? 0 : addBytes(PROTOCOL_ICMPV6 + total - header, out, 8, 32)
  write16(out, header + 2, ~fold(fold(sum) + fold(pseudo)) & 0xffff)
  return total
}

/**
 * Makes an echo request, in place, the reply to it (RFC 1122, section 3.2.2.6; RFC 4443, section 4.2): addresses exchanged, type changed,
 * checksums following; data, identifier and sequence number as they came. IPv4 options stay: a recorded route goes on being recorded.
 */
export function makeEchoReply(buf: Uint8Array, offset: number, view: PacketView, icmp: IcmpView): void {
  const six = view.family === 6
  const addresses = offset + (six ? 8 : 12)
  const bytes = six ? 16 : 4
  for (let i = 0; i < bytes; i++) {
    const byte = buf[addresses + i]
    buf[addresses + i] = buf[addresses + bytes + i]
    buf[addresses + bytes + i] = byte
  }
  if (six) {
    buf[offset + 7] = TTL
  } else {
    buf[offset + 8] = TTL
    write16(buf, offset + 10, ipv4HeaderChecksum(buf, offset))
  }
  const before = (buf[icmp.at] << 8) | buf[icmp.at + 1]
  buf[icmp.at] = six ? ICMP6.ECHO_REPLY : ICMP4.ECHO_REPLY
  const after = (buf[icmp.at] << 8) | buf[icmp.at + 1]
  const check = (buf[icmp.at + 2] << 8) | buf[icmp.at + 3]
  write16(buf, icmp.at + 2, incremental(check, before, after))
}

/** RFC 1122, section 3.2.2: an address to which an answer may go is one of a single machine elsewhere. Four words from `at`. */
export function isSingle(words: Uint32Array, at: number): boolean {
  if (words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff) {
    const first = words[at + 3] >>> 24
    return first !== 0 && first !== 127 && first < 224
  }
  // Multicast, link-local, and ::/96 with the unspecified and the loopback address.
  if (words[at] >>> 24 === 0xff || words[at] >>> 22 === 0xfe80 >>> 6) return false
  return words[at] !== 0 || words[at + 1] !== 0 || words[at + 2] !== 0
}

function write16(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 8
  buf[at + 1] = value
}

function write32(buf: Uint8Array, at: number, value: number): void {
  write16(buf, at, value >>> 16)
  write16(buf, at + 2, value & 0xffff)
}
