import { ShuntError } from '../../errors.ts'
import { formatAddress, parseAddress } from '../inet.ts'
import { readAttributes } from './codec.ts'
import { linkAt } from './links.ts'
import { familyOf, routeDump, routeRequest } from './rtnetlink.ts'

export { addAddress, addresses, deleteAddress, type InterfaceAddress, leaseAddress } from './addresses.ts'
export { type Link, link, linkAt, links, setLinkUp } from './links.ts'

const RTM_NEWROUTE = 24
const RTM_GETROUTE = 26
const RTN_LOCAL = 2
// struct rtmsg { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags; }
const ROUTE_HEADER_BYTES = 12
const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PREFSRC = 7
const RTA_METRICS = 8
const RTAX_MTU = 2
const RTA_VIA = 18 // a next hop of another family: u16 family, then the address

const RTM_NEWNEIGH = 28
const RTM_GETNEIGH = 30
// struct ndmsg { u8 family; u8 pad[3]; i32 index; u16 state; u8 flags; u8 type; }
const NEIGHBOUR_HEADER_BYTES = 12
const NDA_DST = 1
const NDA_LLADDR = 2
const NEIGHBOUR_STATES = [
  'incomplete',
  'reachable',
  'stale',
  'delay',
  'probe',
  'failed',
  'noarp',
  'permanent',
] as const

export interface RouteAnswer {
  interfaceIndex: number
  /** Next hop, or null if the destination is on the link. */
  gateway: string | null
  /** The source address that the kernel would choose. */
  source: string | null
  /** Bytes: the route's own, or what was learnt of its path; null: what the link has. */
  mtu: number | null
  /** The destination is an address of this namespace. */
  local: boolean
}

/** Asks which way the kernel would send a packet. Throws OsError (ENETUNREACH, EHOSTUNREACH: no route). */
export const routeGet = (destination: string): RouteAnswer => {
  const address = parseAddress(destination)
  const header = new Uint8Array(ROUTE_HEADER_BYTES)
  header[0] = familyOf(address)
  header[1] = address.length * 8
  const replies = routeRequest(`get route to ${destination}`, RTM_GETROUTE, 0, header, writer => {
    writer.attribute(RTA_DST, address)
  })
  const reply = replies.find(({ type }) => type === RTM_NEWROUTE)
  if (reply === undefined) {
    throw new ShuntError('SHUNT_ERR_OS', `the kernel did not answer for the route to ${destination}`)
  }
  const attributes = readAttributes(reply.payload, ROUTE_HEADER_BYTES)
  const metrics = attributes.get(RTA_METRICS)
  const text = (bytes: Buffer | undefined): string | null =>
    bytes === undefined ? null : formatAddress(bytes)
  return {
    interfaceIndex: attributes.get(RTA_OIF)?.readUInt32LE(0) ?? 0,
    gateway: text(attributes.get(RTA_GATEWAY) ?? attributes.get(RTA_VIA)?.subarray(2)),
    source: text(attributes.get(RTA_PREFSRC)),
    mtu: metrics === undefined ? null : (readAttributes(metrics).get(RTAX_MTU)?.readUInt32LE(0) ?? null),
    local: reply.payload[7] === RTN_LOCAL,
  }
}

/** Bytes of the largest packet that the way to an address takes. Throws as routeGet does. */
export const routeMtu = (destination: string): number => {
  const { mtu, interfaceIndex } = routeGet(destination)
  return mtu ?? linkAt(interfaceIndex).mtu
}

export interface Neighbour {
  interfaceIndex: number
  address: string
  /** Null while it is not resolved. */
  mac: string | null
  state: (typeof NEIGHBOUR_STATES)[number] | 'none'
}

/** The neighbour (ARP and ND) tables. */
export const neighbours = (): Neighbour[] =>
  routeDump('list neighbours', RTM_GETNEIGH, new Uint8Array(NEIGHBOUR_HEADER_BYTES))
    .filter(reply => reply.type === RTM_NEWNEIGH)
    .flatMap(({ payload }) => {
      const attributes = readAttributes(payload, NEIGHBOUR_HEADER_BYTES)
      const address = attributes.get(NDA_DST)
      if (address === undefined) return [] // a bridge's forwarding entry
      const mac = attributes.get(NDA_LLADDR)
      const state = payload.readUInt16LE(8)
      return {
        interfaceIndex: payload.readInt32LE(4),
        address: formatAddress(address),
        mac: mac === undefined ? null : (mac.toString('hex').match(/../g) ?? []).join(':'),
        state: NEIGHBOUR_STATES[31 - Math.clz32(state)] ?? 'none',
      }
    })
