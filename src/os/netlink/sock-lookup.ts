/** The socket of one connection, as the kernel would find it for a packet (sock_diag(7)). */
import { OsError } from '../../errors.ts'
import { parseAddress } from '../inet.ts'
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

/**
 * State of the socket that a packet from `remote` to `local` would meet in this thread's network namespace: of the connection, else
 * one that waits there (`listen`, of UDP `bound`); null when there is none. Throws OsError.
 */
export const findSocket = (
  protocol: 'tcp' | 'udp',
  local: SocketEnd,
  remote: SocketEnd,
): SocketState | null => {
  const [own, other] = [parseAddress(local.address), parseAddress(remote.address)]
  const body = Buffer.alloc(REQUEST_BYTES)
  body[0] = own.length === 4 ? AF_INET : AF_INET6
  body[1] = PROTOCOLS[protocol]
  body.writeUInt32LE(ALL_STATES, 4)
  body.writeUInt16BE(local.port, SPORT)
  body.writeUInt16BE(remote.port, DPORT)
  body.set(own, SRC)
  body.set(other, DST)
  body.fill(0xff, COOKIE) // INET_DIAG_NOCOOKIE
  const writer = new MessageWriter(128)
  const at = writer.beginMessage(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_ACK)
  writer.raw(body)
  writer.endMessage(at)
  const socket = NetlinkSocket.open(NETLINK_SOCK_DIAG)
  try {
    const replies = socket.request('find a socket', writer.bytes())
    const reply = replies.find(({ type, payload }) => type === SOCK_DIAG_BY_FAMILY && payload.length >= 2)
    if (reply === undefined) return null
    const state = STATES[reply.payload[1]! - 1] ?? 'closed'
    return protocol === 'udp' && state === 'closed' ? 'bound' : state
  } catch (error) {
    if (error instanceof OsError && error.symbol === 'ENOENT') return null
    throw error
  } finally {
    socket.close()
  }
}
