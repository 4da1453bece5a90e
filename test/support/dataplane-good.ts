/** Good packets in all their forms: headers, options, payloads and checksums. */
import {
  buildPacket,
  type DataplaneCase,
  flowCase,
  headerBytes,
  identifierOf,
  neutralIdentifier,
  type PacketShape,
  PROTOCOLS,
  type Protocol,
  TCP,
  UDP,
} from './dataplane-case.ts'
import { FAMILIES, type Family, HOSTS, JUMBO_MTU } from './dataplane-world.ts'
import { FLAG, pattern } from './packets.ts'

/** Every length of payload that is special, by the odd byte and by the MTUs. */
const payloadCases = (family: Family): DataplaneCase[] =>
  PROTOCOLS.flatMap(protocol =>
    [
      0,
      1,
      2,
      3,
      1459,
      1500 - headerBytes(family, protocol),
      3000,
      JUMBO_MTU - headerBytes(family, protocol),
    ].map(length => flowCase(`${length} bytes`, family, protocol, { packet: { payload: pattern(length) } })),
  )

const tcpCases = (family: Family): DataplaneCase[] => [
  ...[4, 12, 20, 40].map(length =>
    flowCase(`${length} bytes of options`, family, TCP, { packet: { tcpOptions: pattern(length) } }),
  ),
  ...Object.entries({
    none: 0,
    PSH: FLAG.PSH | FLAG.ACK,
    URG: FLAG.URG | FLAG.ACK,
    'ECE and CWR': FLAG.ECE | FLAG.CWR | FLAG.ACK,
    'all but SYN, FIN and RST': 0xff & ~(FLAG.SYN | FLAG.FIN | FLAG.RST),
  }).map(([name, flags]) => flowCase(`flags: ${name}`, family, TCP, { packet: { flags, urgent: 7 } })),
  ...Object.entries({
    SYN: FLAG.SYN,
    'SYN and ACK': FLAG.SYN | FLAG.ACK,
    FIN: FLAG.FIN,
    'FIN and ACK': FLAG.FIN | FLAG.ACK,
    RST: FLAG.RST,
    'RST and ACK': FLAG.RST | FLAG.ACK,
    'SYN and FIN': FLAG.SYN | FLAG.FIN,
    all: 0xff,
  }).map(([name, flags]) =>
    flowCase(`flags: ${name}`, family, TCP, { packet: { flags } }, 'passed', 'TCP_CONTROL'),
  ),
]

const checksumAt = (family: Family, protocol: number): number =>
  (family === 4 ? 20 : 40) + (protocol === TCP ? 16 : 6)

/** A payload of two bytes with which the checksum comes out as 0, for a packet with this checksum for the payload 0, 0. */
const zeroingPayload = (family: Family, protocol: Protocol, shape: PacketShape): Uint8Array => {
  const packet = buildPacket(family, protocol, { ...shape, payload: new Uint8Array(2) })
  const at = checksumAt(family, protocol)
  return packet.slice(at, at + 2)
}

/** Ports and addresses after the rewrite, so that a packet can be built whose new checksum is known. */
const rewritten = (family: Family, identifier: number): PacketShape => ({
  source: family === 4 ? '10.66.0.1' : 'fd00:66::1',
  destination: HOSTS.redirected.address[family],
  sourcePort: identifier >>> 16,
  destinationPort: identifier & 0xffff,
})

const checksumCases = (family: Family): DataplaneCase[] => {
  const odd = identifierOf(HOSTS.redirected.index, 0xabcdef)
  return PROTOCOLS.flatMap(protocol => {
    const at = checksumAt(family, protocol)
    const setCheck = (value: number) => (packet: Uint8Array) => {
      packet[at] = value >>> 8
      packet[at + 1] = value & 0xff
      return packet
    }
    return [
      ...[0, 1, 0xff].map(n =>
        flowCase(`neutral identifier ${n}`, family, protocol, {
          route: { identifier: neutralIdentifier(1, 40000, protocol === TCP ? 80 : 53, n) },
        }),
      ),
      ...[odd, identifierOf(1, 1), identifierOf(1, 0xffffff), identifierOf(1, 0x00ffff)].map(identifier =>
        flowCase(`identifier ${identifier.toString(16)}`, family, protocol, { route: { identifier } }),
      ),
      flowCase('a new checksum of 0', family, protocol, {
        packet: { payload: zeroingPayload(family, protocol, rewritten(family, odd)) },
        route: { identifier: odd },
      }),
      flowCase('an old checksum of 0 or 0xffff', family, protocol, {
        packet: { payload: zeroingPayload(family, protocol, {}) },
        route: { identifier: odd },
      }),
      flowCase('a wrong checksum stays wrong', family, protocol, {
        edit: packet => setCheck(((packet[at] << 8) | packet[at + 1]) ^ 0x1234)(packet),
        route: { identifier: odd },
      }),
      flowCase('checksum 0xffff as it came', family, protocol, {
        edit: setCheck(0xffff),
        route: { identifier: odd },
      }),
      ...[40000, 40000 ^ 0xffff, 0, 0xffff].map(port =>
        flowCase(`from port ${port}`, family, protocol, { packet: { sourcePort: port } }),
      ),
    ]
  }).concat(
    flowCase('no checksum', family, UDP, { packet: { noChecksum: true }, route: { identifier: odd } }),
    flowCase('no checksum, neutral', family, UDP, { packet: { noChecksum: true } }),
    flowCase('datagram shorter than its packet', family, UDP, {
      packet: { payload: pattern(30), udpLength: 20 },
      route: { identifier: odd },
    }),
  )
}

const headerCases = (family: Family): DataplaneCase[] => [
  ...[2, 64, 255].flatMap(ttl =>
    PROTOCOLS.map(protocol => flowCase(`TTL ${ttl}`, family, protocol, { packet: { ttl } })),
  ),
  ...[0, 1].flatMap(ttl =>
    PROTOCOLS.map(protocol =>
      flowCase(`TTL ${ttl}`, family, protocol, { packet: { ttl } }, 'passed', 'TTL_EXPIRED'),
    ),
  ),
  ...[0x02, 0x03, 0xb8, 0xff].map(trafficClass =>
    flowCase(`traffic class ${trafficClass}`, family, TCP, { packet: { trafficClass } }),
  ),
  ...[1, 6, 46].map(padding => flowCase(`${padding} bytes of padding`, family, UDP, { packet: { padding } })),
]

/** The identification with which a packet to a host has this header checksum before its TTL goes down. */
const identificationFor = (check: number): number => {
  const packet = buildPacket(4, TCP, { ...rewritten(4, 0), identification: 0 })
  const sum = 0xffff - ((packet[10] << 8) | packet[11])
  return (0xffff - check - sum + 0xffff) % 0xffff
}

const ipv4Cases = (): DataplaneCase[] => [
  ...[4, 8, 20, 36, 40].flatMap(length =>
    PROTOCOLS.map(protocol =>
      flowCase(`${length} bytes of IPv4 options`, 4, protocol, { packet: { ipOptions: pattern(length, 3) } }),
    ),
  ),
  flowCase('do not fragment', 4, TCP, { packet: { dontFragment: true } }),
  ...[0, 0x8000, 0xffff, ...[0xfeff, 0xfeff - 1, 0xff00, 0xff].map(identificationFor)].map(identification =>
    flowCase(`identification ${identification}`, 4, TCP, { packet: { identification } }),
  ),
]

const HOP_BY_HOP = { type: 0, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }
const DESTINATION_OPTIONS = { type: 60, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }
const LONG_OPTIONS = { type: 60, body: pattern(254) }
const ROUTING_DONE = { type: 43, body: Uint8Array.of(2, 0, 0, 0, 0, 0) }
const ATOMIC = { type: 44, body: Uint8Array.of(0, 0, 9, 9, 9, 9) }
const ATOMIC_RESERVED = { type: 44, body: Uint8Array.of(0, 6, 9, 9, 9, 9) }

const ipv6Cases = (): DataplaneCase[] =>
  Object.entries({
    'hop-by-hop options': [HOP_BY_HOP],
    'destination options': [DESTINATION_OPTIONS],
    'long destination options': [LONG_OPTIONS],
    'a routing header at its end': [ROUTING_DONE],
    'an atomic fragment': [ATOMIC],
    'options and an atomic fragment': [HOP_BY_HOP, DESTINATION_OPTIONS, ATOMIC, DESTINATION_OPTIONS],
    'eight extension headers': [HOP_BY_HOP, ...new Array(7).fill(DESTINATION_OPTIONS)],
  })
    .flatMap(([name, extensionHeaders]) =>
      PROTOCOLS.map(protocol => flowCase(name, 6, protocol, { packet: { extensionHeaders } })),
    )
    .concat(
      flowCase('an atomic fragment with reserved bits', 6, TCP, {
        packet: { extensionHeaders: [ATOMIC_RESERVED] },
      }),
      flowCase('flow label', 6, TCP, {
        edit: packet => {
          packet.set([packet[1] | 0x0a, 0xbc, 0xde], 1)
          return packet
        },
      }),
    )

export const goodCases = (): DataplaneCase[] => [
  ...FAMILIES.flatMap(family => [
    ...payloadCases(family),
    ...tcpCases(family),
    ...checksumCases(family),
    ...headerCases(family),
  ]),
  ...ipv4Cases(),
  ...ipv6Cases(),
]
