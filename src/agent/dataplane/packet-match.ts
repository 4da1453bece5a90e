/** Whether a packet is one of those that a capture wants. Pure; reads no byte that is not there. */
import { readIpv4, readIpv6 } from './flow-key.ts'

export interface PacketFilter {
  /** Four words each, as in flow-key.ts. */
  readonly vip: Uint32Array
  readonly client: Uint32Array
  readonly mask: Uint32Array
  /** Of the VIP; 0: any. */
  readonly port: number
}

const TCP = 6
const UDP = 17
const address = new Uint32Array(8)

const equal = (filter: PacketFilter): boolean => {
  for (let i = 0; i < 4; i++)
    if (address[4 + i] !== filter.vip[i] || (address[i]! & filter.mask[i]!) >>> 0 !== filter.client[i])
      return false
  return true
}

/** Of a packet whose IP header is at `at`. Like bpf/capture.h: a fragment, or what has no ports, may be of any port. */
export const matches = (filter: PacketFilter, bytes: Uint8Array, at: number): boolean => {
  const version = at < bytes.length ? bytes[at]! >> 4 : 0
  if (version === 4 && at + 20 <= bytes.length) {
    readIpv4(bytes, at + 12, address, 0)
    readIpv4(bytes, at + 16, address, 4)
    const isFragment = (((bytes[at + 6]! << 8) | bytes[at + 7]!) & 0x3fff) !== 0
    const header = 4 * (bytes[at]! & 15)
    return (
      equal(filter) && portFits(filter.port, bytes, at + header, bytes[at + 9]!, isFragment || header < 20)
    )
  }
  if (version !== 6 || at + 40 > bytes.length) return false
  readIpv6(bytes, at + 8, address, 0)
  readIpv6(bytes, at + 24, address, 4)
  return equal(filter) && portFits(filter.port, bytes, at + 40, bytes[at + 6]!, false)
}

const portFits = (
  port: number,
  bytes: Uint8Array,
  at: number,
  protocol: number,
  isUnknown: boolean,
): boolean => {
  if (port === 0 || isUnknown || (protocol !== TCP && protocol !== UDP) || at + 4 > bytes.length) return true
  return ((bytes[at + 2]! << 8) | bytes[at + 3]!) === port
}
