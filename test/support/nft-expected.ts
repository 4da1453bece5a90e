/**
 * What the nftables back-end does with the cases of dataplane-cases.ts: the same as XDP, but for what stands in DIFFERENCES. Where XDP leaves
 * a packet to what is behind it, these rules are what is behind: they then have to say more than XDP.
 */
import type { DataplaneCase } from './dataplane-case.ts'
import { expectedFrame } from './dataplane-expected.ts'
import { type Exit, HOSTS, OPEN_VIP, SERVICES, TUNNEL, VIP, type WorldHost } from './dataplane-world.ts'
import { buildFrame, mac, packetOffset } from './ethernet.ts'
import { addressBytes, join } from './packets.ts'
import { sourceOf } from './xdp-lab.ts'

/**
 * `slow`: to the agent, as it came. `stack`: past the rules, as it came. `dropped`: by a rule, which counts. `ended`: by the kernel, before
 * or behind the rules.
 */
export type NftFate = 'forwarded' | 'slow' | 'stack' | 'dropped' | 'ended'

export interface NftExpectation {
  readonly fate: NftFate
  /** Of the rules; two are parted by a space; null: none of them. */
  readonly counter: string | null
  /** What leaves by `exit`. */
  readonly frame?: Uint8Array
  readonly exit?: Exit
  readonly tagged?: boolean
  /** Which difference says so; null: as XDP. */
  readonly why: string | null
}

type Answer = Pick<NftExpectation, 'fate' | 'counter' | 'frame' | 'exit'>
interface Difference {
  readonly why: string
  readonly when: (one: DataplaneCase) => boolean
  readonly answer: (one: DataplaneCase) => Answer
}

const always =
  (fate: NftFate, counter: string | null = null) =>
  (): Answer => ({ fate, counter })
const reason =
  (...reasons: readonly string[]) =>
  (one: DataplaneCase): boolean =>
    reasons.includes(one.reason)

const ICMP_FOR_AGENT =
  /ICMP (echo request|port unreachable|destination unreachable|fragmentation needed|packet too big|time exceeded|parameter problem)/

const hostOf = ({ route }: DataplaneCase): WorldHost => {
  const host = Object.values<WorldHost>(HOSTS).find(({ index }) => index === (route?.identifier ?? 0) >>> 24)
  if (host === undefined) throw new Error('no such host')
  return host
}

const word = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1]
const fold = (sum: number): number => (sum === 0 ? 0 : sum % 65535 === 0 ? 65535 : sum % 65535)

/** Of one that the parser refuses: addresses, ports and TTL anew, and the checksums as far off as they were (RFC 1624). */
const rewrittenAnyway = (one: DataplaneCase): Answer => {
  const { family } = one
  const host = hostOf(one)
  const was = one.frame.slice(packetOffset(one.tags))
  const now = was.slice()
  const [ttl, source, length] = family === 4 ? [8, 12, 4] : [7, 8, 16]
  const l4 = family === 4 ? (was[0] & 15) * 4 : 40
  const identifier = one.route?.identifier ?? 0
  now[ttl]--
  now.set(addressBytes(TUNNEL[family]), source)
  now.set(addressBytes(host.address[family]!), source + length)
  now.set([identifier >>> 24, (identifier >>> 16) & 255, (identifier >>> 8) & 255, identifier & 255], l4)
  const moved = (...at: readonly number[]): number =>
    at.reduce((sum, place) => sum + (0xffff - word(was, place)) + word(now, place), 0)
  const correct = (at: number, change: number): void => {
    const check = 0xffff - fold(0xffff - word(was, at) + change)
    now.set([check >>> 8, check & 255], at)
  }
  const addresses = Array.from({ length }, (_, i) => source + 2 * i)
  if (family === 4) correct(10, moved(8, ...addresses))
  const isTcp = protocolOf(one) === 6
  const check = l4 + (isTcp ? 16 : 6)
  if (check + 2 <= was.length && (isTcp || word(was, check) !== 0))
    correct(check, moved(...addresses, l4, l4 + 2))
  const frame = buildFrame(now, {
    source: sourceOf(host),
    destination: mac(host.neighbour!),
    type: family === 4 ? 0x0800 : 0x86dd,
  })
  return { fate: 'forwarded', counter: 'route_hit', exit: host.exit, frame }
}

const forwarded = (one: DataplaneCase): Answer => {
  const host = hostOf(one)
  const frame = expectedFrame({ ...one, host }, sourceOf)
  return {
    ...{ fate: 'forwarded', counter: 'route_hit', exit: host.exit },
    // The VLAN device itself puts its tag on.
    frame: host.exit === 'vlan' ? join(frame.subarray(0, 12), frame.subarray(16)) : frame,
  }
}

const isNeutral = ({ route, name }: DataplaneCase): boolean => {
  const port = SERVICES.find(({ number }) => number === route!.service)!.port
  const from = /from port (\d+)/.exec(name)?.[1]
  const { identifier } = route!
  return (
    ((identifier >>> 16) + (identifier & 0xffff)) % 65535 ===
    ((from ? Number(from) : route!.port) + port) % 65535
  )
}
const protocolOf = ({ frame, tags, family }: DataplaneCase): number =>
  frame[packetOffset(tags) + (family === 4 ? 9 : 6)]
const isVip = ({ frame, tags, family }: DataplaneCase): boolean => {
  const at = packetOffset(tags) + (family === 4 ? 16 : 24)
  const destination = Buffer.from(frame.subarray(at, at + (family === 4 ? 4 : 16)))
  return [VIP, OPEN_VIP].some(vip => destination.equals(addressBytes(vip[family])))
}
const headerBytes = (family: number): number => (family === 4 ? 20 : 40)
const hasExtensions = (one: DataplaneCase): boolean =>
  one.family === 6 && [0, 43, 44, 60].includes(protocolOf(one))

/** The first that fits counts. */
export const DIFFERENCES: readonly Difference[] = [
  {
    why: 'the kernel drops a frame that ends within its VLAN tag',
    when: ({ frame }) => frame.length < 20 && isTagged(frame),
    answer: always('ended'),
  },
  {
    why: 'the kernel shows the rules what is behind the first tag alone: two tags are not IP to them',
    when: ({ tags }) => tags > 1,
    answer: always('stack'),
  },
  {
    why: 'the rules look at addresses wherever there are some, at ports only in a packet whose headers are whole',
    when: ({ reason: why, frame, tags, family }) =>
      why === 'TRUNCATED' && frame.length < packetOffset(tags) + headerBytes(family),
    answer: always('stack'),
  },
  {
    why: 'a destination that is damaged is none of a VIP',
    when: one => one.reason === 'BAD_CHECKSUM' && !isVip(one),
    answer: always('stack'),
  },
  {
    why: "another family's packet is looked at as what the frame says that it is: it has no VIP there",
    when: ({ name }) => name.includes("the other family's type"),
    answer: always('stack'),
  },
  {
    why: 'the rules look at no header checksum: of another protocol it is no service',
    when: one => one.reason === 'BAD_CHECKSUM' && protocolOf(one) !== 6 && protocolOf(one) !== 17,
    answer: always('dropped', 'not_a_service'),
  },
  {
    why: 'the rules look at no header checksum; it stays wrong, and whoever comes next refuses the packet',
    when: one =>
      one.reason === 'BAD_CHECKSUM' && !['byte 12', 'byte 15'].some(byte => one.name.includes(byte)),
    answer: rewrittenAnyway,
  },
  {
    why: 'the rules look neither at the length of a TCP header nor at that of a datagram; the host does',
    when: one =>
      (one.reason === 'BAD_HEADER_LENGTH' && one.name.includes('TCP header')) ||
      (one.reason === 'BAD_HEADER_LENGTH' && one.name.includes('too short a packet')) ||
      (one.reason === 'BAD_TOTAL_LENGTH' && /UDP: length/.test(one.name)),
    answer: rewrittenAnyway,
  },
  {
    why: 'ports are read where they would be, whatever the packet says its length is; the host refuses it',
    when: one => one.reason === 'TRUNCATED' && /(total length 2[07]|payload length [07])$/.test(one.name),
    answer: rewrittenAnyway,
  },
  {
    why: 'a destination that no packet may have is none of a VIP',
    when: one => one.reason === 'BAD_ADDRESS' && !isVip(one),
    answer: always('stack'),
  },
  {
    why: 'neighbours may ask about a VIP',
    when: ({ name }) => /^IPv6 ICMP neighbour [a-z]+$/.test(name),
    answer: always('stack'),
  },
  {
    why: 'the rules follow extension headers as far as a fragment header, wherever the packet ends',
    when: one => one.reason === 'TRUNCATED' && one.name.includes('extension header 44 behind'),
    answer: always('dropped', 'fragment_vip'),
  },
  {
    why: 'behind XDP somebody has to drop fragments, for no forwarder puts them together',
    when: reason('FRAGMENT'),
    answer: always('dropped', 'fragment_vip'),
  },
  {
    why: 'what has extension headers is for the agent to read',
    when: one => one.fate === 'forwarded' && hasExtensions(one),
    answer: always('slow', 'slow_vip'),
  },
  {
    why: 'a UDP checksum may be none, which nftables would not see when it corrects one: only neutral identifiers are in the kernel',
    when: one => one.fate === 'forwarded' && protocolOf(one) === 17 && !isNeutral(one),
    answer: always('slow', 'slow_vip'),
  },
  {
    why: 'nftables writes 0xffff for a TCP checksum of 0, which means the same',
    when: one => /^IPv. TCP: a new checksum of 0$/.test(one.name),
    answer: one => {
      const answer = forwarded(one)
      const frame = answer.frame!.slice()
      frame.set([0xff, 0xff], 14 + headerBytes(one.family) + 16)
      return { ...answer, frame }
    },
  },
  {
    why: 'to the rules every service of a VIP is known',
    when: one => one.reason === 'NO_ROUTE' && one.name.includes('open VIP'),
    answer: always('dropped', 'not_a_service'),
  },
  {
    why: 'a TTL of 1 is for the agent to look at, which gives it to the own stack where that is the host',
    when: one => one.name.endsWith('host local, TTL 1'),
    answer: always('slow', 'slow_vip'),
  },
  {
    why: 'ICMP errors and echo are for the agent, whatever is in them',
    when: one => one.reason === 'UNSUPPORTED_PROTOCOL' && ICMP_FOR_AGENT.test(one.name),
    answer: always('slow', 'slow_icmp'),
  },
  {
    why: 'what is neither TCP nor UDP is no service',
    when: reason('UNSUPPORTED_PROTOCOL'),
    answer: always('dropped', 'not_a_service'),
  },
  {
    why: 'the agent gives no route to a host that it knows no way to; one that is there is dropped, not half rewritten',
    when: reason('NO_HOST', 'NO_NEXT_HOP'),
    answer: always('dropped', 'half_restored'),
  },
  {
    why: 'the kernel keeps the packet until it knows the neighbour',
    when: reason('NO_NEIGHBOUR'),
    answer: always('ended', 'route_hit'),
  },
  {
    why: 'the agent tells the client whose packet has used its TTL up',
    when: reason('TTL_EXPIRED'),
    answer: always('slow', 'slow_vip'),
  },
  {
    why: 'any interface can be sent by',
    when: reason('OTHER_INTERFACE'),
    answer: forwarded,
  },
  {
    why: 'the rules do not look who else a frame is to',
    when: reason('LINK_MULTICAST'),
    answer: forwarded,
  },
  {
    why: 'the link itself takes a few bytes more than it says (room for a tag)',
    when: one => one.reason === 'TOO_BIG' && /^\S+ \S+ (1 bytes|one byte) more/.test(one.name),
    answer: forwarded,
  },
  {
    why: 'the link drops what is too big',
    when: reason('TOO_BIG'),
    answer: always('ended', 'route_hit'),
  },
  {
    why: 'the tag of a VLAN device is not the rules to write',
    when: ({ host }) => host?.exit === 'vlan',
    answer: forwarded,
  },
]

const isTagged = (frame: Uint8Array): boolean => [0x8100, 0x88a8].includes(word(frame, 12))

const likeXdp = (one: DataplaneCase): Answer => {
  if (one.fate === 'forwarded') return forwarded(one)
  if (one.fate === 'dropped') return { fate: 'dropped', counter: 'not_a_service' }
  if (one.reason === 'LOCAL') return { fate: 'stack', counter: 'route_hit local_hit' }
  const ofNobody = ['NOT_IP', 'VLAN_TAGS', 'NOT_A_VIP'].includes(one.reason)
  return ofNobody ? { fate: 'stack', counter: null } : { fate: 'slow', counter: 'slow_vip' }
}

export const nftExpectation = (one: DataplaneCase): NftExpectation => {
  const difference = DIFFERENCES.find(({ when }) => when(one))
  const answer = difference?.answer(one) ?? likeXdp(one)
  // A frame keeps its tag: what cannot be seen by the rules is not rewritten by them.
  return { ...answer, tagged: isTagged(one.frame), why: difference?.why ?? null }
}
