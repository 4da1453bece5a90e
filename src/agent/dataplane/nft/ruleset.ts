/**
 * The nftables half of the data plane, as text for `nft -f` (decision 1). Built once at start; afterwards only
 * set and map elements change (plumber.ts).
 *
 * Forwarder, per packet to a VIP (R-A3, R-E8): services -> kernel map `route` (flow key -> identifier, written over
 * the ports) -> `hop`/`link` by the identifier's top byte -> addresses rewritten -> out. The raw write over the ports
 * leaves the L4 checksum as it is, so `route` holds checksum-neutral identifiers only; others stand in `fixed`, whose
 * two halves are written as TCP ports with the checksum fixed (UDP flows with such identifiers stay on the slow path:
 * nftables would fix a checksum that UDP left out). SYN, FIN, RST and every miss get the mark SLOW, are seen by
 * the packet ring, and are dropped before the stack would answer them.
 *
 * Host, per packet from a tunnel address (R-E8): `dec` (tunnel address . identifier . protocol -> mark) -> ports, client and
 * VIP by mark -> the own stack, by its own address. A miss goes the slow way; no tunnelled packet is ever reset.
 *
 * Elements have a time-out, the lease: the kernel forgets a route by itself and its flow's next packet comes to
 * the agent, which so learns that the flow lives, and plumbs it again. No counters are read to find idle flows.
 */
export interface RulesetPlan {
  /** Node name: tables are named after it, so that several agents can share a kernel. */
  readonly node: string
  readonly uplink: readonly string[]
  readonly cluster: readonly string[]
  readonly clusterAddress: string
  readonly forwarder: {
    readonly tunnelAddress: string
    readonly services: readonly { readonly vip: string; readonly protocol: string; readonly port: number }[]
    /** Hosts other than this node, with the next hop and interface that lead to them. */
    readonly hosts: readonly {
      readonly index: number
      readonly address: string
      readonly hop: string
      readonly link: string
    }[]
    readonly routeCapacity: number
  } | null
  readonly host: { readonly tunnels: readonly string[]; readonly mappingCapacity: number } | null
}

/** "SH" and a version: the mark of packets that the agent must see. */
export const SLOW_MARK = 0x53480001

/** Kernel-side counters, by the name that drops and status show. */
export const KERNEL_COUNTERS = [
  'route_hit',
  'slow_vip',
  'not_a_service',
  'fragment_vip',
  'decap_hit',
  'slow_tunnel',
  'tunnel_protocol',
  'fragment_tunnel',
  'half_restored',
] as const

export const tableName = (node: string): string => `shunt_${node.replaceAll('-', '_')}`

const KEY = 'ip saddr . th sport . ip daddr . th dport . ip protocol'
const list = (items: readonly string[]): string =>
  items.length === 0 ? '' : `elements = { ${items.join(', ')} };`

export const buildRuleset = (plan: RulesetPlan): string => {
  const name = tableName(plan.node)
  const links = [
    ...new Set([
      ...(plan.forwarder === null ? [] : plan.uplink),
      ...(plan.host === null ? [] : plan.cluster),
    ]),
  ]
  const base = links.map(
    (link, i) => ` chain in_${i} {
  type filter hook ingress device "${link}" priority -150; policy accept;
${plan.host !== null && plan.cluster.includes(link) ? `  ip saddr @tunnels ip daddr ${plan.clusterAddress} goto decap\n` : ''}${
  plan.forwarder !== null && plan.uplink.includes(link) ? '  ip daddr @vips goto vip\n' : ''
} }`,
  )
  return `table netdev ${name}
delete table netdev ${name}
table inet ${name}
delete table inet ${name}
table netdev ${name} {
${KERNEL_COUNTERS.map(counter => ` counter ${counter} { }`).join('\n')}
${plan.forwarder === null ? '' : forwarderPart(plan.forwarder)}${plan.host === null ? '' : hostPart(plan.host)} chain slow_vip { counter name slow_vip meta mark set ${SLOW_MARK} accept
 }
 chain slow_tunnel { counter name slow_tunnel meta mark set ${SLOW_MARK} accept
 }
${base.join('\n')}
}
table inet ${name} {
 chain captured { type filter hook prerouting priority -310; policy accept;
  meta mark ${SLOW_MARK} drop
 }
}
`
}

const forwarderPart = (plan: NonNullable<RulesetPlan['forwarder']>): string => {
  const vips = [...new Set(plan.services.map(service => service.vip))]
  const maps = (typeOf: string, name: string, items: string[]): string =>
    ` map ${name} { typeof ${typeOf}; size 256; ${list(items)} }\n`
  return ` set vips { typeof ip daddr; ${list(vips)} }
 set services { typeof ip daddr . ip protocol . th dport; ${list(plan.services.map(s => `${s.vip} . ${s.protocol} . ${s.port}`))} }
 map route { typeof ${KEY} : @th,0,32; flags timeout; size ${plan.routeCapacity}; }
 map fixed { typeof ${KEY} : meta mark; flags timeout; size ${plan.routeCapacity}; }
 map fixed_hi { typeof meta mark : tcp sport; flags timeout; size ${plan.routeCapacity}; }
 map fixed_lo { typeof meta mark : tcp dport; flags timeout; size ${plan.routeCapacity}; }
 set local { typeof ${KEY}; flags timeout; size ${plan.routeCapacity}; }
${maps(
  '@th,0,8 : ip daddr',
  'address',
  plan.hosts.map(h => `${h.index} : ${h.address}`),
)}${maps(
  '@th,0,8 : ip daddr',
  'hop',
  plan.hosts.map(h => `${h.index} : ${h.hop}`),
)}${maps(
  '@th,0,8 : iif',
  'link',
  plan.hosts.map(h => `${h.index} : "${h.link}"`),
)} chain vip {
  ip frag-off & 0x3fff != 0 counter name fragment_vip drop
  ip daddr . ip protocol . th dport != @services counter name not_a_service drop
  tcp flags & (fin | syn | rst) != 0 goto slow_vip
  @th,0,32 set ${KEY} map @route goto encap
  meta mark set ${KEY} map @fixed goto fix
  ${KEY} @local counter name route_hit accept
  goto slow_vip
 }
 chain fix {
  tcp sport set meta mark map @fixed_hi tcp dport set meta mark map @fixed_lo meta mark set 0 goto encap
  counter name half_restored drop
 }
 chain encap {
  ip daddr set @th,0,8 map @address ip saddr set ${plan.tunnelAddress} counter name route_hit fwd ip to @th,0,8 map @hop device @th,0,8 map @link
  counter name half_restored drop
 }
`
}

const hostPart = (
  plan: NonNullable<RulesetPlan['host']>,
): string => ` set tunnels { typeof ip saddr; ${list(plan.tunnels)} }
 map dec { typeof ip saddr . @th,0,32 . ip protocol : meta mark; flags timeout; size ${plan.mappingCapacity}; }
 map dec_fixed { typeof ip saddr . @th,0,32 . ip protocol : meta mark; flags timeout; size ${plan.mappingCapacity}; }
 map ports { typeof meta mark : @th,0,32; flags timeout; size ${plan.mappingCapacity}; }
 map ports_hi { typeof meta mark : tcp sport; flags timeout; size ${plan.mappingCapacity}; }
 map ports_lo { typeof meta mark : tcp dport; flags timeout; size ${plan.mappingCapacity}; }
 map client { typeof meta mark : ip saddr; flags timeout; size ${plan.mappingCapacity}; }
 map vip_of { typeof meta mark : ip daddr; flags timeout; size ${plan.mappingCapacity}; }
 chain decap {
  ip frag-off & 0x3fff != 0 counter name fragment_tunnel drop
  meta l4proto != { tcp, udp } counter name tunnel_protocol drop
  tcp flags & (fin | syn | rst) != 0 goto slow_tunnel
  meta mark set ip saddr . @th,0,32 . ip protocol map @dec goto restore
  meta mark set ip saddr . @th,0,32 . ip protocol map @dec_fixed goto restore_fixed
  goto slow_tunnel
 }
 chain restore {
  @th,0,32 set meta mark map @ports ip saddr set meta mark map @client ip daddr set meta mark map @vip_of meta mark set 0 counter name decap_hit accept
  counter name half_restored drop
 }
 chain restore_fixed {
  tcp sport set meta mark map @ports_hi tcp dport set meta mark map @ports_lo ip saddr set meta mark map @client ip daddr set meta mark map @vip_of meta mark set 0 counter name decap_hit accept
  counter name half_restored drop
 }
`
