/** ICMP messages for tests, built and taken apart by the RFCs, with no code of the data plane. */
import { addressBytes, buildIp4, buildIp6, join, onesSum, type PacketOptions } from './packets.ts'

export type Family = 4 | 6

export interface IcmpOptions extends Pick<PacketOptions, 'ttl' | 'padding' | 'ipOptions'> {
  source: string
  destination: string
  type: number
  code?: number
  /** The second word of the header. */
  word?: number
  /** What follows the header: the packet inside, or an echo's data. */
  body?: Uint8Array
  wrongChecksum?: boolean
}

export const buildIcmp = (family: Family, o: IcmpOptions): Uint8Array => {
  const message = join(new Uint8Array(8), o.body ?? new Uint8Array(0))
  const view = new DataView(message.buffer)
  view.setUint8(0, o.type)
  view.setUint8(1, o.code ?? 0)
  view.setUint32(4, o.word ?? 0)
  const check =
    0xffff - onesSum(family === 4 ? message : join(pseudo(o.source, o.destination, message.length), message))
  view.setUint16(2, o.wrongChecksum ? check ^ 1 : check)
  return family === 4 ? buildIp4(1, message, o) : buildIp6(58, message, o)
}

const pseudo = (source: string, destination: string, length: number): Uint8Array =>
  join(
    addressBytes(source),
    addressBytes(destination),
    Uint8Array.of(0, 0, length >> 8, length & 255, 0, 0, 0, 58),
  )

/** Offset of the ICMP header. */
export const icmpAt = (bytes: Uint8Array): number => (bytes[0]! >>> 4 === 4 ? (bytes[0]! & 15) * 4 : 40)
/** The packet inside an error, with extensions. */
export const quotedOf = (bytes: Uint8Array): Uint8Array => bytes.slice(icmpAt(bytes) + 8)

/** What is wrong with the checksums of a message; empty: all right. */
export const icmpFaults = (bytes: Uint8Array): string[] => {
  const at = icmpAt(bytes)
  const message = bytes.subarray(at)
  if (bytes[0]! >>> 4 === 4)
    return [
      ...(onesSum(bytes.subarray(0, at)) === 0xffff ? [] : ['IPv4 header']),
      ...(onesSum(message) === 0xffff ? [] : ['ICMP']),
    ]
  const head = join(
    bytes.subarray(8, 40),
    Uint8Array.of(0, 0, message.length >> 8, message.length & 255, 0, 0, 0, 58),
  )
  return onesSum(join(head, message)) === 0xffff ? [] : ['ICMPv6']
}

/** Source and destination of an IP header as bytes, and the first four bytes of what follows it. */
export const endsOf = (
  bytes: Uint8Array,
): { source: string; destination: string; ports: [number, number] } => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const four = bytes[0]! >>> 4 === 4
  const l4 = four ? (bytes[0]! & 15) * 4 : 40
  const text = (from: number): string =>
    four
      ? bytes.slice(from, from + 4).join('.')
      : Array.from({ length: 8 }, (_, i) => view.getUint16(from + 2 * i).toString(16)).join(':')
  return {
    source: text(four ? 12 : 8),
    destination: text(four ? 16 : 24),
    ports: [view.getUint16(l4), view.getUint16(l4 + 2)],
  }
}

/** The ICMP checksum that stands in a message, and what it should be. */
export const checkOf = (bytes: Uint8Array): number =>
  (bytes[icmpAt(bytes) + 2]! << 8) | bytes[icmpAt(bytes) + 3]!
export const setCheck = (bytes: Uint8Array, check: number): void =>
  bytes.set([check >>> 8, check & 255], icmpAt(bytes) + 2)
export const rightCheck = (bytes: Uint8Array): number => {
  const copy = bytes.slice()
  setCheck(copy, 0)
  const message = copy.subarray(icmpAt(copy))
  const length = Uint8Array.of(0, 0, message.length >> 8, message.length & 255, 0, 0, 0, 58)
  return 0xffff - onesSum(copy[0]! >>> 4 === 4 ? message : join(copy.subarray(8, 40), length, message))
}
