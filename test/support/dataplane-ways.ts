/** Good packets by where they want to go: services, routes, hosts and the ways there; and fragments. */
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import {
  type DataplaneCase,
  type Fate,
  flowCase,
  headerBytes,
  identifierOf,
  type PacketShape,
  PROTOCOLS,
  type Protocol,
  TCP,
  UDP,
} from './dataplane-case.ts'
import {
  CLIENT,
  FAMILIES,
  type Family,
  type HostName,
  JUMBO_MTU,
  NARROW_MTU,
  NO_HOST,
  OPEN_VIP,
  STRANGER,
  VIP,
} from './dataplane-world.ts'
import type { VlanTag } from './ethernet.ts'
import { FLAG, pattern } from './packets.ts'

export const TAGS: Readonly<Record<string, readonly VlanTag[]>> = {
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
    const room = NARROW_MTU - headerBytes(family, protocol)
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
    { packet: { payload: pattern(JUMBO_MTU - headerBytes(family, TCP) + 1) } },
    'passed',
    'TOO_BIG',
  ),
]

/** Hardware addresses of frames that are not to this machine alone. */
const SEVERAL = {
  all: Uint8Array.of(255, 255, 255, 255, 255, 255),
  'an IPv4 group': Uint8Array.of(1, 0, 0x5e, 0, 0, 1),
  'an IPv6 group': Uint8Array.of(0x33, 0x33, 0, 0, 0, 1),
}

const linkCases = (family: Family): DataplaneCase[] =>
  Object.entries(SEVERAL).flatMap(([name, destination]) => [
    flowCase(`frame to ${name}`, family, TCP, { frame: { destination } }, 'passed', 'LINK_MULTICAST'),
    flowCase(
      `frame to ${name}, local`,
      family,
      UDP,
      { host: 'local', frame: { destination } },
      'passed',
      'LOCAL',
    ),
  ])

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
    protocol: Protocol,
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

export const directedCases = (): DataplaneCase[] =>
  FAMILIES.flatMap(family => [
    ...wayCases(family),
    ...linkCases(family),
    ...routeCases(family),
    ...serviceCases(family),
    ...fragmentCases(family),
  ])
