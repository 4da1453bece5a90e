/**
 * What differs between the families: names, and how a packet that is not simple is told. Marks and what hangs on them are shared. With IPv6,
 * what has extension headers goes the slow way, where they are followed; neighbours ask about an address by ICMPv6 (RFC 4861).
 */
export interface Family {
  /** At the end of names. */
  readonly mark: '' | '6'
  readonly ip: 'ip' | 'ip6'
  readonly protocol: 'ip protocol' | 'meta l4proto'
  readonly fragment: readonly string[]
  readonly control: readonly string[]
  readonly extended: readonly string[]
  /** ICMP that the agent passes on (icmp-forwarder.ts, icmp-host.ts), and what it answers. */
  readonly errors: string
  readonly echo: string
  /** `fwd` would drop it without a word. */
  readonly spent: string
  /** Bytes that the header's length leaves out. */
  readonly beside: number
}

export const IPV4: Family = {
  mark: '',
  ip: 'ip',
  protocol: 'ip protocol',
  fragment: ['ip frag-off & 0x3fff != 0'],
  control: [],
  extended: [],
  errors: 'icmp type { destination-unreachable, time-exceeded, parameter-problem }',
  echo: 'icmp type echo-request',
  spent: 'ip ttl <= 1',
  beside: 0,
}
export const IPV6: Family = {
  mark: '6',
  ip: 'ip6',
  protocol: 'meta l4proto',
  // An atomic fragment is a whole packet (RFC 6946).
  fragment: ['frag frag-off != 0', 'frag more-fragments 1'],
  control: ['icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept'],
  extended: ['ip6 nexthdr != { tcp, udp }'],
  errors: 'icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }',
  echo: 'icmpv6 type echo-request',
  spent: 'ip6 hoplimit <= 1',
  beside: 40,
}
