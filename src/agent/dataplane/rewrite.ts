import { checksumField, fold, incremental } from './checksum.ts'
import { type PacketView, PROTOCOL_UDP } from './packet.ts'

/**
 * Replaces both addresses and the 32 port bits of a TCP or UDP packet in place: encapsulation (client, VIP, ports
 * -> forwarder, host, identifier) and its inverse (R-E8). Both checksums are updated incrementally (RFC 1624), right
 * for any identifier; a checksum-neutral one just leaves less to do for a kernel that cannot do this.
 *
 * A UDP checksum of 0 (none) stays 0. A later fragment has no ports: only its addresses change. The view's ports
 * follow the packet.
 *
 * @param source @param destination four words each, of the packet's own family (IPv4 v4-mapped)
 * @param ports source port << 16 | destination port, or a flow identifier
 * @param partialChecksum the L4 field holds only the folded sum of the pseudo-header (virtio NEEDS_CSUM): ports are
 *   not in it yet, and it is not inverted
 */
export function rewriteTuple(
  buf: Uint8Array,
  offset: number,
  view: PacketView,
  source: Uint32Array,
  sourceAt: number,
  destination: Uint32Array,
  destinationAt: number,
  ports: number,
  partialChecksum: boolean,
): void {
  let oldSum = 0
  let newSum = 0
  if (view.family === 4) {
    oldSum =
      replaceWord(buf, offset + 12, source[sourceAt + 3]) +
      replaceWord(buf, offset + 16, destination[destinationAt + 3])
    newSum = wordSum(source[sourceAt + 3]) + wordSum(destination[destinationAt + 3])
    writeWord16(buf, offset + 10, incremental(readWord16(buf, offset + 10), fold(oldSum), fold(newSum)))
  } else {
    for (let i = 0; i < 4; i++) {
      oldSum += replaceWord(buf, offset + 8 + 4 * i, source[sourceAt + i])
      oldSum += replaceWord(buf, offset + 24 + 4 * i, destination[destinationAt + i])
      newSum += wordSum(source[sourceAt + i]) + wordSum(destination[destinationAt + i])
    }
  }
  if (view.fragmentOffset !== 0) return

  const at = view.l4
  const oldPorts = replaceWord(buf, at, ports)
  view.sourcePort = ports >>> 16
  view.destinationPort = ports & 0xffff
  const field = at + checksumField(view.protocol)
  const check = readWord16(buf, field)
  if (partialChecksum) {
    writeWord16(buf, field, fold(check + (~fold(oldSum) & 0xffff) + fold(newSum)))
    return
  }
  const udp = view.protocol === PROTOCOL_UDP
  if (udp && check === 0) return
  const result = incremental(check, fold(oldSum + oldPorts), fold(newSum + wordSum(ports)))
  writeWord16(buf, field, udp && result === 0 ? 0xffff : result)
}

/**
 * One hop: TTL or hop limit down by one, with the IPv4 checksum.
 * @returns false, and the packet untouched, if that would use it up (RFC 1812, section 5.3.1)
 */
export function decrementTtl(buf: Uint8Array, offset: number, view: PacketView): boolean {
  if (view.ttl <= 1) return false
  view.ttl--
  if (view.family === 6) {
    buf[offset + 7] = view.ttl
    return true
  }
  const before = readWord16(buf, offset + 8)
  buf[offset + 8] = view.ttl
  writeWord16(buf, offset + 10, incremental(readWord16(buf, offset + 10), before, before - 0x100))
  return true
}

/** Writes a 32-bit word and returns the sum of the two 16-bit words that stood there. */
function replaceWord(buf: Uint8Array, at: number, word: number): number {
  const sum = readWord16(buf, at) + readWord16(buf, at + 2)
  buf[at] = word >>> 24
  buf[at + 1] = word >>> 16
  buf[at + 2] = word >>> 8
  buf[at + 3] = word
  return sum
}

const wordSum = (word: number): number => (word >>> 16) + (word & 0xffff)

const readWord16 = (buf: Uint8Array, at: number): number => (buf[at] << 8) | buf[at + 1]

function writeWord16(buf: Uint8Array, at: number, value: number): void {
  buf[at] = value >>> 8
  buf[at + 1] = value
}
