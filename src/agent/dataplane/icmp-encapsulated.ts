import { ICMP_KIND, type IcmpView } from './icmp-packet.ts'
import { type PacketView, PROTOCOL_TCP, PROTOCOL_UDP } from './packet.ts'

/** What carries a whole packet of its own family (encapsulate.ts): as its header says. */
const PROTOCOL = { 4: 4, 6: 41 } as const
const HEADER = { 4: 20, 6: 40 } as const
/** Ports, and what else RFC 792 wants of a packet that an error is about. */
const QUOTED_BYTES = 8

/** The client's packet inside of the packet that an error is about. Offsets are absolute in the buffer; one object is reused. */
export interface QuotedWhole {
  /** Of its IP header. */
  offset: number
  /** Bytes of it that are there. */
  length: number
  protocol: number
  /** Source << 16 | destination. */
  ports: number
}

/**
 * Reads an error about a packet in full encapsulation (R-A4): one that parseIcmp refused with ICMP_EMBEDDED because no TCP or UDP is inside. Both
 * headers must be as forwarders write them, without options, and ports must be there: some routers quote only 8 bytes of what is behind the outer
 * header (RFC 792), of which nobody can say whose it was. Lengths inside are hostile: nothing is read past `view.end`.
 * @returns whether it is one
 */
export function readQuotedWhole(
  buf: Uint8Array,
  view: PacketView,
  icmp: IcmpView,
  out: QuotedWhole,
): boolean {
  const { kind, inner, innerEnd } = icmp
  if (kind !== ICMP_KIND.TOO_BIG && kind !== ICMP_KIND.UNREACHABLE && kind !== ICMP_KIND.ERROR) return false
  const { family } = view
  const header = HEADER[family]
  const at = inner + header
  const ports = at + header
  if (innerEnd > view.end || ports + QUOTED_BYTES > innerEnd) return false
  if (protocolAt(buf, inner, family) !== PROTOCOL[family]) return false
  out.protocol = protocolAt(buf, at, family)
  if (out.protocol !== PROTOCOL_TCP && out.protocol !== PROTOCOL_UDP) return false
  out.offset = at
  out.length = innerEnd - at
  out.ports = ((buf[ports] << 24) | (buf[ports + 1] << 16) | (buf[ports + 2] << 8) | buf[ports + 3]) >>> 0
  return true
}

/** Of an IP header without options that begins there, of no later fragment; -1: it is none. */
const protocolAt = (buf: Uint8Array, at: number, family: 4 | 6): number => {
  if (family === 6) return buf[at] >>> 4 === 6 ? buf[at + 6] : -1
  const offset = ((buf[at + 6] & 0x1f) << 8) | buf[at + 7]
  return buf[at] === 0x45 && offset === 0 ? buf[at + 9] : -1
}
