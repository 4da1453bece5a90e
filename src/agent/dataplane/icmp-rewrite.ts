import { fold, incremental } from './checksum.ts'
import type { IcmpView } from './icmp-packet.ts'
import { type PacketView, PROTOCOL_UDP } from './packet.ts'

/** Addresses of an ICMP error, as it is to be: four words each from `at`, of the packet's own family (IPv4 v4-mapped). */
export interface IcmpTuple {
  /** Who tells of the error. */
  readonly source: Uint32Array
  readonly sourceAt: number
  /** Who sent the packet inside, and so gets the error. */
  readonly sender: Uint32Array
  readonly senderAt: number
  /** Whom the packet inside was for. */
  readonly receiver: Uint32Array
  readonly receiverAt: number
  /** Of the packet inside: source << 16 | destination. */
  readonly ports: number
}

/**
 * Gives an ICMP error, in place, the addresses of another form of the flow that it is about: for a host in tunnelled form, or back.
 *
 *   from a client's path:  router -> VIP            about  VIP:port -> client:port
 *   to the host:           tunnel address -> host   about  host -> tunnel address, the identifier in the ports, reversed
 *   from a host's path:    router -> tunnel address about  tunnel address -> host, the identifier in the ports
 *   to the client:         VIP -> client            about  client:port -> VIP:port
 *
 * No byte is added, so lengths and the MTU that it tells stay as they are, and so do extensions (RFC 4884). All checksums follow
 * incrementally (RFC 1624): the IPv4 header's, the ICMP one (for IPv6 with its pseudo-header, RFC 4443 section 2.3), and of the packet inside
 * those that are there. One that was wrong stays wrong by as much, but for ffff, which becomes 0000, the same number.
 */
export function rewriteIcmp(
  buf: Uint8Array,
  offset: number,
  view: PacketView,
  icmp: IcmpView,
  tuple: IcmpTuple,
): void {
  const { source, sourceAt, sender, senderAt, receiver, receiverAt, ports } = tuple
  const { inner, innerL4, innerCheck } = icmp
  // Of all words that the ICMP checksum covers.
  const covered = { old: 0, new: 0 }
  // Of those that the checksums of the packet inside cover.
  const within = { old: 0, new: 0 }
  if (view.family === 4) {
    const outer = { old: 0, new: 0 }
    replaceWord(buf, offset + 12, source[sourceAt + 3], outer)
    replaceWord(buf, offset + 16, sender[senderAt + 3], outer)
    update(buf, offset + 10, outer, false)
    replaceWord(buf, inner + 12, sender[senderAt + 3], within)
    replaceWord(buf, inner + 16, receiver[receiverAt + 3], within)
    change(covered, update(buf, inner + 10, within, false))
  } else {
    for (let i = 0; i < 4; i++) {
      replaceWord(buf, offset + 8 + 4 * i, source[sourceAt + i], covered)
      replaceWord(buf, offset + 24 + 4 * i, sender[senderAt + i], covered)
      replaceWord(buf, inner + 8 + 4 * i, sender[senderAt + i], within)
      replaceWord(buf, inner + 24 + 4 * i, receiver[receiverAt + i], within)
    }
  }
  replaceWord(buf, innerL4, ports, within)
  change(covered, within)
  if (innerCheck !== 0) change(covered, update(buf, innerCheck, within, icmp.innerProtocol === PROTOCOL_UDP))
  update(buf, icmp.at + 2, covered, false)
}

interface Change {
  old: number
  new: number
}

function change(sum: Change, by: Change): void {
  sum.old += by.old
  sum.new += by.new
}

/** Brings the checksum at `at` up to date; answers what became of it. */
function update(buf: Uint8Array, at: number, by: Change, udp: boolean): Change {
  const before = readWord16(buf, at)
  const result = incremental(before, fold(by.old), fold(by.new))
  // 0 would say that there is none (RFC 768).
  const after = udp && result === 0 ? 0xffff : result
  buf[at] = after >>> 8
  buf[at + 1] = after
  return { old: before, new: after }
}

function replaceWord(buf: Uint8Array, at: number, word: number, sum: Change): void {
  sum.old += readWord16(buf, at) + readWord16(buf, at + 2)
  sum.new += (word >>> 16) + (word & 0xffff)
  buf[at] = word >>> 24
  buf[at + 1] = word >>> 16
  buf[at + 2] = word >>> 8
  buf[at + 3] = word
}

const readWord16 = (buf: Uint8Array, at: number): number => (buf[at] << 8) | buf[at + 1]

/**
 * Takes the bytes that an encapsulation adds off the MTU that a "too big" tells, in place: what is left for the packet within. An MTU of 0
 * (a router from before RFC 1191) stays 0, and one that leaves nothing becomes it: the sender then goes by its own table.
 * @returns the MTU that it tells now, in bytes
 */
export function subtractOverhead(
  buf: Uint8Array,
  icmp: IcmpView,
  family: 4 | 6,
  overheadBytes: number,
): number {
  const at = icmp.at + 4
  // IPv6 has 32 bits for it, of which more than 16 mean no limit that matters.
  const high = family === 4 ? 0 : readWord16(buf, at)
  const before = high !== 0 ? 0xffff : readWord16(buf, at + 2)
  const after = Math.max(0, before - overheadBytes)
  const by = { old: high + readWord16(buf, at + 2), new: after }
  if (family === 6) buf[at] = buf[at + 1] = 0
  buf[at + 2] = after >>> 8
  buf[at + 3] = after
  update(buf, icmp.at + 2, by, false)
  return after
}
