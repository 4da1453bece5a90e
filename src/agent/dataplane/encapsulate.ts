/**
 * Full encapsulation (R-A4): a packet whole in another IP packet of its family (RFC 2003; RFC 2473, section 3). The kernel's half, byte for
 * byte: xdp/bpf/encap.h and decap.h.
 */
import { fold, ipv4HeaderChecksum } from './checksum.ts'
import { DROP } from './drops.ts'
import { PROTOCOL_TCP, PROTOCOL_UDP, parsePacket } from './packet.ts'
import type { PacketRef } from './packet-ref.ts'

/** IP protocol numbers of an IPv4 and of an IPv6 packet inside of another. */
const IPIP = 4
const IPV6 = 41
const OUTER_TTL = 64
const ECN = 3
const ECT1 = 1
const CE = 3

export type Family = 4 | 6

/** What a packet becomes larger by. */
export const outerBytes = (family: Family): number => (family === 4 ? 20 : 40)

/**
 * Writes the outer header to `out`, for an inner packet of `length` bytes at `offset` of `buf`. Identification 0 if the packet must not be
 * fragmented (RFC 6864, section 4); else it is left at 0 too, for the kernel to choose.
 * @param source four words, as `destination` (see flow-key.ts)
 */
export const writeOuter = (
  out: Uint8Array,
  buf: Uint8Array,
  offset: number,
  length: number,
  source: Uint32Array,
  destination: Uint32Array,
): void => {
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength)
  if (buf[offset] >>> 4 === 4) {
    view.setUint16(0, 0x4500 | buf[offset + 1])
    view.setUint16(2, length + 20)
    view.setUint16(4, 0)
    view.setUint16(6, (buf[offset + 6] & 0x40) << 8)
    view.setUint16(8, (OUTER_TTL << 8) | IPIP)
    view.setUint32(12, source[3])
    view.setUint32(16, destination[3])
    view.setUint16(10, ipv4HeaderChecksum(out, 0))
    return
  }
  // Version, traffic class and flow label are the inner ones.
  out.set(buf.subarray(offset, offset + 4))
  view.setUint16(4, length)
  view.setUint16(6, (IPV6 << 8) | OUTER_TTL)
  for (let i = 0; i < 4; i++) {
    view.setUint32(8 + 4 * i, source[i])
    view.setUint32(24 + 4 * i, destination[i])
  }
}

/** Whether what parsePacket refused for its protocol may hold a whole packet; `packet.view` is of that. */
export const isEncapsulated = ({ view }: PacketRef): boolean =>
  (view.protocol === IPIP || view.protocol === IPV6) && !view.fragment

/**
 * Takes the inner packet out: `packet` is that one afterwards. Answers DROP.NONE, or why it cannot be carried. Whether it comes from a tunnel
 * address, and to a service, is for the caller to see.
 * @param packet whose `buf`, `offset` and `view` are of the outer one; the rest of it is as the ring gave it
 */
export const takeOut = (packet: PacketRef): number => {
  const { view, buf, offset } = packet
  const { l4: at, end, protocol, family } = view
  if (at >= end || buf[at] >>> 4 !== (protocol === IPIP ? 4 : 6)) return DROP.BAD_VERSION
  const outer = ecnOf(buf, offset, family)
  const reason = parsePacket(buf, at, end - at, view)
  if (reason !== DROP.NONE) return reason
  if (view.fragment) return DROP.FRAGMENT
  if (view.protocol !== PROTOCOL_TCP && view.protocol !== PROTOCOL_UDP) return DROP.UNSUPPORTED_PROTOCOL
  const inner = ecnOf(buf, at, view.family)
  // RFC 6040, section 4.2.
  if (outer === CE && inner === 0) return DROP.CONGESTION_LOST
  if (inner !== 0 && (outer === CE || (outer === ECT1 && inner !== CE))) setEcn(buf, at, view.family, outer)
  packet.offset = at
  packet.length = view.end - at
  return DROP.NONE
}

const ecnOf = (buf: Uint8Array, at: number, family: Family): number =>
  (family === 4 ? buf[at + 1] : buf[at + 1] >>> 4) & ECN

const setEcn = (buf: Uint8Array, at: number, family: Family, ecn: number): void => {
  if (family === 6) {
    buf[at + 1] = (buf[at + 1] & ~(ECN << 4)) | (ecn << 4)
    return
  }
  const before = (buf[at] << 8) | buf[at + 1]
  buf[at + 1] = (buf[at + 1] & ~ECN) | ecn
  const check = (buf[at + 10] << 8) | buf[at + 11]
  const sum = ~fold((~check & 0xffff) + (~before & 0xffff) + ((buf[at] << 8) | buf[at + 1]))
  buf[at + 10] = sum >>> 8
  buf[at + 11] = sum
}
