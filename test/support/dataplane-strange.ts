/** What is no TCP or UDP, or no IP at all: none of it is the data plane's. */
import { buildPacket, type DataplaneCase, frameCase, PROTOCOL_NAME, PROTOCOLS } from './dataplane-case.ts'
import { TAGS } from './dataplane-ways.ts'
import { CLIENT, FAMILIES, type Family, STRANGER, VIP } from './dataplane-world.ts'
import { buildFrame, ETHERTYPE } from './ethernet.ts'
import { buildIp4, buildIp6, onesSum, pattern } from './packets.ts'

/** Kinds of ICMP and ICMPv6: type, code. */
const ICMP: Readonly<Record<Family, Readonly<Record<string, readonly [number, number]>>>> = {
  4: {
    // Another code than 0: what XDP answers is in icmp-cases.ts.
    'echo request': [8, 1],
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
    'echo request': [128, 1],
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

export const strangeCases = (): DataplaneCase[] => [...FAMILIES.flatMap(otherCases), ...etherCases()]
