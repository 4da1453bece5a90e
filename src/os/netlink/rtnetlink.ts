import { MessageWriter, type NetlinkMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST } from './codec.ts'
import { NETLINK_ROUTE, NetlinkSocket } from './socket.ts'

export const AF_INET = 2
export const AF_INET6 = 10

/** The kernel's address family of 4 or 16 bytes. */
export const familyOf = (address: Uint8Array): number => (address.length === 4 ? AF_INET : AF_INET6)

/**
 * One rtnetlink request (rtnetlink(7)) on a socket of its own, in the calling thread's network namespace. `flags`
 * are added to NLM_F_REQUEST and NLM_F_ACK, or to NLM_F_REQUEST only if they ask for a dump. Throws OsError.
 */
export const routeRequest = (
  what: string,
  type: number,
  flags: number,
  header: Uint8Array,
  attributes: (writer: MessageWriter) => void = () => {},
): NetlinkMessage[] => {
  const writer = new MessageWriter(256)
  const isDump = (flags & NLM_F_DUMP) === NLM_F_DUMP
  const at = writer.beginMessage(type, NLM_F_REQUEST | flags | (isDump ? 0 : NLM_F_ACK))
  writer.raw(header)
  attributes(writer)
  writer.endMessage(at)
  const socket = NetlinkSocket.open(NETLINK_ROUTE)
  try {
    return socket.request(what, writer.bytes())
  } finally {
    socket.close()
  }
}

export const routeDump = (what: string, type: number, header: Uint8Array): NetlinkMessage[] =>
  routeRequest(what, type, NLM_F_DUMP, header)
