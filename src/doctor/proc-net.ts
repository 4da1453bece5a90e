/** The text of /proc/net/{tcp,udp,tcp6,udp6} (proc(5)) as sockets. Pure. */
import { formatIpv4 } from '../os/inet.ts'
import type { SocketFact } from './facts.ts'

const LISTENING = '0A'
const ANY6 = '0'.repeat(32)
const MAPPED = /^0{16}FFFF0000/

/** The kernel prints addresses as words of the machine's order. */
const ipv4 = (hex: string): string => {
  const value = Number.parseInt(hex, 16)
  return formatIpv4(
    (((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0,
  )
}

/** An IPv6 socket counts by the IPv4 addresses that it covers: `::` is taken for 0.0.0.0; others are left out. */
const address = (hex: string): string | null => {
  if (hex.length === 8) return ipv4(hex)
  if (hex === ANY6) return '0.0.0.0'
  return MAPPED.test(hex) ? ipv4(hex.slice(24)) : null
}

/** Lines that are not sockets are left out. */
export const parseProcNet = (text: string, protocol: SocketFact['protocol']): SocketFact[] =>
  text.split('\n').flatMap(line => {
    const [, hex, port, state] =
      /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2}) /.exec(line) ?? []
    const local = hex === undefined ? null : address(hex)
    if (local === null || port === undefined) return []
    return { protocol, address: local, port: Number.parseInt(port, 16), listening: state === LISTENING }
  })
