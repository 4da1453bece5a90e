import { ShuntError } from '../../errors.ts'
import { type NetlinkMessage, readAttributes, readString } from './codec.ts'
import { routeDump, routeRequest } from './rtnetlink.ts'

const RTM_NEWLINK = 16
const RTM_GETLINK = 18
const IFF_UP = 1
// struct ifinfomsg { u8 family; u8 pad; u16 type; i32 index; u32 flags; u32 change; }
const HEADER_BYTES = 16
const IFLA_ADDRESS = 1
const IFLA_IFNAME = 3
const IFLA_MTU = 4
const IFLA_LINKINFO = 18
const IFLA_INFO_KIND = 1

export interface Link {
  index: number
  name: string
  /** Administratively up. */
  up: boolean
  /** Bytes. */
  mtu: number
  /** Link-layer address (`02:00:00:00:00:01`), or null for a device without one, such as a TUN. */
  mac: string | null
  /** `veth`, `tun`, `bridge`, ...; null for physical interfaces and the loopback. */
  kind: string | null
}

/** The interfaces of the calling thread's network namespace. */
export const links = (): Link[] =>
  routeDump('list links', RTM_GETLINK, new Uint8Array(HEADER_BYTES))
    .filter(reply => reply.type === RTM_NEWLINK)
    .map(readLink)

/** One interface by index. Throws OsError (ENODEV). */
export const linkAt = (index: number): Link => {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeInt32LE(index, 4)
  const reply = routeRequest(`get link ${index}`, RTM_GETLINK, 0, header).find(
    ({ type }) => type === RTM_NEWLINK,
  )
  if (reply === undefined)
    throw new ShuntError('SHUNT_ERR_OS', `the kernel did not answer for interface ${index}`)
  return readLink(reply)
}

/** One interface by name. Throws ShuntError naming those that exist. */
export const link = (name: string): Link => {
  const all = links()
  const found = all.find(candidate => candidate.name === name)
  if (found !== undefined) return found
  const names = all.map(candidate => candidate.name).join(', ')
  throw new ShuntError('SHUNT_ERR_OS', `there is no interface ${name} here; there are: ${names}`)
}

/** Sets an interface up; one that is up already is success. Throws OsError, ShuntError for an unknown name. */
export const setLinkUp = (name: string): void => {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeInt32LE(link(name).index, 4)
  header.writeUInt32LE(IFF_UP, 8)
  header.writeUInt32LE(IFF_UP, 12)
  routeRequest(`set link ${name} up`, RTM_NEWLINK, 0, header)
}

const readLink = ({ payload }: NetlinkMessage): Link => {
  const attributes = readAttributes(payload, HEADER_BYTES)
  const mac = attributes.get(IFLA_ADDRESS)
  const info = attributes.get(IFLA_LINKINFO)
  const kind = info === undefined ? undefined : readAttributes(info).get(IFLA_INFO_KIND)
  return {
    index: payload.readInt32LE(4),
    name: readString(attributes.get(IFLA_IFNAME) ?? Buffer.alloc(0)),
    up: (payload.readUInt32LE(8) & IFF_UP) !== 0,
    mtu: attributes.get(IFLA_MTU)?.readUInt32LE(0) ?? 0,
    mac: mac === undefined || mac.length === 0 ? null : (mac.toString('hex').match(/../g) ?? []).join(':'),
    kind: kind === undefined ? null : readString(kind),
  }
}
