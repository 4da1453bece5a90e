/**
 * Packets and mapping datagrams as an attacker would make them: valid ones with a little damage, so that they come
 * far, and sheer noise. Seeded; with no code of the data plane but the header's encoder, which signs.
 */

import { formatAddress, isIpv4 } from '../../src/agent/dataplane/flow-key.ts'
import {
  createMappingHeader,
  encodeMappingHeader,
  KIND,
  type MappingHeader,
} from '../../src/agent/dataplane/mapping-header.ts'
import { buildIcmp } from './icmp.ts'
import { addressWords, buildIp4, buildTcp4, buildTcp6, buildUdp4, buildUdp6, pattern } from './packets.ts'

export type Below = (limit: number) => number

/** Who may be named in a packet or header; few, so that flows, identifiers and tuples meet again. */
export interface Cast {
  readonly clients: readonly string[]
  readonly vips: readonly string[]
  readonly hosts: readonly string[]
  readonly forwarders: readonly string[]
  /** In the order of their forwarders. */
  readonly tunnels: readonly string[]
  readonly classifier: string
  /** Where the packets and datagrams arrive. */
  readonly own: string
  readonly ports: readonly number[]
  /** Kinds of datagrams; what stands here twice comes twice as often. */
  readonly kinds: readonly number[]
  /** Everybody but the classifier has an address of IPv6 too (`sixOf`). */
  readonly ipv6?: boolean
}

/** The IPv6 address beside an IPv4 one. */
export const sixOf = (ip: string): string => `fd00::${ip.replaceAll('.', ':')}`

/** What an eavesdropper knows of a mapping. */
export type Known = Pick<
  MappingHeader,
  'identifier' | 'sequence' | 'protocol' | 'ports' | 'client' | 'vip'
> & { readonly host: string }

/** What decides whether a header is believed, and what was heard so far. */
export interface Near {
  readonly epoch: number
  readonly nowS: number
  readonly sequence: number
  readonly known: readonly Known[]
}

export const pick = <T>(below: Below, from: readonly T[]): T => from[below(from.length)]!
const everyone = (cast: Cast): string[] => [
  ...cast.clients,
  ...cast.vips,
  ...cast.hosts,
  ...cast.forwarders,
  ...cast.tunnels,
  cast.classifier,
]

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
const wholePacket = (below: Below, cast: Cast, near: Near): Uint8Array => {
  const tunnelled = below(2) === 0
  const heard = near.known.length > 0 && below(4) !== 0 ? pick(below, near.known) : null
  const known = heard?.identifier ?? below(2 ** 32)
  const six =
    cast.ipv6 === true &&
    (tunnelled && heard !== null && below(8) !== 0 ? !isIpv4(heard.client, 0) : below(3) === 0)
  const odd = below(16) === 0
  const options = {
    source: pick(below, odd ? everyone(cast) : tunnelled ? cast.tunnels : cast.clients),
    destination: odd ? pick(below, everyone(cast)) : tunnelled ? cast.own : cast.vips[0]!,
    sourcePort: tunnelled ? known >>> 16 : pick(below, cast.ports),
    destinationPort: tunnelled ? known & 0xffff : below(16) === 0 ? pick(below, cast.ports) : 80,
    payload: pattern(below(8) === 0 ? 1400 + below(60) : below(64), below(256)),
    ttl: below(16) === 0 ? below(3) : 64,
    ...(below(16) === 0 && { ipOptions: pattern(4 * (1 + below(10)), below(256)) }),
    ...(below(32) === 0 && { moreFragments: true }),
    ...(below(32) === 0 && { fragmentOffset: 8 * (1 + below(8191)) }),
  }
  if (six) return wholePacket6(below, options, tunnelled)
  switch (below(16)) {
    case 0:
    case 1:
    case 2:
      return buildUdp4({
        ...options,
        destinationPort: tunnelled ? options.destinationPort : 53,
        noChecksum: below(4) === 0,
      })
    case 3:
      return buildIp4(
        pick(below, [0, 1, 2, 4, 41, 47, 50, 132, 255]),
        pattern(below(80), below(256)),
        options,
      )
    case 4:
      return buildTcp6({ flags: below(256), sourcePort: options.sourcePort, destinationPort: 80 })
    default:
      return buildTcp4({
        ...options,
        flags: below(8) === 0 ? below(256) : pick(below, [2, 16, 16, 16, 24, 24, 17, 4]),
      })
  }
}

const wholePacket6 = (
  below: Below,
  { ipOptions: _, ...four }: Parameters<typeof buildTcp4>[0] & { source: string; destination: string },
  tunnelled: boolean,
): Uint8Array => {
  const options = {
    ...four,
    source: sixOf(four.source),
    destination: sixOf(four.destination),
    ...(below(8) === 0 && {
      extensionHeaders: Array.from({ length: 1 + below(9) }, () => ({
        type: pick(below, [0, 43, 60, 60]),
        body: pattern(pick(below, [6, 14]), below(256)),
      })),
    }),
  }
  if (below(4) === 0)
    return buildUdp6({
      ...options,
      ...(!tunnelled && { destinationPort: 53 }),
      noChecksum: below(8) === 0,
    })
  return buildTcp6({
    ...options,
    flags: below(8) === 0 ? below(256) : pick(below, [2, 16, 16, 16, 24, 24, 17, 4]),
  })
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

/** An ICMP error about a packet that could be, the other way round than those that come; or an echo. */
const icmpPacket = (below: Below, cast: Cast, near: Near): Uint8Array => {
  const about = wholePacket(below, cast, near)
  const asIs = below(4) === 0 || about[0]! >>> 4 !== 4
  const inner = below(3) === 0 ? sentToHost(below, cast, near) : asIs ? about : reversed(about)
  const dotted = (at: number): string => inner.slice(at, at + 4).join('.')
  const body = inner.slice(0, below(4) === 0 ? below(inner.length + 1) : inner.length)
  return buildIcmp(4, {
    source: below(8) === 0 ? pick(below, everyone(cast)) : below(2) === 0 ? dotted(16) : '192.0.2.1',
    destination: below(8) === 0 ? pick(below, everyone(cast)) : dotted(12),
    type: below(8) === 0 ? below(256) : pick(below, [3, 3, 3, 8, 11, 12]),
    code: below(6),
    word: below(8) === 0 ? below(2 ** 32) : 1280,
    body: below(16) === 0 ? icmpPacket(below, cast, near) : body,
    ttl: below(16) === 0 ? below(3) : 64,
    wrongChecksum: below(32) === 0,
  })
}

/** What a router on the way from a forwarder to its host could have seen. */
const sentToHost = (below: Below, cast: Cast, near: Near): Uint8Array => {
  const known = near.known.length > 0 ? pick(below, near.known) : null
  const identifier = known?.identifier ?? below(2 ** 32)
  return (known?.protocol === 17 ? buildUdp4 : buildTcp4)({
    ...{ source: cast.tunnels[0]!, destination: known?.host ?? pick(below, cast.hosts) },
    ...{ sourcePort: identifier >>> 16, destinationPort: identifier & 0xffff, payload: pattern(below(60)) },
  })
}

/** Source and destination exchanged, addresses and ports: checksums are the same. */
const reversed = (packet: Uint8Array): Uint8Array => {
  const out = packet.slice()
  const l4 = (packet[0]! & 15) * 4
  out.set(packet.slice(16, 20), 12)
  out.set(packet.slice(12, 16), 16)
  if (packet.length < l4 + 4) return out
  out.set(packet.slice(l4 + 2, l4 + 4), l4)
  out.set(packet.slice(l4, l4 + 2), l4 + 2)
  return out
}

export const hostilePacket = (below: Below, cast: Cast, near: Near): Uint8Array => {
  if (below(64) === 0) return Uint8Array.from({ length: below(120) }, () => below(256))
  const packet = below(12) === 0 ? icmpPacket(below, cast, near) : wholePacket(below, cast, near)
  return below(4) !== 0 ? packet : damage(below, packet)
}

/** Key words by tunnel address. */
export type Keys = (tunnel: string) => Uint32Array

/** A header that could be true; `Near.known` gives it the identifiers, sequences and tuples that exist. */
const credible = (
  header: MappingHeader,
  below: Below,
  cast: Cast,
  near: Near,
): { tunnel: string; source: string } => {
  const number = below(8) === 0 ? 1 : 0
  header.kind = pick(below, cast.kinds)
  header.keyNumber = 1
  header.epoch = near.epoch
  header.sequence = (near.sequence + below(64) - 32) >>> 0
  header.timeS = (near.nowS + below(5) - 2) >>> 0
  header.identifier = (((1 + below(3)) << 24) | (below(2) << 16) | (1 + below(6))) >>> 0
  header.protocol = pick(below, [6, 6, 6, 17])
  header.hostIndex = 1 + below(3)
  header.ports = ((pick(below, cast.ports) << 16) | (header.protocol === 6 ? 80 : 53)) >>> 0
  const of = cast.ipv6 === true && below(3) === 0 ? sixOf : (ip: string): string => ip
  header.client.set(addressWords(of(pick(below, cast.clients))))
  header.vip.set(addressWords(of(cast.vips[0]!)))
  header.node.set(
    addressWords(header.kind === KIND.CLASSIFIED ? pick(below, cast.hosts) : cast.tunnels[number]!),
  )
  let source: string = cast.forwarders[number]!
  if (header.kind === KIND.CLASSIFIED) source = cast.classifier
  else if (ANSWERS.has(header.kind)) source = pick(below, cast.hosts)
  if (near.known.length > 0 && below(2) === 0) {
    const known = pick(below, near.known)
    Object.assign(header, { identifier: known.identifier, protocol: known.protocol, ports: known.ports })
    if (below(2) === 0) header.sequence = known.sequence
    header.client.set(known.client)
    header.vip.set(known.vip)
    if (ANSWERS.has(header.kind)) source = known.host
  }
  return { tunnel: header.kind === KIND.CLASSIFIED ? cast.tunnels[0]! : cast.tunnels[number]!, source }
}

const ANSWERS: ReadonlySet<number> = new Set([KIND.MAP_ACK, KIND.ASK, KIND.STALE_TIME, KIND.REFUSED])

/** One field of a credible header made incredible. */
const spoil = (header: MappingHeader, below: Below, cast: Cast): void => {
  const changes = [
    () => (header.keyNumber = below(256)),
    () => (header.epoch = (header.epoch + below(5) - 2) >>> 0),
    () => (header.epoch = below(2 ** 32)),
    () => (header.sequence = below(2 ** 32)),
    () => (header.timeS = below(2 ** 32)),
    () => (header.identifier = pick(below, [0, 0xff, below(2 ** 32)])),
    () => (header.protocol = below(256)),
    () => (header.ports = below(2 ** 32)),
    () => header.client.set(addressWords(pick(below, ['2001:db8::1', ...everyone(cast)]))),
    () => header.vip.set(addressWords(pick(below, ['2001:db8::80', ...everyone(cast)]))),
    () => header.node.set(addressWords(pick(below, everyone(cast)))),
  ]
  pick(below, changes)()
}

const innerOf = (below: Below, header: MappingHeader, cast: Cast, near: Near): Uint8Array => {
  if (below(8) === 0) return hostilePacket(below, cast, near)
  const six = !isIpv4(header.client, 0)
  const dotted = (words: Uint32Array): string =>
    six ? formatAddress(words, 0) : [24, 16, 8, 0].map(shift => (words[3]! >>> shift) & 255).join('.')
  const options = {
    source: dotted(header.client),
    destination: isIpv4(header.vip, 0) === six ? '10.99.0.1' : dotted(header.vip),
    sourcePort: header.ports >>> 16,
    destinationPort: header.ports & 0xffff,
    payload: pattern(below(40)),
    flags: below(2) === 0 ? 2 : below(256),
    moreFragments: below(32) === 0,
  }
  const build = six ? [buildUdp6, buildTcp6] : [buildUdp4, buildTcp4]
  const packet = build[header.protocol === 17 ? 0 : 1]!({
    ...options,
    ...(six && options.destination.includes('.') && { destination: sixOf(options.destination) }),
  })
  return below(8) === 0 ? damage(below, packet) : packet
}

export interface HostileDatagram {
  readonly bytes: Uint8Array
  readonly source: string
}

/** A mapping datagram: mostly signed by the right key and from the right sender, so that what is behind is reached. */
export const hostileDatagram = (below: Below, cast: Cast, keys: Keys, near: Near): HostileDatagram => {
  if (below(32) === 0)
    return {
      bytes: Uint8Array.from({ length: below(200) }, () => below(256)),
      source: pick(below, everyone(cast)),
    }
  const header = createMappingHeader()
  const { tunnel, source } = credible(header, below, cast, near)
  if (below(4) === 0) spoil(header, below, cast)
  const inner = below(3) === 0 ? new Uint8Array(0) : innerOf(below, header, cast, near)
  header.innerLength = inner.length
  const bytes = new Uint8Array(84 + inner.length)
  const length = encodeMappingHeader(
    header,
    bytes,
    0,
    keys(below(32) === 0 ? pick(below, cast.tunnels) : tunnel),
  )
  bytes.set(inner, length)
  const datagram = bytes.slice(0, length + inner.length)
  return {
    bytes: below(16) === 0 ? damage(below, datagram) : datagram,
    source: below(16) === 0 ? pick(below, everyone(cast)) : source,
  }
}
