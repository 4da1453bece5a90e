/** What any data plane of a host must do with packets from a forwarder (R-E8): restored, or passed to the slow path as they came. */
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { rewriteTuple } from '../../src/agent/dataplane/rewrite.ts'
import {
  buildPacket,
  identifierOf,
  type PacketShape,
  PROTOCOL_NAME,
  type Protocol,
  TCP,
  UDP,
  withBytes,
  withDestination,
} from './dataplane-case.ts'
import { dataplaneCases } from './dataplane-cases.ts'
import { CLIENT, FAMILIES, type Family, HOSTS, OPEN_VIP, STRANGER, TUNNEL } from './dataplane-world.ts'
import { buildFrame, packetOffset, type VlanTag } from './ethernet.ts'
import { addressWords, buildIp4, buildIp6, FLAG, pattern } from './packets.ts'

export interface CaseMapping {
  /** Which of the two tunnels, and how much older than the tunnel's generation. */
  readonly tunnel: 'first' | 'other'
  readonly age: number
  readonly identifier: number
  readonly client: string
  readonly port: number
  /** Number of the service. */
  readonly service: number
}

export interface HostCase {
  readonly name: string
  readonly family: Family
  /** As it comes from the forwarder. */
  readonly frame: Uint8Array
  /** There while the case runs. */
  readonly mapping: CaseMapping | null
  /** As it must be afterwards; the same bytes: it passed. */
  readonly after: Uint8Array
  /** A name of `enum counter`, without COUNT_. */
  readonly reason: string
}

const PROTOCOLS = [TCP, UDP] as const
export const OWN = HOSTS.local.address
export const OTHER_TUNNEL: Readonly<Record<Family, string>> = { 4: '10.66.0.2', 6: 'fd00:66::2' }
const IDENTIFIER = identifierOf(HOSTS.local.index, 0xabcdef)

/** A client's packet in tunnelled form, by the agent's own rewriting; null for one that it would refuse. */
export const tunnelled = (
  packet: Uint8Array,
  family: Family,
  identifier: number,
  from = TUNNEL,
): Uint8Array | null => rewritten(packet, addressWords(from[family]), addressWords(OWN[family]), identifier)

const rewritten = (
  packet: Uint8Array,
  source: Uint32Array,
  destination: Uint32Array,
  ports: number,
): Uint8Array | null => {
  const copy = packet.slice()
  const view = createPacketView()
  if (parsePacket(copy, 0, copy.length, view) !== DROP.NONE || view.fragment) return null
  rewriteTuple(copy, 0, view, source, 0, destination, 0, ports, false)
  return copy
}

/** Everything that the forwarder forwards comes to a host: each of those cases with the way back. */
const restoredCases = (): HostCase[] =>
  dataplaneCases().flatMap(({ name, family, frame, tags, route, fate, host }, i): HostCase[] => {
    if (fate !== 'forwarded' || route === null || host === null) return []
    const at = packetOffset(tags)
    const packet = frame.slice(at)
    const tunnel = i % 2 === 0 ? 'first' : 'other'
    const way = tunnelled(packet, family, route.identifier, tunnel === 'first' ? TUNNEL : OTHER_TUNNEL)
    // Only the low numbers have a place among the targets.
    if (way === null || route.service === 65535) return []
    const back = rewritten(
      way,
      addressWords(route.client),
      packetDestination(packet, family),
      route.port * 65536 + portOf(packet, family),
    )
    const head = frame.subarray(0, at)
    return [
      {
        name: `restored: ${name}`,
        family,
        frame: Uint8Array.from([...head, ...way]),
        mapping: {
          tunnel,
          age: 0,
          identifier: route.identifier,
          client: route.client,
          port: route.port,
          service: route.service,
        },
        after: Uint8Array.from([...head, ...back!]),
        reason: 'RESTORED',
      },
    ]
  })

const packetDestination = (packet: Uint8Array, family: Family): Uint32Array => {
  const view = new DataView(packet.buffer, packet.byteOffset)
  return family === 4
    ? Uint32Array.of(0, 0, 0xffff, view.getUint32(16))
    : Uint32Array.from([24, 28, 32, 36], at => view.getUint32(at))
}
const portOf = (packet: Uint8Array, family: Family): number => {
  const view = createPacketView()
  parsePacket(packet, 0, packet.length, view)
  return family === view.family ? view.destinationPort : 0
}

interface Shape {
  readonly packet?: PacketShape
  readonly from?: Readonly<Record<Family, string>>
  readonly identifier?: number
  readonly mapping?: Partial<CaseMapping> | null
  readonly tags?: readonly VlanTag[]
  readonly edit?: (packet: Uint8Array) => Uint8Array
}

/** A tunnelled packet, built as such, that passes. */
const passed = (
  name: string,
  family: Family,
  protocol: Protocol,
  reason: string,
  shape: Shape = {},
): HostCase => {
  const { from = TUNNEL, identifier = IDENTIFIER, tags = [], edit = (packet: Uint8Array) => packet } = shape
  const packet = buildPacket(family, protocol, {
    source: from[family],
    destination: OWN[family],
    sourcePort: identifier >>> 16,
    destinationPort: identifier & 0xffff,
    ...shape.packet,
  })
  const frame = buildFrame(edit(packet), { tags })
  return {
    name: `passed: IPv${family} ${PROTOCOL_NAME[protocol]}: ${name}`,
    family,
    frame,
    mapping:
      shape.mapping === null
        ? null
        : {
            tunnel: 'first',
            age: 0,
            identifier: IDENTIFIER,
            client: CLIENT[family],
            port: 40000,
            service: protocol === TCP ? 1 : 2,
            ...shape.mapping,
          },
    after: frame,
    reason,
  }
}

const missCases = (family: Family, protocol: Protocol): HostCase[] => {
  const on = (name: string, reason: string, shape: Shape): HostCase =>
    passed(name, family, protocol, reason, shape)
  return [
    on('no mapping', 'NO_MAPPING', { mapping: null }),
    on("another tunnel's mapping", 'NO_MAPPING', { mapping: { tunnel: 'other' } }),
    on('a mapping of the epoch before', 'NO_MAPPING', { mapping: { age: 1 } }),
    on('a mapping of fifteen epochs before', 'NO_MAPPING', { mapping: { age: 15 } }),
    on('another identifier', 'NO_MAPPING', { identifier: IDENTIFIER ^ 1 }),
    on('another host index in the identifier', 'NO_MAPPING', { identifier: (IDENTIFIER ^ 0x01000000) >>> 0 }),
    on('identifier 0', 'NO_MAPPING', { identifier: 0 }),
    on('a service of the other protocol', 'NOT_TO_VIP', { mapping: { service: protocol === TCP ? 2 : 1 } }),
    on('a service that is not here', 'NOT_TO_VIP', { mapping: { service: 5 } }),
    on('a service number beyond the targets', 'NOT_TO_VIP', { mapping: { service: 65535 } }),
    on('from nobody', 'NOT_TUNNELLED', { from: STRANGER }),
    on('from a client', 'NOT_TUNNELLED', { from: CLIENT }),
    on('to another address of this node', 'NOT_TUNNELLED', {
      edit: packet => withDestination(packet, family, HOSTS.redirected.address[family]),
    }),
    on('to the VIP', 'NOT_TUNNELLED', { edit: packet => withDestination(packet, family, OPEN_VIP[family]) }),
  ]
}

const fragmentCases = (family: Family, protocol: Protocol): HostCase[] =>
  Object.entries<PacketShape>({
    first: { moreFragments: true, payload: pattern(104) },
    middle: { moreFragments: true, fragmentOffset: 1480, payload: pattern(104) },
    last: { fragmentOffset: 2960, payload: pattern(9) },
  }).map(([name, packet]) => passed(`${name} fragment`, family, protocol, 'FRAGMENT', { packet }))

const controlCases = (family: Family): HostCase[] =>
  Object.entries({
    SYN: FLAG.SYN,
    'SYN and ACK': FLAG.SYN | FLAG.ACK,
    all: 0xff,
  }).map(([name, flags]) => passed(`flags: ${name}`, family, TCP, 'TCP_CONTROL', { packet: { flags } }))

/** Ends of connections go the way of all packets. */
const endCases = (family: Family): HostCase[] =>
  Object.entries({
    'FIN and ACK': FLAG.FIN | FLAG.ACK,
    RST: FLAG.RST,
    'FIN, RST and ACK': FLAG.FIN | FLAG.RST | FLAG.ACK,
  }).map(([name, flags]) => {
    const client = { source: CLIENT[family], sourcePort: 40_000, flags }
    const packet = buildPacket(family, TCP, client)
    const one = passed('', family, TCP, 'RESTORED', {})
    return {
      ...one,
      name: `restored: IPv${family} TCP: flags: ${name}`,
      frame: buildFrame(tunnelled(packet, family, IDENTIFIER)!),
      after: buildFrame(packet),
    }
  })

const damagedCases = (family: Family, protocol: Protocol): HostCase[] => {
  const whole = passed('', family, protocol, '', { packet: { payload: pattern(5) } })
  const cuts = Array.from({ length: whole.frame.length - 14 }, (_, cut): HostCase => {
    const frame = whole.frame.slice(0, 14 + cut)
    return {
      ...whole,
      name: `passed: IPv${family} ${PROTOCOL_NAME[protocol]}: ${frame.length} bytes of ${whole.frame.length}`,
      frame,
      after: frame,
      reason: 'TRUNCATED',
    }
  })
  const at = family === 4 ? 20 : 40
  return [
    ...cuts,
    protocol === TCP
      ? passed('header of 4 words', family, TCP, 'BAD_HEADER_LENGTH', {
          edit: packet => withBytes(packet, at + 12, 0x40),
        })
      : passed('length 7', family, UDP, 'BAD_TOTAL_LENGTH', { packet: { udpLength: 7 } }),
    ...(family === 4
      ? [
          passed('a damaged header', 4, protocol, 'BAD_CHECKSUM', {
            edit: packet => withBytes(packet, 1, 1),
          }),
        ]
      : []),
  ]
}

const otherCases = (family: Family): HostCase[] =>
  [1, 4, 47, 58, 132].map(protocol => {
    const build = family === 4 ? buildIp4 : buildIp6
    const frame = buildFrame(
      build(protocol, pattern(32), { source: TUNNEL[family], destination: OWN[family] }),
    )
    return {
      name: `passed: IPv${family} protocol ${protocol}`,
      family,
      frame,
      mapping: null,
      after: frame,
      // 4: a whole packet should be inside (test/lab/xdp-encap.test.ts), which this is not.
      reason: protocol === 4 ? 'BAD_INNER' : 'UNSUPPORTED_PROTOCOL',
    }
  })

/** All cases, by unique names. */
export const hostCases = (): HostCase[] => [
  ...restoredCases(),
  ...FAMILIES.flatMap(family => [
    ...PROTOCOLS.flatMap(protocol => [
      ...missCases(family, protocol),
      ...fragmentCases(family, protocol),
      ...damagedCases(family, protocol),
    ]),
    ...controlCases(family),
    ...endCases(family),
    ...otherCases(family),
  ]),
]
