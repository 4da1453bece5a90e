/** Addresses that neither a virtual IP nor a node can have. Pure. */
import { isIPv6 } from 'node:net'
import { formatAddress, parseAddress } from '../os/inet.ts'

/** Why other machines cannot reach this address, or undefined. `ip`: a dotted IPv4 address, or an IPv6 address without a zone. */
export const addressFault = (ip: string): string | undefined => (isIPv6(ip) ? fault6(ip) : fault4(ip))

const fault4 = (ip: string): string | undefined => {
  const [first, second] = ip.split('.').map(Number)
  if (first === 127) return 'is a loopback address, which other machines cannot reach'
  if (first === 169 && second === 254) return 'is a link-local address, which no router carries'
  return first === 0 || first! >= 224 ? 'is not a unicast address' : undefined
}

const MAPPED = '00000000000000000000ffff'

/** RFC 4291, sections 2.4 to 2.7; the text is to be that of RFC 5952, so that it is the same everywhere. */
const fault6 = (ip: string): string | undefined => {
  if (ip.includes('%')) return 'has a zone, which means nothing to other machines'
  const bytes = parseAddress(ip)
  const hex = bytes.toString('hex')
  if (hex === `${'0'.repeat(31)}1`) return 'is a loopback address, which other machines cannot reach'
  if (hex.startsWith(MAPPED)) {
    return `is an IPv4 address in IPv6 clothes; write ${bytes.subarray(12).join('.')}`
  }
  if (bytes[0] === 0xfe && bytes[1]! >= 0x80 && bytes[1]! < 0xc0)
    return 'is a link-local address, which no router carries'
  if (bytes[0] === 0xff || hex.startsWith('0'.repeat(24))) return 'is not a unicast address'
  const canonical = formatAddress(bytes)
  return ip === canonical ? undefined : `is not in its usual form; write ${canonical}`
}
