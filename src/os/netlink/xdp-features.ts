/** What XDP a driver can do (generic netlink family "netdev", Linux 6.3), without attaching anything. */
import { MessageWriter, type NetlinkMessage, NLM_F_ACK, NLM_F_REQUEST, readAttributes } from './codec.ts'
import { NetlinkSocket } from './socket.ts'

const NETLINK_GENERIC = 16
const CONTROLLER = 16 // GENL_ID_CTRL
const CTRL_GETFAMILY = 3
const CTRL_FAMILY_ID = 1
const CTRL_FAMILY_NAME = 2
const NETDEV_DEV_GET = 1
const NETDEV_IFINDEX = 1
const NETDEV_XDP_FEATURES = 3
const HEADER_BYTES = 4 // struct genlmsghdr { u8 cmd, version; u16 reserved; }

export interface XdpFeatures {
  /** Programs in the driver (native mode) with all verdicts but redirect. */
  basic: boolean
  redirect: boolean
  /** Takes packets that another interface redirects to it. A veth says so only while its peer receives by NAPI. */
  target: boolean
  /** Packets in several buffers (jumbo MTU), for programs of the kind xdp.frags. */
  frags: boolean
}

const ask = (
  socket: NetlinkSocket,
  what: string,
  type: number,
  command: number,
  attributes: (writer: MessageWriter) => void,
): NetlinkMessage | undefined => {
  const writer = new MessageWriter(256)
  const at = writer.beginMessage(type, NLM_F_REQUEST | NLM_F_ACK)
  writer.raw(Uint8Array.of(command, 1, 0, 0))
  attributes(writer)
  writer.endMessage(at)
  return socket.request(what, writer.bytes()).find(reply => reply.type === type)
}

/**
 * Asks for an interface (index) of the calling thread's network namespace; `null` when the kernel does not tell.
 * Throws OsError (ENODEV: no such interface).
 */
export const xdpFeatures = (interfaceIndex: number): XdpFeatures | null => {
  const socket = NetlinkSocket.open(NETLINK_GENERIC)
  try {
    let family: number | undefined
    try {
      const reply = ask(socket, 'find the netdev family', CONTROLLER, CTRL_GETFAMILY, writer => {
        writer.string(CTRL_FAMILY_NAME, 'netdev')
      })
      family = reply && readAttributes(reply.payload, HEADER_BYTES).get(CTRL_FAMILY_ID)?.readUInt16LE(0)
    } catch {
      return null // ENOENT: before Linux 6.3
    }
    if (family === undefined) return null
    const reply = ask(socket, 'ask for XDP features', family, NETDEV_DEV_GET, writer => {
      writer.u32(NETDEV_IFINDEX, interfaceIndex)
    })
    const value = reply && readAttributes(reply.payload, HEADER_BYTES).get(NETDEV_XDP_FEATURES)
    if (value === undefined) return null
    const bits = value.readUInt32LE(0)
    const has = (bit: number): boolean => (bits & (1 << bit)) !== 0
    return { basic: has(0), redirect: has(1), target: has(2), frags: has(5) }
  } finally {
    socket.close()
  }
}
