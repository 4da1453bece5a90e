/** Frames by which the holder of a VIP tells its network that it has it now. Pure. */
import { parseAddress } from '../../os/inet.ts'

const BROADCAST = Buffer.alloc(6, 0xff)
/** ff02::1, all nodes, and its Ethernet address (RFC 2464, section 7). */
const ALL_NODES = Buffer.from('ff020000000000000000000000000001', 'hex')
const ALL_NODES_MAC = Buffer.from('333300000001', 'hex')
const ETH_P_ARP = 0x0806
const ETH_P_IPV6 = 0x86dd
const ETHERNET_BYTES = 14
const IPPROTO_ICMPV6 = 58
const NEIGHBOUR_ADVERTISEMENT = 136
/** Who knows another link-layer address takes this one. */
const OVERRIDE = 0x2000_0000
const TARGET_LINK_LAYER_ADDRESS = 2
const NA_BYTES = 32
/** What came over a router is refused. */
const HOP_LIMIT = 255

/** @param mac six bytes of the interface */
export const announcement = (vip: string, mac: Uint8Array): Buffer =>
  vip.includes(':') ? neighbourAdvertisement(parseAddress(vip), mac) : arpAnnouncement(parseAddress(vip), mac)

const ethernet = (to: Uint8Array, from: Uint8Array, type: number, payload: Uint8Array): Buffer => {
  const header = Buffer.alloc(ETHERNET_BYTES)
  header.set(to, 0)
  header.set(from, 6)
  header.writeUInt16BE(type, 12)
  return Buffer.concat([header, payload])
}

/** RFC 5227, section 3: a request whose sender and target are the same. */
const arpAnnouncement = (vip: Uint8Array, mac: Uint8Array): Buffer => {
  // Ethernet, IPv4, lengths 6 and 4, request
  const arp = Buffer.concat([Buffer.from('0001080006040001', 'hex'), mac, vip, Buffer.alloc(6), vip])
  return ethernet(BROADCAST, mac, ETH_P_ARP, arp)
}

/** RFC 4861, section 7.2.6: unsolicited. */
const neighbourAdvertisement = (vip: Uint8Array, mac: Uint8Array): Buffer => {
  const message = Buffer.alloc(NA_BYTES)
  message[0] = NEIGHBOUR_ADVERTISEMENT
  message.writeUInt32BE(OVERRIDE, 4)
  message.set(vip, 8)
  message[24] = TARGET_LINK_LAYER_ADDRESS
  message[25] = 1 // in units of 8 bytes
  message.set(mac, 26)
  message.writeUInt16BE(checksum(vip, ALL_NODES, message), 2)
  const ip = Buffer.alloc(40)
  ip[0] = 0x60
  ip.writeUInt16BE(NA_BYTES, 4)
  ip[6] = IPPROTO_ICMPV6
  ip[7] = HOP_LIMIT
  ip.set(vip, 8)
  ip.set(ALL_NODES, 24)
  return ethernet(ALL_NODES_MAC, mac, ETH_P_IPV6, Buffer.concat([ip, message]))
}

/** With the pseudo-header of RFC 8200, section 8.1. */
const checksum = (from: Uint8Array, to: Uint8Array, message: Uint8Array): number => {
  const rest = Buffer.alloc(8)
  rest.writeUInt32BE(message.length, 0)
  rest[7] = IPPROTO_ICMPV6
  const bytes = Buffer.concat([from, to, rest, message])
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
