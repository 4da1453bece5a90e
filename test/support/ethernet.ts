/** Ethernet frames around packets, by the standards and with no code of the data plane. */
import { join } from './packets.ts'

export const ETHERTYPE = {
  ipv4: 0x0800,
  arp: 0x0806,
  vlan: 0x8100,
  ipv6: 0x86dd,
  mpls: 0x8847,
  pppoe: 0x8864,
  serviceVlan: 0x88a8,
  lldp: 0x88cc,
} as const

export interface VlanTag {
  /** 0x8100 or 0x88a8. */
  readonly type: number
  /** Priority (3 bits), drop eligible (1), VLAN (12). */
  readonly tci: number
}

export interface FrameOptions {
  /** From the outermost on. */
  readonly tags?: readonly VlanTag[]
  /** Default: by the packet's version. */
  readonly type?: number
  readonly source?: Uint8Array
  readonly destination?: Uint8Array
}

export const mac = (last: number): Uint8Array => Uint8Array.of(2, 0, 0x5e, 0, 0, last)

const CLIENT_SIDE = mac(0xc1)
const OURS = mac(0xf1)
const pair = (value: number): number[] => [value >>> 8, value & 0xff]

export const buildFrame = (packet: Uint8Array, options: FrameOptions = {}): Uint8Array => {
  const { tags = [], source = CLIENT_SIDE, destination = OURS } = options
  const type = options.type ?? (packet[0] >>> 4 === 6 ? ETHERTYPE.ipv6 : ETHERTYPE.ipv4)
  return join(
    destination,
    source,
    ...tags.map(tag => Uint8Array.of(...pair(tag.type), ...pair(tag.tci))),
    Uint8Array.of(...pair(type)),
    packet,
  )
}

/** Where the packet of a frame begins. */
export const packetOffset = (tags: number): number => 14 + 4 * tags
