/** A captured packet as a line. Pure; what is not there, or is strange, is left out. */
import { formatEndpoint, readIpv4, readIpv6 } from '../agent/dataplane/flow-key.ts'
import type { CapturedPacket } from '../control/types.ts'
import { commentOf } from './pcapng.ts'

const FLAGS = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'] as const
const PROTOCOLS: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6' }

/** Where the IP header is, behind up to two tags; -1: it is none. */
const networkOf = (bytes: Uint8Array): number => {
  let at = 12
  for (let tags = 0; tags < 3 && at + 2 <= bytes.length; tags++, at += 4) {
    const type = (bytes[at]! << 8) | bytes[at + 1]!
    if (type === 0x0800 || type === 0x86dd) return at + 2
    if (type !== 0x8100 && type !== 0x88a8) return -1
  }
  return -1
}

const endText = (words: Uint32Array, at: number, port: number): string =>
  port < 0 ? formatEndpoint(words, at, 0).replace(/:0$/, '') : formatEndpoint(words, at, port)

const packetText = (bytes: Uint8Array): string => {
  const ip = networkOf(bytes)
  const words = new Uint32Array(8)
  const version = ip < 0 || ip >= bytes.length ? 0 : bytes[ip]! >> 4
  if (version === 4 && ip + 20 <= bytes.length) {
    readIpv4(bytes, ip + 12, words, 0)
    readIpv4(bytes, ip + 16, words, 4)
  } else if (version === 6 && ip + 40 <= bytes.length) {
    readIpv6(bytes, ip + 8, words, 0)
    readIpv6(bytes, ip + 24, words, 4)
  } else return 'no IP packet'
  const protocol = bytes[version === 4 ? ip + 9 : ip + 6]!
  const l4 = ip + (version === 4 ? 4 * (bytes[ip]! & 15) : 40)
  const isFragment = version === 4 && (((bytes[ip + 6]! << 8) | bytes[ip + 7]!) & 0x3fff) !== 0
  const hasPorts = (protocol === 6 || protocol === 17) && !isFragment && l4 + 4 <= bytes.length
  const port = (at: number): number => (hasPorts ? (bytes[at]! << 8) | bytes[at + 1]! : -1)
  const flags =
    protocol === 6 && hasPorts && l4 + 14 <= bytes.length
      ? ` [${FLAGS.filter((_, i) => (bytes[l4 + 13]! & (1 << i)) !== 0).join('')}]`
      : ''
  const kind = PROTOCOLS[protocol] ?? `protocol ${protocol}`
  return `${kind} ${endText(words, 0, port(l4))} > ${endText(words, 4, port(l4 + 2))}${flags}${isFragment ? ' fragment' : ''}`
}

/** Time (UTC), interface, packet, bytes of the frame, what XDP did. */
export const captureLine = (packet: CapturedPacket): string => {
  const time = new Date(Math.floor(packet.timeUs / 1000)).toISOString().slice(11, 23)
  const micro = String(packet.timeUs % 1000).padStart(3, '0')
  const comment = commentOf(packet)
  const text = packetText(Buffer.from(packet.data, 'base64'))
  return `${time}${micro} ${packet.interface} ${text} ${packet.length} bytes${comment === '' ? '' : ` (${comment})`}`
}
