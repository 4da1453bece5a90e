/** Damaged and hostile packets of flows that have a route: all of them are for the slow path to refuse. */
import {
  buildPacket,
  type DataplaneCase,
  flowCase,
  frameCase,
  type PacketShape,
  PROTOCOL_NAME,
  PROTOCOLS,
  type Protocol,
  TCP,
  UDP,
  withBytes,
  withDestination,
  withHeaderChecksum,
} from './dataplane-case.ts'
import { FAMILIES, type Family, HOSTS } from './dataplane-world.ts'
import { buildFrame, ETHERTYPE, type VlanTag } from './ethernet.ts'
import { pattern } from './packets.ts'

const HOP_BY_HOP = { type: 0, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }
const OPTIONS = { type: 60, body: Uint8Array.of(1, 4, 0, 0, 0, 0) }
const ATOMIC = { type: 44, body: Uint8Array.of(0, 0, 9, 9, 9, 9) }

const damaged = (
  name: string,
  family: Family,
  protocol: Protocol,
  reason: string,
  edit: (packet: Uint8Array) => Uint8Array,
  packet: PacketShape = {},
): DataplaneCase => flowCase(name, family, protocol, { packet, edit }, 'passed', reason)

/** Cut off after each number of bytes from the Ethernet header on; whatever it still says, it is not whole. */
const truncations = (
  name: string,
  family: Family,
  protocol: Protocol,
  packet: PacketShape,
  tags: readonly VlanTag[] = [],
) => {
  const whole = flowCase(name, family, protocol, {
    packet: { payload: pattern(9), ...packet },
    frame: { tags },
  })
  return Array.from({ length: whole.frame.length - 14 }, (_, cut): DataplaneCase => {
    const length = 14 + cut
    return {
      ...whole,
      name: `${whole.name}, ${length} of ${whole.frame.length} bytes`,
      frame: whole.frame.slice(0, length),
      tags: Math.min(tags.length, Math.floor(cut / 4)),
      fate: 'passed',
      reason: 'TRUNCATED',
      host: null,
    }
  })
}

const ipv4Damage = (protocol: Protocol): DataplaneCase[] => {
  const [on, checked] = [
    (name: string, reason: string, edit: (packet: Uint8Array) => Uint8Array, shape?: PacketShape) =>
      damaged(name, 4, protocol, reason, edit, shape),
    (at: number, ...values: number[]) =>
      (packet: Uint8Array) =>
        withHeaderChecksum(withBytes(packet, at, ...values)),
  ]
  return [
    ...[0, 1, 2, 3, 5, 6, 7, 15].map(version =>
      on(`version ${version}`, 'BAD_VERSION', checked(0, (version << 4) | 5)),
    ),
    ...[0, 1, 2, 3, 4].map(words =>
      on(`header of ${words} words`, 'BAD_HEADER_LENGTH', checked(0, 0x40 | words)),
    ),
    ...[0, 1, 19].map(length => on(`total length ${length}`, 'BAD_TOTAL_LENGTH', checked(2, 0, length))),
    on('total length 20', 'TRUNCATED', checked(2, 0, 20)),
    on('total length 27', 'TRUNCATED', checked(2, 0, 27)),
    on('total length within its options', 'BAD_TOTAL_LENGTH', checked(2, 0, 27), { ipOptions: pattern(8) }),
    on('total length one more than there is', 'TRUNCATED', packet =>
      checked(2, 0, packet.length + 1)(packet),
    ),
    on('total length 65535', 'TRUNCATED', checked(2, 0xff, 0xff)),
    ...[1, 8, 9, 11, 12, 15, 16, 19].map(at =>
      on(`byte ${at} of the header damaged`, 'BAD_CHECKSUM', packet =>
        withBytes(packet, at, packet[at] ^ 0x10),
      ),
    ),
    on('an option damaged', 'BAD_CHECKSUM', packet => withBytes(packet, 59, packet[59] ^ 1), {
      ipOptions: pattern(40),
    }),
    on('checksum 0', 'BAD_CHECKSUM', packet => withBytes(packet, 10, 0, 0)),
    on('checksum 0xffff', 'BAD_CHECKSUM', packet => withBytes(packet, 10, 0xff, 0xff)),
  ]
}

const ipv6Damage = (protocol: Protocol): DataplaneCase[] => {
  const on = (name: string, reason: string, edit: (packet: Uint8Array) => Uint8Array, shape?: PacketShape) =>
    damaged(name, 6, protocol, reason, edit, shape)
  const set =
    (at: number, ...values: number[]) =>
    (packet: Uint8Array) =>
      withBytes(packet, at, ...values)
  const same = (packet: Uint8Array): Uint8Array => packet
  const mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]
  const routing = { type: 43, body: Uint8Array.of(2, 1, 0, 0, 0, 0) }
  return [
    ...[0, 4, 5, 7, 15].map(version => on(`version ${version}`, 'BAD_VERSION', set(0, version << 4))),
    on('payload length 0', 'TRUNCATED', set(4, 0, 0)),
    on('payload length 7', 'TRUNCATED', set(4, 0, 7)),
    on('payload length one more than there is', 'TRUNCATED', packet =>
      withBytes(packet, 4, (packet.length - 39) >>> 8, (packet.length - 39) & 0xff),
    ),
    on('payload length 65535', 'TRUNCATED', set(4, 0xff, 0xff)),
    on('a mapped IPv4 source', 'BAD_ADDRESS', set(8, ...mapped)),
    on('a mapped IPv4 destination', 'BAD_ADDRESS', set(24, ...mapped)),
    on('nine extension headers', 'EXTENSION_HEADERS', same, { extensionHeaders: new Array(9).fill(OPTIONS) }),
    on('hop-by-hop options in second place', 'EXTENSION_HEADERS', same, {
      extensionHeaders: [OPTIONS, HOP_BY_HOP],
    }),
    on('hop-by-hop options twice', 'EXTENSION_HEADERS', same, { extensionHeaders: [HOP_BY_HOP, HOP_BY_HOP] }),
    on('two fragment headers', 'EXTENSION_HEADERS', same, { extensionHeaders: [ATOMIC, ATOMIC] }),
    on('a routing header with segments left', 'EXTENSION_HEADERS', same, { extensionHeaders: [routing] }),
    on('options longer than the packet', 'TRUNCATED', set(41, 200), { extensionHeaders: [OPTIONS] }),
    // What it leads to has no length of its own that would be found too long.
    ...[50, 59].map(next =>
      on(
        `options longer than the packet, then protocol ${next}`,
        'TRUNCATED',
        packet => withBytes(packet, 40, next, 200),
        { extensionHeaders: [OPTIONS] },
      ),
    ),
    on(
      'options that leave no room for ports',
      'TRUNCATED',
      packet => withBytes(packet, 41, (packet.length - 40) / 8 - 1),
      { extensionHeaders: [OPTIONS], payload: new Uint8Array(protocol === TCP ? 4 : 0) },
    ),
    ...[0, 43, 44, 60].map(next =>
      on(`extension header ${next} behind the end`, 'TRUNCATED', packet =>
        withBytes(withBytes(packet, 6, next), 4, 0, 0),
      ),
    ),
  ]
}

const tcpDamage = (family: Family): DataplaneCase[] => {
  const at = (family === 4 ? 20 : 40) + 12
  return [
    ...[0, 1, 2, 3, 4].map(words =>
      damaged(`TCP header of ${words} words`, family, TCP, 'BAD_HEADER_LENGTH', packet =>
        withBytes(packet, at, words << 4),
      ),
    ),
    ...[7, 15].map(words =>
      damaged(`header of ${words} words in too short a packet`, family, TCP, 'BAD_HEADER_LENGTH', packet =>
        withBytes(packet, at, words << 4),
      ),
    ),
  ]
}

const udpDamage = (family: Family): DataplaneCase[] =>
  [0, 1, 7, 14, 0xffff].map(length =>
    damaged(`length ${length}`, family, UDP, 'BAD_TOTAL_LENGTH', packet => packet, { udpLength: length }),
  )

const mismatches = (): DataplaneCase[] =>
  FAMILIES.flatMap(family =>
    PROTOCOLS.map(protocol =>
      frameCase(
        `IPv${family} ${PROTOCOL_NAME[protocol]} with the other family's type`,
        family,
        buildFrame(buildPacket(family, protocol, { payload: pattern(40) }), {
          type: family === 4 ? ETHERTYPE.ipv6 : ETHERTYPE.ipv4,
        }),
        'BAD_VERSION',
      ),
    ),
  )

const tag: VlanTag = { type: 0x8100, tci: 5 }

export const damagedCases = (): DataplaneCase[] => [
  ...truncations('cut', 4, TCP, {}),
  ...truncations('cut, with options', 4, UDP, { ipOptions: pattern(12) }),
  ...truncations('cut, in two tags', 4, UDP, {}, [tag, tag]),
  ...truncations('cut', 6, TCP, { tcpOptions: pattern(12) }),
  ...truncations('cut, in a tag', 6, UDP, {}, [tag]),
  ...truncations('cut, with extension headers', 6, UDP, { extensionHeaders: [HOP_BY_HOP, OPTIONS, ATOMIC] }),
  ...PROTOCOLS.flatMap(protocol => [...ipv4Damage(protocol), ...ipv6Damage(protocol)]),
  ...FAMILIES.flatMap(family => [...tcpDamage(family), ...udpDamage(family)]),
  ...mismatches(),
  ...FAMILIES.map(family =>
    frameCase(
      `IPv${family} to a host's own address`,
      family,
      buildFrame(withDestination(buildPacket(family, TCP, {}), family, HOSTS.redirected.address[family])),
      'NOT_A_VIP',
    ),
  ),
  ...FAMILIES.map(family =>
    frameCase(
      `IPv${family} of VLAN 5 cut to its tag`,
      family,
      buildFrame(new Uint8Array(0), { tags: [tag] }),
      'TRUNCATED',
      'passed',
      1,
    ),
  ),
]
