/** The kernel's tables of sockets, /proc/PID/net/{tcp,tcp6,udp,udp6} (proc_pid_net(5)), as text. Pure. */
import { formatAddress } from './inet.ts'
import type { ListeningSocket } from './netlink/sock-diag.ts'

export const SOCKET_TABLES = [
  ['tcp', 'tcp'],
  ['tcp6', 'tcp'],
  ['udp', 'udp'],
  ['udp6', 'udp'],
] as const

/** include/net/tcp_states.h, as the tables print it. */
export const LISTEN = '0A'
export const ESTABLISHED = '01'
/** An unconnected UDP socket is in TCP_CLOSE. */
const WAITING = { tcp: LISTEN, udp: '07' }

export interface TableLine {
  readonly state: string
  readonly socket: ListeningSocket
}

/** The kernel prints 32-bit words in the machine's byte order, which is little-endian on all that we run on. */
const parseHexAddress = (hex: string): string => {
  const bytes = Buffer.from(hex, 'hex')
  for (let at = 0; at < bytes.length; at += 4) bytes.subarray(at, at + 4).reverse()
  // An IPv4 address that an IPv6 socket is bound to (RFC 4291, 2.5.5.2).
  const isMapped = bytes.length === 16 && bytes.readUIntBE(0, 6) === 0 && bytes.readUIntBE(6, 6) === 0xffff
  return formatAddress(isMapped ? bytes.subarray(12) : bytes)
}

//         sl  local address          remote  state     tx   rx              timer retr uid    timeout inode
const LINE =
  /^ *\d+: ((?:[\dA-F]{8}|[\dA-F]{32})):([\dA-F]{4}) \S+ ([\dA-F]{2}) [\dA-F]+:([\dA-F]+) \S+ \S+ +(\d+) +\d+ (\d+) /

/** One line of /proc/net/{tcp,tcp6,udp,udp6}; null for the heading and what is cut or strange. */
export const parseTableLine = (line: string, protocol: 'tcp' | 'udp'): TableLine | null => {
  const match = LINE.exec(line)
  if (match === null) return null
  const [, address, port, state, rx, uid, inode] = match as unknown as string[]
  const isListening = protocol === 'tcp' && state === LISTEN
  return {
    state: state!,
    socket: {
      protocol,
      address: parseHexAddress(address!),
      port: Number.parseInt(port!, 16),
      inode: Number(inode),
      uid: Number(uid),
      queue: isListening ? Number.parseInt(rx!, 16) : 0,
      backlog: 0,
      v6only: false,
    },
  }
}

/** Whether it waits for clients: a listening TCP socket, or an unconnected UDP socket. */
export const isWaiting = ({ state, socket }: TableLine): boolean => state === WAITING[socket.protocol]
