/** One case of the data plane's suite: a frame in, and what must become of it, whatever the back-end. */
import { ROUTE_STATE } from '../../src/agent/dataplane/xdp/route-layout.ts'
import {
  CLIENT,
  type Exit,
  type Family,
  HOSTS,
  type HostName,
  SERVICES,
  VIP,
  type WorldHost,
} from './dataplane-world.ts'
import { buildFrame, ETHERTYPE, type FrameOptions } from './ethernet.ts'
import {
  addressBytes,
  buildTcp4,
  buildTcp6,
  buildUdp4,
  buildUdp6,
  type TcpOptions,
  type UdpOptions,
} from './packets.ts'

export const TCP = 6
export const UDP = 17
export type Protocol = typeof TCP | typeof UDP
export const PROTOCOLS: readonly Protocol[] = [TCP, UDP]
export const PROTOCOL_NAME: Readonly<Record<Protocol, string>> = { 6: 'TCP', 17: 'UDP' }

/** Of IP and L4, without options. */
export const headerBytes = (family: Family, protocol: Protocol): number =>
  (family === 4 ? 20 : 40) + (protocol === TCP ? 20 : 8)

/** `passed`: to the slow path or the stack, as it came. */
export type Fate = 'forwarded' | 'passed' | 'dropped'

export interface CaseRoute {
  readonly client: string
  readonly port: number
  /** Number of the service. */
  readonly service: number
  readonly identifier: number
  readonly mapped: boolean
  readonly state: number
}

export interface DataplaneCase {
  readonly name: string
  readonly family: Family
  readonly frame: Uint8Array
  /** VLAN tags of the frame. */
  readonly tags: number
  /** There while the case runs. */
  readonly route: CaseRoute | null
  readonly fate: Fate
  /** A name of `enum counter`, without COUNT_. */
  readonly reason: string
  /** Where a forwarded packet leaves, and to whom. */
  readonly host: WorldHost | null
}

/** Any identifier of a host; a neutral one leaves the L4 checksum as it is. */
export const identifierOf = (host: number, low: number): number => ((host << 24) | (low & 0xffffff)) >>> 0
export const neutralIdentifier = (
  host: number,
  sourcePort: number,
  destinationPort: number,
  n = 0,
): number => {
  const high = (host << 8) | (n & 0xff)
  const low = (sourcePort + destinationPort + 65535 - high) % 65535
  return ((high << 16) | (low === 0 ? 0xffff : low)) >>> 0
}

export type PacketShape = TcpOptions & UdpOptions
export const buildPacket = (family: Family, protocol: Protocol, options: PacketShape): Uint8Array => {
  const build =
    family === 4 ? (protocol === TCP ? buildTcp4 : buildUdp4) : protocol === TCP ? buildTcp6 : buildUdp6
  return build({
    source: CLIENT[family],
    destination: VIP[family],
    destinationPort: protocol === TCP ? 80 : 53,
    payload: Uint8Array.of(1, 2, 3, 4, 5),
    ...options,
  })
}

export interface FlowOptions {
  readonly packet?: PacketShape
  readonly frame?: FrameOptions
  /** Default: `redirected`. */
  readonly host?: HostName
  readonly route?: Partial<CaseRoute> | null
  /** Damages the packet. */
  readonly edit?: (packet: Uint8Array) => Uint8Array | undefined
}

const exitReason = (exit: Exit | undefined): string =>
  exit === 'uplink' || exit === 'vlan' ? 'SENT_BACK' : 'REDIRECTED'

/** A packet of a flow that has a route, unless the options say otherwise; forwarded, if no other fate is given. */
export const flowCase = (
  name: string,
  family: Family,
  protocol: Protocol,
  options: FlowOptions = {},
  fate: Fate = 'forwarded',
  reason?: string,
): DataplaneCase => {
  const host: WorldHost = HOSTS[options.host ?? 'redirected']
  const shape = options.packet ?? {}
  const [sourcePort, port] = [
    shape.sourcePort ?? 40000,
    shape.destinationPort ?? (protocol === TCP ? 80 : 53),
  ]
  const packet = buildPacket(family, protocol, shape)
  const edited = options.edit?.(packet) ?? packet
  const service =
    SERVICES.find(
      known =>
        known.port === port &&
        known.protocol === protocol &&
        known.vip[family] === (shape.destination ?? VIP[family]),
    )?.number ?? 1
  return {
    name: `IPv${family} ${PROTOCOL_NAME[protocol]}: ${name}`,
    family,
    frame: buildFrame(edited, { type: family === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6, ...options.frame }),
    tags: options.frame?.tags?.length ?? 0,
    route:
      options.route === null
        ? null
        : {
            client: shape.source ?? CLIENT[family],
            port: sourcePort,
            service,
            identifier: neutralIdentifier(host.index, sourcePort, port, 5),
            mapped: true,
            state: ROUTE_STATE.ESTABLISHED,
            ...options.route,
          },
    fate,
    reason: reason ?? exitReason(host.exit),
    host: fate === 'forwarded' ? host : null,
  }
}

/** A frame of which no flow is asked. */
export const frameCase = (
  name: string,
  family: Family,
  frame: Uint8Array,
  reason: string,
  fate: Fate = 'passed',
  tags = 0,
): DataplaneCase => ({ name, family, frame, tags, route: null, fate, reason, host: null })

/** Sets bytes of a copy. */
export const withBytes = (bytes: Uint8Array, at: number, ...values: number[]): Uint8Array => {
  const copy = bytes.slice()
  copy.set(values, at)
  return copy
}

/** Makes the checksum of an IPv4 header right again, by its definition. */
export const withHeaderChecksum = (packet: Uint8Array): Uint8Array => {
  const copy = withBytes(packet, 10, 0, 0)
  let sum = 0
  for (let at = 0; at < Math.min((copy[0] & 15) * 4, copy.length - 1); at += 2)
    sum += copy[at] * 256 + copy[at + 1]
  const check = 0xffff - (sum === 0 ? 0 : sum % 65535 === 0 ? 65535 : sum % 65535)
  return withBytes(copy, 10, check >>> 8, check & 0xff)
}

/** An address inside of a packet. */
export const withDestination = (packet: Uint8Array, family: Family, address: string): Uint8Array => {
  const copy = withBytes(packet, family === 4 ? 16 : 24, ...addressBytes(address))
  return family === 4 ? withHeaderChecksum(copy) : copy
}
