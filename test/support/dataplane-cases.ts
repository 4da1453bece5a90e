/** What any data plane must do with which packet (R-A3, R-A7, R-E8): packets that are forwarded, and good ones that are not. */
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import {
  buildPacket,
  type DataplaneCase,
  type Fate,
  flowCase,
  frameCase,
  identifierOf,
  neutralIdentifier,
  type PacketShape,
  PROTOCOL_NAME,
  TCP,
  UDP,
} from './dataplane-case.ts'
import { damagedCases } from './dataplane-damage.ts'
import {
  CLIENT,
  FAMILIES,
  type Family,
  HOSTS,
  type HostName,
  JUMBO_MTU,
  NARROW_MTU,
  NO_HOST,
  OPEN_VIP,
  STRANGER,
  VIP,
} from './dataplane-world.ts'
import { buildFrame, ETHERTYPE, type VlanTag } from './ethernet.ts'
import { buildIp4, buildIp6, FLAG, onesSum, pattern } from './packets.ts'

const PROTOCOLS = [TCP, UDP] as const
const headers = (family: Family, protocol: typeof TCP | typeof UDP): number =>
  (family === 4 ? 20 : 40) + (protocol === TCP ? 20 : 8)

/** Every length of payload that is special, by the odd byte and by the MTUs. */
const payloadCases = (family: Family): DataplaneCase[] =>
  PROTOCOLS.flatMap(protocol =>
    [0, 1, 2, 3, 1459, 1500 - headers(family, protocol), 3000, JUMBO_MTU - headers(family, protocol)].map(
      length => flowCase(`${length} bytes`, family, protocol, { packet: { payload: pattern(length) } }),
    ),
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
const zeroingPayload = (
  family: Family,
  protocol: typeof TCP | typeof UDP,
  shape: PacketShape,
): Uint8Array => {
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

const ipv4Cases = (): DataplaneCase[] => [
  ...[4, 8, 20, 36, 40].flatMap(length =>
    PROTOCOLS.map(protocol =>
      flowCase(`${length} bytes of IPv4 options`, 4, protocol, { packet: { ipOptions: pattern(length, 3) } }),
    ),
  ),
  flowCase('do not fragment', 4, TCP, { packet: { dontFragment: true } }),
  // The header's checksum on its edges: 0x0000 never comes up, 0xffff does.
  ...[0, 0x8000, 0xffff].map(identification =>
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

const TAGS: Readonly<Record<string, readonly VlanTag[]>> = {
  'VLAN 5': [{ type: 0x8100, tci: 5 }],
  'priority only': [{ type: 0x8100, tci: 0xe000 }],
  'a service VLAN': [{ type: 0x88a8, tci: 0x3fff }],
  'two tags': [
    { type: 0x88a8, tci: 100 },
    { type: 0x8100, tci: 0x2fff },
  ],
  'two equal tags': [
    { type: 0x8100, tci: 1 },
    { type: 0x8100, tci: 1 },
  ],
}

const WAYS: readonly HostName[] = ['redirected', 'sentBack', 'vlan', 'last']

const wayCases = (family: Family): DataplaneCase[] => [
  ...WAYS.flatMap(host => [
    ...PROTOCOLS.map(protocol => flowCase(`host ${host}`, family, protocol, { host })),
    ...Object.entries(TAGS).map(([name, tags]) =>
      flowCase(`host ${host}, from ${name}`, family, TCP, { host, frame: { tags } }),
    ),
    flowCase(`jumbo to host ${host}`, family, TCP, { host, packet: { payload: pattern(8000) } }),
    flowCase(`jumbo to host ${host}, from VLAN 5`, family, UDP, {
      host,
      packet: { payload: pattern(8000) },
      frame: { tags: TAGS['VLAN 5'] },
    }),
  ]),
  ...(
    [
      ['unresolved', 'NO_NEIGHBOUR'],
      ['unreachable', 'NO_NEXT_HOP'],
      ['blackhole', 'NO_NEXT_HOP'],
      ['elsewhere', 'OTHER_INTERFACE'],
      [family === 4 ? 'otherFamily6' : 'otherFamily4', 'NO_HOST'],
      ['local', 'LOCAL'],
    ] as const
  ).flatMap(([host, reason]) => [
    ...PROTOCOLS.map(protocol => flowCase(`host ${host}`, family, protocol, { host }, 'passed', reason)),
    flowCase(
      `host ${host}, from VLAN 5`,
      family,
      TCP,
      { host, frame: { tags: TAGS['VLAN 5'] } },
      'passed',
      reason,
    ),
  ]),
  flowCase('host local, TTL 1', family, TCP, { host: 'local', packet: { ttl: 1 } }, 'passed', 'LOCAL'),
  flowCase(
    'host local, never mapped',
    family,
    TCP,
    { host: 'local', route: { mapped: false } },
    'passed',
    'LOCAL',
  ),
  flowCase(
    'host of no index',
    family,
    TCP,
    { route: { identifier: identifierOf(NO_HOST, 5) } },
    'passed',
    'NO_HOST',
  ),
  ...PROTOCOLS.flatMap(protocol => {
    const room = NARROW_MTU - headers(family, protocol)
    const sized = (length: number, fate: Fate, reason?: string): DataplaneCase =>
      flowCase(
        `${length - room} bytes more than the way allows`,
        family,
        protocol,
        { host: 'narrow', packet: { payload: pattern(length) } },
        fate,
        reason,
      )
    return [sized(room, 'forwarded'), sized(room + 1, 'passed', 'TOO_BIG'), sized(4000, 'passed', 'TOO_BIG')]
  }),
  flowCase(
    'one byte more than a jumbo frame',
    family,
    TCP,
    { packet: { payload: pattern(JUMBO_MTU - headers(family, TCP) + 1) } },
    'passed',
    'TOO_BIG',
  ),
]

const routeCases = (family: Family): DataplaneCase[] => [
  ...PROTOCOLS.flatMap(protocol => [
    flowCase('no route', family, protocol, { route: null }, 'passed', 'NO_ROUTE'),
    flowCase('route of another port', family, protocol, { route: { port: 40001 } }, 'passed', 'NO_ROUTE'),
    flowCase('route of another service', family, protocol, { route: { service: 300 } }, 'passed', 'NO_ROUTE'),
    flowCase(
      'route of another client',
      family,
      protocol,
      { route: { client: family === 4 ? '192.0.2.2' : '2001:db8:0:1::1' } },
      'passed',
      'NO_ROUTE',
    ),
    flowCase('not acknowledged', family, protocol, { route: { mapped: false } }, 'passed', 'NOT_MAPPED'),
    flowCase('held', family, protocol, { route: { state: ROUTE_STATE.HELD } }, 'passed', 'NOT_MAPPED'),
    ...(['YOUNG', 'FIN', 'RESET', 'REOPENED'] as const).map(state =>
      flowCase(`state ${state}`, family, protocol, { route: { state: ROUTE_STATE[state] } }),
    ),
  ]),
  flowCase(
    'held, local',
    family,
    TCP,
    { host: 'local', route: { state: ROUTE_STATE.HELD } },
    'passed',
    'NOT_MAPPED',
  ),
  ...[8080, 1].map(destinationPort =>
    flowCase(`service at port ${destinationPort}`, family, TCP, { packet: { destinationPort } }),
  ),
  flowCase('service at port 65535', family, UDP, { packet: { destinationPort: 65535 } }),
  flowCase('service of another VIP', family, TCP, { packet: { destination: OPEN_VIP[family] } }),
]

const serviceCases = (family: Family): DataplaneCase[] => {
  const none = (
    name: string,
    protocol: typeof TCP | typeof UDP,
    packet: PacketShape,
    fate: Fate,
    reason: string,
  ): DataplaneCase => flowCase(name, family, protocol, { packet, route: null }, fate, reason)
  return [
    none('unknown port', TCP, { destinationPort: 81 }, 'dropped', 'NOT_A_SERVICE'),
    none('unknown port, SYN', TCP, { destinationPort: 81, flags: FLAG.SYN }, 'dropped', 'NOT_A_SERVICE'),
    none('port 0', TCP, { destinationPort: 0 }, 'dropped', 'NOT_A_SERVICE'),
    none('the port of a TCP service', UDP, { destinationPort: 80 }, 'dropped', 'NOT_A_SERVICE'),
    none('the port of a UDP service', TCP, { destinationPort: 53 }, 'dropped', 'NOT_A_SERVICE'),
    none(
      'unknown port of an open VIP',
      TCP,
      { destination: OPEN_VIP[family], destinationPort: 81 },
      'passed',
      'NO_ROUTE',
    ),
    none('stranger', TCP, { destination: STRANGER[family] }, 'passed', 'NOT_A_VIP'),
    none('stranger, SYN', TCP, { destination: STRANGER[family], flags: FLAG.SYN }, 'passed', 'NOT_A_VIP'),
    none('stranger', UDP, { destination: STRANGER[family] }, 'passed', 'NOT_A_VIP'),
    none(
      'a fragment to a stranger',
      UDP,
      { destination: STRANGER[family], moreFragments: true },
      'passed',
      'NOT_A_VIP',
    ),
    none(
      'from the VIP to the client',
      TCP,
      { source: VIP[family], destination: CLIENT[family] },
      'passed',
      'NOT_A_VIP',
    ),
    flowCase(
      'unknown port, in two tags',
      family,
      TCP,
      { packet: { destinationPort: 81 }, frame: { tags: TAGS['two tags'] }, route: null },
      'dropped',
      'NOT_A_SERVICE',
    ),
  ]
}

const fragmentCases = (family: Family): DataplaneCase[] =>
  PROTOCOLS.flatMap(protocol =>
    Object.entries<PacketShape>({
      first: { moreFragments: true, payload: pattern(104) },
      middle: { moreFragments: true, fragmentOffset: 1480, payload: pattern(104) },
      last: { fragmentOffset: 2960, payload: pattern(9) },
      farthest: { fragmentOffset: 65528, payload: pattern(5) },
      tiny: { fragmentOffset: 8, payload: pattern(1) },
    }).map(([name, packet]) =>
      flowCase(`${name} fragment`, family, protocol, { packet }, 'passed', 'FRAGMENT'),
    ),
  )

/** Kinds of ICMP and ICMPv6: type, code. */
const ICMP: Readonly<Record<Family, Readonly<Record<string, readonly [number, number]>>>> = {
  4: {
    'echo request': [8, 0],
    'echo reply': [0, 0],
    'port unreachable': [3, 3],
    'fragmentation needed': [3, 4],
    'source quench': [4, 0],
    redirect: [5, 1],
    'time exceeded': [11, 0],
    'parameter problem': [12, 0],
    'timestamp request': [13, 0],
  },
  6: {
    'destination unreachable': [1, 4],
    'packet too big': [2, 0],
    'time exceeded': [3, 0],
    'parameter problem': [4, 1],
    'echo request': [128, 0],
    'echo reply': [129, 0],
    'router solicitation': [133, 0],
    'neighbour solicitation': [135, 0],
    'neighbour advertisement': [136, 0],
    redirect: [137, 0],
  },
}
const OTHER_PROTOCOLS = {
  IGMP: 2,
  IPIP: 4,
  DCCP: 33,
  '6in4': 41,
  GRE: 47,
  ESP: 50,
  AH: 51,
  OSPF: 89,
  SCTP: 132,
  'no next header': 59,
  mobility: 135,
  UDPLite: 136,
  unknown: 255,
}

const otherCases = (family: Family): DataplaneCase[] => {
  const build = (protocol: number, l4: Uint8Array, destination: string): Uint8Array =>
    (family === 4 ? buildIp4 : buildIp6)(protocol, l4, { source: CLIENT[family], destination })
  const icmp = Object.entries(ICMP[family]).map(([name, [type, code]]): [string, number, Uint8Array] => {
    const l4 = new Uint8Array(36)
    l4.set([type, code])
    l4.set(pattern(28), 8)
    const check = 0xffff - onesSum(l4)
    l4.set([check >>> 8, check & 0xff], 2)
    return [`ICMP ${name}`, family === 4 ? 1 : 58, l4]
  })
  const others = Object.entries(OTHER_PROTOCOLS).map(([name, protocol]): [string, number, Uint8Array] => [
    name,
    protocol,
    pattern(32),
  ])
  return [...icmp, ...others].flatMap(([name, protocol, l4]) => [
    frameCase(
      `IPv${family} ${name}`,
      family,
      buildFrame(build(protocol, l4, VIP[family])),
      'UNSUPPORTED_PROTOCOL',
    ),
    frameCase(
      `IPv${family} ${name} to a stranger`,
      family,
      buildFrame(build(protocol, l4, STRANGER[family])),
      'NOT_A_VIP',
    ),
  ])
}

const etherCases = (): DataplaneCase[] => [
  ...(['arp', 'lldp', 'mpls', 'pppoe'] as const).map(name =>
    frameCase(name.toUpperCase(), 4, buildFrame(pattern(46), { type: ETHERTYPE[name] }), 'NOT_IP'),
  ),
  frameCase('a length for a type (802.3)', 4, buildFrame(pattern(46), { type: 46 }), 'NOT_IP'),
  frameCase(
    'ARP in a VLAN',
    4,
    buildFrame(pattern(46), { type: ETHERTYPE.arp, tags: TAGS['two tags'] }),
    'NOT_IP',
  ),
  ...FAMILIES.flatMap(family =>
    PROTOCOLS.map(protocol =>
      frameCase(
        `IPv${family} ${PROTOCOL_NAME[protocol]} in three tags`,
        family,
        buildFrame(buildPacket(family, protocol, {}), { tags: [...TAGS['two tags'], ...TAGS['VLAN 5']] }),
        'VLAN_TAGS',
      ),
    ),
  ),
]

/** All cases, by unique names. */
export const dataplaneCases = (): DataplaneCase[] => [
  ...FAMILIES.flatMap(family => [
    ...payloadCases(family),
    ...tcpCases(family),
    ...checksumCases(family),
    ...headerCases(family),
    ...wayCases(family),
    ...routeCases(family),
    ...serviceCases(family),
    ...fragmentCases(family),
    ...otherCases(family),
  ]),
  ...ipv4Cases(),
  ...ipv6Cases(),
  ...etherCases(),
  ...damagedCases(),
]
