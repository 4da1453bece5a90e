import { addBytes, fold } from './checksum.ts'
import { DROP } from './drops.ts'
import { type PacketView, PROTOCOL_TCP, PROTOCOL_UDP } from './packet.ts'

export const PROTOCOL_ICMP = 1
export const PROTOCOL_ICMPV6 = 58

/** RFC 792. */
export const ICMP4 = {
  ECHO_REPLY: 0,
  UNREACHABLE: 3,
  ECHO: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
} as const
/** Code of UNREACHABLE (RFC 1191). */
export const FRAGMENTATION_NEEDED = 4
/** RFC 4443. */
export const ICMP6 = {
  UNREACHABLE: 1,
  TOO_BIG: 2,
  TIME_EXCEEDED: 3,
  PARAMETER_PROBLEM: 4,
  ECHO: 128,
  ECHO_REPLY: 129,
} as const

/** What of its kinds an ICMP message is to a balancer. */
export const ICMP_KIND = { OTHER: 0, ECHO: 1, TOO_BIG: 2, UNREACHABLE: 3, ERROR: 4 } as const

const HEADER_BYTES = 8
/** RFC 792: the header of the packet that the error is about, and 8 bytes of its data. */
const QUOTED_BYTES = 8
/** More are refused, as in whole packets. */
const MAX_EXTENSION_HEADERS = 8

/** What `parseIcmp` found. One object is reused for every packet. All offsets are absolute in the buffer. */
export interface IcmpView {
  kind: number
  type: number
  code: number
  /** Of the ICMP header. */
  at: number
  /** Of the IP header of the packet that an error is about. */
  inner: number
  /** After the last byte of that packet which is there: of its end, or before extensions (RFC 4884). */
  innerEnd: number
  /** Of its ports. */
  innerL4: number
  /** TCP or UDP. */
  innerProtocol: number
  /** Of its TCP or UDP checksum; 0: cut off, or UDP's 0 (none). */
  innerCheck: number
}

export const createIcmpView = (): IcmpView => ({
  kind: ICMP_KIND.OTHER,
  type: 0,
  code: 0,
  at: 0,
  inner: 0,
  innerEnd: 0,
  innerL4: 0,
  innerProtocol: 0,
  innerCheck: 0,
})

export const isIcmp = ({ family, protocol }: PacketView): boolean =>
  protocol === (family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)

const kindOf4 = (type: number, code: number): number => {
  if (type === ICMP4.ECHO) return ICMP_KIND.ECHO
  if (type === ICMP4.UNREACHABLE)
    return code === FRAGMENTATION_NEEDED ? ICMP_KIND.TOO_BIG : ICMP_KIND.UNREACHABLE
  return type === ICMP4.TIME_EXCEEDED || type === ICMP4.PARAMETER_PROBLEM ? ICMP_KIND.ERROR : ICMP_KIND.OTHER
}

const kindOf6 = (type: number): number => {
  if (type === ICMP6.ECHO) return ICMP_KIND.ECHO
  if (type === ICMP6.TOO_BIG) return ICMP_KIND.TOO_BIG
  if (type === ICMP6.UNREACHABLE) return ICMP_KIND.UNREACHABLE
  return type === ICMP6.TIME_EXCEEDED || type === ICMP6.PARAMETER_PROBLEM ? ICMP_KIND.ERROR : ICMP_KIND.OTHER
}

/**
 * Reads an ICMP (RFC 792) or ICMPv6 (RFC 4443) message: one that parsePacket took for an unfragmented packet, at `offset`. Of an error
 * the packet inside is read too, as far as it is there: it must be of TCP or UDP, with its ports. So an error about an ICMP message,
 * another error among them, goes no further (RFC 1122, section 3.2.2). Lengths inside are hostile: nothing is read past `view.end`.
 *
 * @returns DROP.NONE, or why it goes no further
 */
export function parseIcmp(buf: Uint8Array, offset: number, view: PacketView, out: IcmpView): number {
  const at = view.l4
  const six = view.family === 6
  if (view.end - at < HEADER_BYTES) return DROP.TRUNCATED
  let sum = addBytes(0, buf, at, view.end - at)
  if (six) sum += addBytes(PROTOCOL_ICMPV6 + view.end - at, buf, offset + 8, 32)
  if (fold(sum) !== 0xffff) return DROP.ICMP_CHECKSUM
  out.at = at
  out.type = buf[at]
  out.code = buf[at + 1]
  out.kind = six ? kindOf6(out.type) : kindOf4(out.type, out.code)
  if (out.kind === ICMP_KIND.OTHER) return DROP.ICMP_TYPE
  if (out.kind === ICMP_KIND.ECHO) return DROP.NONE
  out.inner = at + HEADER_BYTES
  out.innerEnd = quotedEnd(buf, view, out)
  if (out.innerEnd > view.end || out.innerEnd - out.inner < 1) return DROP.ICMP_EMBEDDED
  if (buf[out.inner] >>> 4 !== view.family) return DROP.ICMP_EMBEDDED
  const found = six ? readInner6(buf, out) : readInner4(buf, out)
  return found ? DROP.NONE : DROP.ICMP_EMBEDDED
}

/** RFC 4884: where extensions follow, a length field says where the packet inside ends. Too big ones have none in IPv6. */
function quotedEnd(buf: Uint8Array, view: PacketView, { at, inner, kind }: IcmpView): number {
  if (view.family === 4) {
    const words = buf[at + 5]
    return words === 0 ? view.end : inner + words * 4
  }
  const units = kind === ICMP_KIND.TOO_BIG || buf[at] === ICMP6.PARAMETER_PROBLEM ? 0 : buf[at + 4]
  return units === 0 ? view.end : inner + units * 8
}

function readInner4(buf: Uint8Array, out: IcmpView): boolean {
  const { inner, innerEnd } = out
  if (innerEnd - inner < 20) return false
  const headerLength = (buf[inner] & 0x0f) * 4
  // A later fragment has no ports.
  if (headerLength < 20 || (((buf[inner + 6] & 0x1f) << 8) | buf[inner + 7]) !== 0) return false
  return readPorts(buf, out, buf[inner + 9], inner + headerLength)
}

function readInner6(buf: Uint8Array, out: IcmpView): boolean {
  const { inner, innerEnd } = out
  if (innerEnd - inner < 40) return false
  let next = buf[inner + 6]
  let at = inner + 40
  // Hop-by-hop and destination options, and a first or atomic fragment's header. A routing header would change the destination.
  for (let count = 0; next === 0 || next === 60 || next === 44; count++) {
    if (count === MAX_EXTENSION_HEADERS || at + 8 > innerEnd) return false
    if (next === 44 && (buf[at + 2] | (buf[at + 3] & 0xf8)) !== 0) return false
    const length = next === 44 ? 8 : (buf[at + 1] + 1) * 8
    next = buf[at]
    at += length
  }
  return readPorts(buf, out, next, at)
}

function readPorts(buf: Uint8Array, out: IcmpView, protocol: number, at: number): boolean {
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return false
  if (at + QUOTED_BYTES > out.innerEnd) return false
  out.innerProtocol = protocol
  out.innerL4 = at
  const field = at + (protocol === PROTOCOL_TCP ? 16 : 6)
  const there = field + 2 <= out.innerEnd
  const none = protocol === PROTOCOL_UDP && there && (buf[field] | buf[field + 1]) === 0
  out.innerCheck = there && !none ? field : 0
  return true
}

/** The 32 port bits of the packet inside: source << 16 | destination. */
export const innerPorts = (buf: Uint8Array, { innerL4: at }: IcmpView): number =>
  ((buf[at] << 24) | (buf[at + 1] << 16) | (buf[at + 2] << 8) | buf[at + 3]) >>> 0

/** Source << 16 | destination, the other way round. */
export const mirrored = (ports: number): number => ((ports << 16) | (ports >>> 16)) >>> 0
