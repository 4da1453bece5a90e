/** The socket of one connection, as the kernel would find it for a packet (sock_diag(7)). */
import { OsError } from '../../errors.ts'
import { parseAddress } from '../inet.ts'
import { openInNetns } from '../netns-visit.ts'
import { MessageWriter, NLM_F_ACK, NLM_F_REQUEST } from './codec.ts'
import { AF_INET, AF_INET6 } from './rtnetlink.ts'
import { NetlinkSocket } from './socket.ts'

const NETLINK_SOCK_DIAG = 4
const SOCK_DIAG_BY_FAMILY = 20
const PROTOCOLS = { tcp: 6, udp: 17 }
const ALL_STATES = 0xffffffff
/** struct inet_diag_req_v2 { u8 family, protocol, ext, pad; u32 states; sockid { be16 sport, dport; be32 src[4], dst[4]; u32 if, cookie[2] } } */
const REQUEST_BYTES = 56
const [SPORT, DPORT, SRC, DST, COOKIE] = [8, 10, 12, 28, 48]
/** include/net/tcp_states.h, from 1. */
const STATES = [
  'established',
  'syn-sent',
  'syn-received',
  'fin-wait-1',
  'fin-wait-2',
  'time-wait',
  'closed',
  'close-wait',
  'last-ack',
  'listen',
  'closing',
  'syn-received',
] as const

export type SocketState = (typeof STATES)[number] | 'bound'

export interface SocketEnd {
  readonly address: string
  readonly port: number
}

/** UDP takes the ends the other way round, as from the packet that is looked for (udp_diag.c, udp_dump_one). */
const requestOf = (protocol: 'tcp' | 'udp', local: SocketEnd, remote: SocketEnd): Buffer => {
  const [source, destination] = protocol === 'tcp' ? [local, remote] : [remote, local]
  const [from, to] = [parseAddress(source.address), parseAddress(destination.address)]
  const body = Buffer.alloc(REQUEST_BYTES)
  body[0] = from.length === 4 ? AF_INET : AF_INET6
  body[1] = PROTOCOLS[protocol]
  body.writeUInt32LE(ALL_STATES, 4)
  body.writeUInt16BE(source.port, SPORT)
  body.writeUInt16BE(destination.port, DPORT)
  body.set(from, SRC)
  body.set(to, DST)
  body.fill(0xff, COOKIE) // INET_DIAG_NOCOOKIE
  const writer = new MessageWriter(128)
  const at = writer.beginMessage(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_ACK)
  writer.raw(body)
  writer.endMessage(at)
  return writer.bytes()
}

/** Looks for sockets of one network namespace, one after another. */
export class SocketFinder {
  readonly #socket: NetlinkSocket

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket
  }

  /** In this thread's network namespace, or in that at a path such as `/proc/<pid>/ns/net`, which it keeps alive until `close`. Throws OsError. */
  static open(netns?: string): SocketFinder {
    const open = (): NetlinkSocket => NetlinkSocket.open(NETLINK_SOCK_DIAG)
    return new SocketFinder(netns === undefined ? open() : openInNetns(netns, open))
  }

  /**
   * State of the socket that a packet from `remote` to `local` would meet: of the connection, else one that waits there (`listen`, of
   * UDP `bound`); null when there is none. Those that are bound to an interface are not found. Throws OsError.
   */
  find(protocol: 'tcp' | 'udp', local: SocketEnd, remote: SocketEnd): SocketState | null {
    try {
      const replies = this.#socket.request('find a socket', requestOf(protocol, local, remote))
      const reply = replies.find(({ type, payload }) => type === SOCK_DIAG_BY_FAMILY && payload.length >= 2)
      if (reply === undefined) return null
      const state = STATES[reply.payload[1]! - 1] ?? 'closed'
      return protocol === 'udp' && state === 'closed' ? 'bound' : state
    } catch (error) {
      if (error instanceof OsError && error.symbol === 'ENOENT') return null
      throw error
    }
  }

  close(): void {
    this.#socket.close()
  }
}

/** The same once, in this thread's network namespace. */
export const findSocket = (
  protocol: 'tcp' | 'udp',
  local: SocketEnd,
  remote: SocketEnd,
): SocketState | null => {
  const finder = SocketFinder.open()
  try {
    return finder.find(protocol, local, remote)
  } finally {
    finder.close()
  }
}
