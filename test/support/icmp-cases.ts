/** ICMP that a data plane may carry without an agent (icmp.h): golden frames, expected by the agent's own rewriting. */
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { createIcmpView, mirrored, parseIcmp } from '../../src/agent/dataplane/icmp-packet.ts'
import { rewriteIcmp } from '../../src/agent/dataplane/icmp-rewrite.ts'
import { createPacketView, parsePacket } from '../../src/agent/dataplane/packet.ts'
import { decrementTtl } from '../../src/agent/dataplane/rewrite.ts'
import {
  buildPacket,
  type CaseRoute,
  neutralIdentifier,
  PROTOCOLS,
  type Protocol,
  TCP,
} from './dataplane-case.ts'
import type { SourceOf } from './dataplane-expected.ts'
import {
  CLIENT,
  FAMILIES,
  type Family,
  HOSTS,
  type HostName,
  OPEN_VIP,
  STRANGER,
  TUNNEL,
  VIP,
  VLAN_TAG,
  type WorldHost,
} from './dataplane-world.ts'
import { buildFrame, ETHERTYPE, type FrameOptions, mac, packetOffset } from './ethernet.ts'
import { buildIcmp, checkOf, type IcmpOptions, rightCheck, setCheck } from './icmp.ts'
import { addressWords, join, type PacketOptions, pattern } from './packets.ts'

export interface IcmpCase {
  readonly name: string
  readonly family: Family
  readonly frame: Uint8Array
  readonly tags: number
  readonly route: CaseRoute | null
  /** Where an error goes; null: an echo, or what passes. */
  readonly host: WorldHost | null
  /** The reply to an echo. */
  readonly reply: Uint8Array | null
  /** A name of `enum counter`, without COUNT_. */
  readonly reason: string
}

const ROUTER = { 4: '203.0.113.1', 6: '2001:db8:ff::1' } as const
/** Too big, unreachable, time exceeded, parameter problem: type, code, second word. */
const ERRORS: Readonly<Record<Family, readonly (readonly [number, number, number])[]>> = {
  4: [
    [3, 4, 1280],
    [3, 3, 0],
    [11, 0, 0],
    [12, 0, 0x14000000],
  ],
  6: [
    [2, 0, 1280],
    [1, 4, 0],
    [3, 0, 0],
    [4, 1, 40],
  ],
}
const type = (family: Family): number => (family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6)
const frameOf = (packet: Uint8Array, family: Family, options: FrameOptions = {}): Uint8Array =>
  buildFrame(packet, { type: type(family), ...options })

/** What a host of the service sent to the client. */
const answer = (
  family: Family,
  protocol: Protocol,
  more: PacketOptions & { noChecksum?: boolean } = {},
): Uint8Array =>
  buildPacket(family, protocol, {
    ...{ source: VIP[family], destination: CLIENT[family], destinationPort: 40_000 },
    ...{ sourcePort: protocol === TCP ? 80 : 53, payload: pattern(700), ...more },
  })

interface ErrorShape {
  readonly about?: PacketOptions & { noChecksum?: boolean }
  /** Bytes of the packet inside. */
  readonly cut?: number
  readonly icmp?: Partial<IcmpOptions>
  readonly frame?: FrameOptions
  readonly host?: HostName
  readonly route?: Partial<CaseRoute> | null
  readonly edit?: (quoted: Uint8Array) => Uint8Array
}

const errorCase = (
  name: string,
  family: Family,
  protocol: Protocol,
  shape: ErrorShape = {},
  reason?: string,
): IcmpCase => {
  const host: WorldHost = HOSTS[shape.host ?? 'redirected']
  const quoted = answer(family, protocol, shape.about).slice(0, shape.cut ?? 548)
  const [kind, code, word] = ERRORS[family][0]!
  const packet = buildIcmp(family, {
    ...{ source: ROUTER[family], destination: VIP[family], type: kind, code, word },
    ...{ body: shape.edit?.(quoted) ?? quoted, ...shape.icmp },
  })
  const service = protocol === TCP ? 1 : 2
  const identifier = neutralIdentifier(host.index, 40_000, protocol === TCP ? 80 : 53, 5)
  return {
    name: `IPv${family} error about ${protocol === TCP ? 'TCP' : 'UDP'}: ${name}`,
    ...{
      family,
      frame: frameOf(packet, family, shape.frame),
      tags: shape.frame?.tags?.length ?? 0,
      reply: null,
    },
    route:
      shape.route === null
        ? null
        : {
            client: CLIENT[family],
            port: 40_000,
            service,
            identifier,
            mapped: true,
            state: 2,
            ...shape.route,
          },
    host: reason === undefined ? host : null,
    reason: reason ?? 'ICMP_TO_HOST',
  }
}
const SLOW = 'UNSUPPORTED_PROTOCOL'

const errorCases = (family: Family): IcmpCase[] => {
  const l4 = family === 4 ? 20 : 40
  return PROTOCOLS.flatMap(protocol => {
    const one = (name: string, shape?: ErrorShape, reason?: string): IcmpCase =>
      errorCase(name, family, protocol, shape, reason)
    const least = l4 + 8
    const unit = family === 4 ? 4 : 8
    const length = (bytes: number): number =>
      family === 4 ? (bytes / unit) << 16 : ((bytes / unit) << 24) >>> 0
    const [, unreachable] = ERRORS[family]
    const extended = (bytes: number, told = bytes): ErrorShape => ({
      icmp: { type: unreachable![0], code: unreachable![1], word: length(told) },
      cut: bytes,
      edit: quoted => join(quoted, pattern(20)),
    })
    return [
      ...ERRORS[family].map(([kind, code, word]) =>
        one(`type ${kind}, code ${code}`, { icmp: { type: kind, code, word } }),
      ),
      ...[least, least + 1, l4 + 17, l4 + 18, l4 + 19, 100, 548].map(cut =>
        one(`${cut} bytes of it`, { cut }),
      ),
      ...[0, l4, least - 1].map(cut => one(`${cut} bytes of it`, { cut }, SLOW)),
      one('no checksum', { about: { noChecksum: true } }),
      one('damaged', { icmp: { wrongChecksum: true } }),
      one('sent back', { host: 'sentBack' }),
      one('by a VLAN', { host: 'vlan' }),
      one('in a VLAN', { frame: { tags: [{ type: 0x8100, tci: 9 }] } }),
      one('an identifier that is not neutral', { route: { identifier: 0x01abcdef } }),
      one('extensions behind it', extended(128)),
      one('a length that lies', extended(128, 248), SLOW),
      one('a length that leaves no ports', extended(128, l4), SLOW),
      one('of no flow here', { route: null }, SLOW),
      one('of a flow that its host does not know', { route: { mapped: false } }, SLOW),
      one('of another service', { about: { sourcePort: 81 } as PacketOptions }, SLOW),
      one('not to who sent it', { about: { source: STRANGER[family] } }, SLOW),
      one('to another VIP than sent it', { icmp: { destination: OPEN_VIP[family] } }, SLOW),
      one('TTL 1', { icmp: { ttl: 1 } }, SLOW),
      one('to several', { frame: { destination: Uint8Array.of(1, 0, 94, 0, 0, 1) } }, SLOW),
      one('a host without a way', { host: 'unreachable' }, SLOW),
      one('of the other family', { edit: () => answer(family === 4 ? 6 : 4, protocol) }, SLOW),
      one(
        'about an error',
        {
          edit: quoted =>
            buildIcmp(family, {
              source: VIP[family],
              destination: CLIENT[family],
              type: ERRORS[family][0]![0],
              body: quoted,
            }),
        },
        SLOW,
      ),
      ...(family === 4
        ? [
            one('IP options outside', { icmp: { ipOptions: pattern(8) } }, SLOW),
            one('IP options inside', { about: { ipOptions: pattern(8) } }, SLOW),
            one('a first fragment', { about: { moreFragments: true } }),
            one(
              'a later fragment',
              { edit: quoted => Uint8Array.from(quoted, (byte, i) => (i === 7 ? 9 : byte)) },
              SLOW,
            ),
          ]
        : [one('extension headers inside', { about: { fragmentHeader: true } }, SLOW)]),
    ]
  })
}

const echoCases = (family: Family): IcmpCase[] => {
  const [request, reply] = family === 4 ? [8, 0] : [128, 129]
  const common = { word: 0x12340007, body: pattern(56) }
  const echo = (
    name: string,
    more: Partial<IcmpOptions> = {},
    answered = true,
    frame: FrameOptions = {},
  ): IcmpCase => {
    const ends = { source: CLIENT[family], destination: VIP[family], ...more }
    const packet = buildIcmp(family, { type: request!, ...common, ...more, ...ends })
    const back = { ...common, ...more, source: ends.destination, destination: ends.source }
    return {
      ...{
        name: `IPv${family} echo: ${name}`,
        family,
        route: null,
        host: null,
        tags: frame.tags?.length ?? 0,
      },
      frame: frameOf(packet, family, frame),
      reply: answered ? buildIcmp(family, { ...back, type: reply!, ttl: 64 }) : null,
      reason: answered ? 'ICMP_ECHO' : SLOW,
    }
  }
  const nobodies =
    family === 4
      ? ['0.0.0.0', '0.255.0.1', '127.0.0.1', '224.0.0.1', '255.255.255.255', VIP[4]]
      : ['::', '::1', 'ff02::1', 'fe80::1', 'febf::1', VIP[6]]
  return [
    ...[0, 1, 7, 56, 1400].map(bytes => echo(`${bytes} bytes`, { body: pattern(bytes) })),
    echo('TTL 1', { ttl: 1 }),
    echo('damaged', { wrongChecksum: true }),
    echo('in a VLAN', {}, true, { tags: [{ type: 0x8100, tci: 9 }] }),
    echo('another code', { code: 1 }, false),
    ...nobodies.map(source => echo(`from ${source}`, { source }, false)),
    echo('to several', {}, false, { destination: Uint8Array.of(1, 0, 94, 0, 0, 1) }),
    ...(family === 4 ? [echo('IP options', { ipOptions: pattern(4) }, false)] : []),
  ]
}

export const icmpCases = (): IcmpCase[] =>
  FAMILIES.flatMap(family => [...errorCases(family), ...echoCases(family)])

const tuple = (source: string, sender: string, receiver: string, ports: number) => ({
  ...{ source: addressWords(source), sourceAt: 0, sender: addressWords(sender), senderAt: 0 },
  ...{ receiver: addressWords(receiver), receiverAt: 0, ports },
})

/** An error about a host's packet, in tunnelled form, by the agent's own rewriting; null: the agent would refuse it. */
export const tunnelledError = (
  packet: Uint8Array,
  family: Family,
  host: string,
  identifier: number,
  tunnel: string = TUNNEL[family],
): Uint8Array | null => {
  const out = packet.slice()
  const view = createPacketView()
  const icmp = createIcmpView()
  parsePacket(out, 0, out.length, view)
  let reason = parseIcmp(out, 0, view, icmp)
  if (reason === DROP.ICMP_CHECKSUM) {
    // For the host's stack to see: what else is in it counts here.
    const damaged = checkOf(out)
    setCheck(out, rightCheck(out.subarray(0, view.end)))
    reason = parseIcmp(out, 0, view, icmp)
    setCheck(out, damaged)
  }
  if (reason !== DROP.NONE) return null
  rewriteIcmp(out, 0, view, icmp, tuple(tunnel, host, tunnel, mirrored(identifier)))
  return out
}

export const expectedIcmp = (one: IcmpCase, sourceOf: SourceOf): Uint8Array => {
  const at = packetOffset(one.tags)
  if (one.reply !== null) {
    const head = one.frame.slice(0, at)
    return Uint8Array.from([...head.slice(6, 12), ...head.slice(0, 6), ...head.slice(12), ...one.reply])
  }
  if (one.host === null) return one.frame
  const { neighbour, exit, address } = one.host
  const out = tunnelledError(one.frame.slice(at), one.family, address[one.family]!, one.route!.identifier)!
  const view = createPacketView()
  parsePacket(out, 0, out.length, view)
  decrementTtl(out, 0, view)
  return buildFrame(out, {
    ...{ source: sourceOf(one.host), destination: mac(neighbour!), type: type(one.family) },
    tags: exit === 'vlan' ? [VLAN_TAG] : [],
  })
}
