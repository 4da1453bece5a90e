import { constants } from 'node:os'
import { OsError } from '../../errors.ts'
import { formatAddress, parseAddress } from '../inet.ts'
import { type NetlinkMessage, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, readAttributes } from './codec.ts'
import { familyOf, routeDump, routeRequest } from './rtnetlink.ts'

const RTM_NEWADDR = 20
const RTM_DELADDR = 21
const RTM_GETADDR = 22
// struct ifaddrmsg { u8 family; u8 prefix; u8 flags; u8 scope; u32 index; }
const HEADER_BYTES = 8
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_CACHEINFO = 6
// struct ifa_cacheinfo { u32 preferred, valid (s); u32 created, updated; }
const CACHEINFO_BYTES = 16
const FOR_EVER_S = 0xffffffff
/** IPv6: in force at once, without asking whether somebody else has it (RFC 4862, section 5.4). */
const IFA_F_NODAD = 2

export interface InterfaceAddress {
  interfaceIndex: number
  address: string
  prefixLength: number
  /** Whole seconds, rounded up, until the kernel takes it away; infinite where nothing ends it. */
  validS: number
}

/** All addresses of the calling thread's network namespace, IPv4 and IPv6. */
export const addresses = (): InterfaceAddress[] =>
  routeDump('list addresses', RTM_GETADDR, new Uint8Array(HEADER_BYTES))
    .filter(reply => reply.type === RTM_NEWADDR)
    .map(readAddress)

/** Adds `10.0.0.1/24` or `fd00::1/64` to an interface. False if it was there already. Throws OsError, RangeError for a bad text. */
export const addAddress = (interfaceIndex: number, cidr: string): boolean =>
  change('add', RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, interfaceIndex, cidr, constants.errno.EEXIST)

/**
 * Adds an address that the kernel takes away by itself after so many whole seconds, or renews it. IPv6 is never the source of what this
 * machine begins: the address is deprecated from the start (RFC 4862, section 5.5.4). Throws as `addAddress`.
 */
export const leaseAddress = (interfaceIndex: number, cidr: string, seconds: number): void => {
  const cacheInfo = Buffer.alloc(CACHEINFO_BYTES)
  cacheInfo.writeUInt32LE(cidr.includes(':') ? 0 : seconds, 0)
  cacheInfo.writeUInt32LE(seconds, 4)
  request('lease', RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, interfaceIndex, cidr, cacheInfo)
}

/** Removes `10.0.0.1/24` from an interface. False if it was not there. Throws as `addAddress`. */
export const deleteAddress = (interfaceIndex: number, cidr: string): boolean =>
  change('delete', RTM_DELADDR, 0, interfaceIndex, cidr, constants.errno.EADDRNOTAVAIL)

const change = (
  verb: string,
  type: number,
  flags: number,
  interfaceIndex: number,
  cidr: string,
  alreadySo: number,
): boolean => {
  try {
    request(verb, type, flags, interfaceIndex, cidr)
    return true
  } catch (error) {
    if (error instanceof OsError && error.errno === alreadySo) return false
    throw error
  }
}

const request = (
  verb: string,
  type: number,
  flags: number,
  interfaceIndex: number,
  cidr: string,
  cacheInfo?: Buffer,
): void => {
  const { address, prefixLength } = parseCidr(cidr)
  const header = Buffer.from([
    ...[familyOf(address), prefixLength],
    ...[address.length === 16 && type === RTM_NEWADDR ? IFA_F_NODAD : 0, 0, 0, 0, 0, 0],
  ])
  header.writeUInt32LE(interfaceIndex, 4)
  routeRequest(`${verb} address ${cidr}`, type, flags, header, writer => {
    writer.attribute(IFA_LOCAL, address)
    writer.attribute(IFA_ADDRESS, address)
    if (cacheInfo !== undefined) writer.attribute(IFA_CACHEINFO, cacheInfo)
  })
}

const parseCidr = (cidr: string): { address: Buffer; prefixLength: number } => {
  const [text, prefix = '', ...rest] = cidr.split('/')
  const address = parseAddress(text)
  const prefixLength = Number(prefix)
  if (!/^\d{1,3}$/.test(prefix) || rest.length > 0 || prefixLength > address.length * 8) {
    throw new RangeError(`${JSON.stringify(cidr)} is not an address with a prefix length, like 10.0.0.1/24`)
  }
  return { address, prefixLength }
}

const readAddress = ({ payload }: NetlinkMessage): InterfaceAddress => {
  const attributes = readAttributes(payload, HEADER_BYTES)
  // On a point-to-point link IFA_ADDRESS is the peer's; IPv6 has only IFA_ADDRESS otherwise.
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS) ?? Buffer.alloc(4)
  const validS = attributes.get(IFA_CACHEINFO)?.readUInt32LE(4) ?? FOR_EVER_S
  return {
    ...{ interfaceIndex: payload.readUInt32LE(4), address: formatAddress(bytes), prefixLength: payload[1] },
    validS: validS === FOR_EVER_S ? Number.POSITIVE_INFINITY : validS,
  }
}
