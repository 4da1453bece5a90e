/**
 * Packets and mapping datagrams as an attacker would make them: valid ones with a little damage, so that they come
 * far, and sheer noise. Seeded; with no code of the data plane but the header's encoder, which signs.
 */
import { createMappingHeader, encodeMappingHeader, type MappingHeader } from '../../src/agent/dataplane/mapping-header.ts'
import { addressWords, buildIp4, buildTcp4, buildTcp6, buildUdp4, pattern } from './packets.ts'

export type Below = (limit: number) => number

/** Who may be named in a packet or header; few, so that flows, identifiers and tuples meet again. */
export interface Cast {
  readonly clients: readonly string[]
  readonly vips: readonly string[]
  /** Cluster addresses of the nodes. */
  readonly nodes: readonly string[]
  readonly tunnels: readonly string[]
  readonly ports: readonly number[]
}

export const pick = <T>(below: Below, from: readonly T[]): T => from[below(from.length)]!

/** Makes the IPv4 header checksum right again after a change. */
export const fixIpChecksum = (packet: Uint8Array): void => {
  const length = (packet[0]! & 15) * 4
  if (length < 20 || length > packet.length) return
  packet[10] = 0
  packet[11] = 0
  let sum = 0
  for (let at = 0; at < length; at += 2) sum += (packet[at]! << 8) | packet[at + 1]!
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  packet[10] = (~sum >>> 8) & 0xff
  packet[11] = ~sum & 0xff
}

/** A packet that is whole: TCP with any flags, UDP, another protocol, or a fragment. */
const wholePacket = (below: Below, cast: Cast): Uint8Array => {
  const tunnelled = below(3) === 0
  const addresses = {
    source: pick(below, tunnelled ? cast.tunnels : [...cast.clients, ...cast.vips, ...cast.nodes, ...cast.tunnels]),
    destination: pick(below, tunnelled ? cast.nodes : [...cast.vips, ...cast.nodes, ...cast.tunnels]),
  }
  const options = {
    ...addresses,
    // A tunnelled packet has an identifier there; a small range, so that some exist.
    sourcePort: tunnelled ? (1 + below(3)) * 256 + below(4) : pick(below, cast.ports),
    destinationPort: below(4) === 0 ? pick(below, cast.ports) : tunnelled ? below(65_536) : 80,
    payload: pattern(below(8) === 0 ? 1400 + below(60) : below(64), below(256)),
    ttl: below(16) === 0 ? below(3) : 64,
    ...(below(16) === 0 && { ipOptions: pattern(4 * (1 + below(10)), below(256)) }),
    ...(below(16) === 0 && { moreFragments: true }),
    ...(below(16) === 0 && { fragmentOffset: 8 * (1 + below(8191)) }),
  }
  switch (below(8)) {
    case 0:
      return buildUdp4({ ...options, destinationPort: below(2) === 0 ? 53 : options.destinationPort, noChecksum: below(4) === 0 })
    case 1:
      return buildIp4(pick(below, [0, 1, 2, 4, 41, 47, 50, 132, 255]), pattern(below(80), below(256)), options)
    case 2:
      return buildTcp6({ flags: below(256), sourcePort: options.sourcePort, destinationPort: 80 })
    default:
      return buildTcp4({ ...options, flags: below(3) === 0 ? below(256) : pick(below, [2, 16, 24, 16, 17, 4]) })
  }
}

/** Changes some bytes or the length of it. */
const damage = (below: Below, packet: Uint8Array): Uint8Array => {
  const out = below(4) === 0 ? packet.slice(0, below(packet.length + 1)) : packet.slice()
  for (let left = below(4); left > 0 && out.length > 0; left--) {
    // Mostly in the headers, where it matters.
    const at = below(4) === 0 ? below(out.length) : below(Math.min(out.length, 44))
    out[at] = below(3) === 0 ? pick(below, [0, 1, 0x7f, 0x80, 0xff]) : out[at]! ^ (1 << below(8))
  }
  if (below(4) !== 0) fixIpChecksum(out)
  return out
}

export const hostilePacket = (below: Below, cast: Cast): Uint8Array => {
  if (below(64) === 0) return Uint8Array.from({ length: below(120) }, () => below(256))
  const packet = wholePacket(below, cast)
  return below(2) === 0 ? packet : damage(below, packet)
}

/** Key words by number and tunnel address. */
export type Keys = (number: number, tunnel: string) => Uint32Array

/** What decides whether a header is believed; `of` gives sequences, epochs and seconds near the real ones. */
export interface Near {
  readonly epoch: number
  readonly nowS: number
  readonly sequence: number
}

const fill = (header: MappingHeader, below: Below, cast: Cast, near: Near): string => {
  const tunnel = pick(below, cast.tunnels)
  header.kind = 1 + below(8)
  header.keyNumber = below(8) === 0 ? below(256) : 1
  header.epoch = (near.epoch + (below(8) === 0 ? below(5) - 2 : 0)) >>> 0
  header.sequence = below(8) === 0 ? below(2 ** 32) : (near.sequence + below(64) - 32) >>> 0
  header.timeS = below(8) === 0 ? below(2 ** 32) : (near.nowS + below(5) - 2) >>> 0
  header.identifier = below(8) === 0 ? below(2 ** 32) : (((1 + below(3)) << 24) | (below(4) << 16) | (1 + below(6))) >>> 0
  header.protocol = pick(below, [6, 6, 6, 17, 17, 1, 0])
  header.hostIndex = below(4)
  header.ports = ((pick(below, cast.ports) << 16) | pick(below, [80, 80, 53, ...cast.ports])) >>> 0
  header.client.set(addressWords(pick(below, cast.clients)))
  header.vip.set(addressWords(pick(below, cast.vips)))
  header.node.set(addressWords(below(6) === 0 ? pick(below, cast.nodes) : tunnel))
  if (below(32) === 0) header.client.set(addressWords('2001:db8::1'))
  if (below(32) === 0) header.vip.set(addressWords('2001:db8::80'))
  return tunnel
}

const innerOf = (below: Below, header: MappingHeader, cast: Cast): Uint8Array => {
  if (below(4) === 0) return hostilePacket(below, cast)
  const dotted = (words: Uint32Array): string => [24, 16, 8, 0].map(shift => (words[3]! >>> shift) & 255).join('.')
  const options = {
    source: dotted(header.client),
    destination: dotted(header.vip),
    sourcePort: header.ports >>> 16,
    destinationPort: header.ports & 0xffff,
    payload: pattern(below(40)),
    flags: below(2) === 0 ? 2 : below(256),
    moreFragments: below(32) === 0,
  }
  const packet = header.protocol === 17 ? buildUdp4(options) : buildTcp4(options)
  return below(8) === 0 ? damage(below, packet) : packet
}

/** A mapping datagram: mostly signed by the right key, so that what is behind the tag is reached. */
export const hostileDatagram = (below: Below, cast: Cast, keys: Keys, near: Near): Uint8Array => {
  if (below(32) === 0) return Uint8Array.from({ length: below(200) }, () => below(256))
  const header = createMappingHeader()
  const tunnel = fill(header, below, cast, near)
  const inner = below(3) === 0 ? new Uint8Array(0) : innerOf(below, header, cast)
  header.innerLength = inner.length
  const bytes = new Uint8Array(84 + inner.length)
  const length = encodeMappingHeader(header, bytes, 0, keys(1, below(32) === 0 ? pick(below, cast.tunnels) : tunnel))
  bytes.set(inner, length)
  const datagram = bytes.slice(0, length + inner.length)
  return below(16) === 0 ? damage(below, datagram) : datagram
}
