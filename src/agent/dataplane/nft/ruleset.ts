/**
 * The nftables half of the data plane, as text for `nft -f` (decision 1). Built at start; afterwards set and map elements
 * change (plumber.ts), and on another configuration what differs, in one transaction (ruleset-change.ts).
 *
 * Forwarder, per packet to a VIP (R-A3, R-E8): services -> kernel map `route` (flow key -> identifier, written over
 * the ports) -> `hop`/`link` by the identifier's top byte -> addresses rewritten -> out. The raw write over the ports
 * leaves the L4 checksum as it is, so `route` holds checksum-neutral identifiers only; others stand in `fixed`, whose
 * two halves are written as TCP ports with the checksum fixed (UDP flows with such identifiers stay on the slow path:
 * nftables would fix a checksum that UDP left out). SYN, FIN, RST and every miss get the mark SLOW, are seen by
 * the packet ring, and are dropped before the stack would answer them.
 *
 * ICMP errors and echo for VIPs, errors to the tunnel address and errors from tunnel addresses go to the packet ring, at a bounded rate.
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
  /** Source address of frames that XDP has done with (bpf/own-stack.h), which the own stack gets as they are; null: none are. */
  readonly doneBy?: string | null
  readonly forwarder: {
    readonly tunnelAddress: string
    readonly services: readonly { readonly vip: string; readonly protocol: string; readonly port: number }[]
    /** Hosts other than this node, with the next hop and interface that lead to them. */
    readonly hosts: readonly {
      readonly index: number
      readonly address: string
      readonly hop: string
      readonly link: string
      /** Bytes, where the way takes less than an uplink may bring. */
      readonly mtu?: number | undefined
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
  'slow_icmp',
  'icmp_limited',
] as const

export const tableName = (node: string): string => `shunt_${node.replaceAll('-', '_')}`

/** What the agent passes on (icmp-forwarder.ts, icmp-host.ts). */
const ICMP_ERRORS = 'icmp type { destination-unreachable, time-exceeded, parameter-problem }'
/** The ring is shared with first packets: of ICMP it takes no more. The agent's own limits are lower. */
const ICMP_PER_SECOND = 5000

const KEY = 'ip saddr . th sport . ip daddr . th dport . ip protocol'

/** A set or map; `declaration` is what cannot change while it lives. */
export interface SetPart {
  readonly kind: 'set' | 'map'
  readonly declaration: string
  readonly elements: readonly string[]
}

/** A chain; `hook` makes it a base chain and cannot change while it lives. */
export interface ChainPart {
  readonly hook: string | null
  readonly rules: readonly string[]
}

export interface RulesetParts {
  readonly sets: ReadonlyMap<string, SetPart>
  readonly chains: ReadonlyMap<string, ChainPart>
}

/** Link names may hold what a chain's name may not; a slash is in no link name. */
const chainOf = (link: string): string =>
  /^[A-Za-z0-9_.-]+$/.test(link) ? `in_${link}` : `in_/${Buffer.from(link).toString('hex')}`

/** What the netdev table holds. */
export const describeRuleset = (plan: RulesetPlan): RulesetParts => {
  const links = [
    ...new Set([
      ...(plan.forwarder === null ? [] : plan.uplink),
      ...(plan.forwarder === null && plan.host === null ? [] : plan.cluster),
    ]),
  ]
  const base = links.map((link): [string, ChainPart] => [
    chainOf(link),
    {
      hook: `type filter hook ingress device "${link}" priority -150; policy accept;`,
      rules: [
        ...(plan.doneBy ? [`ether saddr ${plan.doneBy} accept`] : []),
        ...(plan.host !== null && plan.cluster.includes(link)
          ? [`ip saddr @tunnels ip daddr ${plan.clusterAddress} goto decap`]
          : []),
        ...(plan.forwarder !== null
          ? [`ip daddr ${plan.forwarder.tunnelAddress} ${ICMP_ERRORS} goto of_icmp`]
          : []),
        ...(plan.forwarder !== null && plan.uplink.includes(link) ? ['ip daddr @vips goto vip'] : []),
      ],
    },
  ])
  const slow = (counter: string): [string, ChainPart] => [
    counter,
    { hook: null, rules: [`counter name ${counter} meta mark set ${SLOW_MARK} accept`] },
  ]
  const forwarder = plan.forwarder === null ? NOTHING : forwarderPart(plan.forwarder)
  const host = plan.host === null ? NOTHING : hostPart(plan.host)
  return {
    sets: new Map([...forwarder.sets, ...host.sets]),
    chains: new Map([
      ...[...forwarder.chains, ...host.chains, slow('slow_vip'), slow('slow_tunnel'), slow('slow_icmp')],
      chain(
        'of_icmp',
        `limit rate over ${ICMP_PER_SECOND}/second burst ${ICMP_PER_SECOND} packets counter name icmp_limited drop`,
        'goto slow_icmp',
      ),
      ...base,
    ]),
  }
}

export const renderSet = (name: string, { kind, declaration, elements }: SetPart): string =>
  ` ${kind} ${name} { ${declaration} ${elements.length === 0 ? '' : `elements = { ${elements.join(', ')} };`} }\n`

/** With `hook` false the rules go to a chain that is there already. */
export const renderChain = (name: string, { hook, rules }: ChainPart, withHook = true): string =>
  ` chain ${name} {\n${withHook && hook !== null ? `  ${hook}\n` : ''}${rules.map(rule => `  ${rule}\n`).join('')} }\n`

export const buildRuleset = (plan: RulesetPlan): string => {
  const name = tableName(plan.node)
  const { sets, chains } = describeRuleset(plan)
  return `table netdev ${name}
delete table netdev ${name}
table inet ${name}
delete table inet ${name}
table netdev ${name} {
${KERNEL_COUNTERS.map(counter => ` counter ${counter} { }\n`).join('')}${[...sets].map(([set, part]) => renderSet(set, part)).join('')}${[...chains].map(([chain, part]) => renderChain(chain, part)).join('')}}
table inet ${name} {
 chain captured { type filter hook prerouting priority -310; policy accept;
  meta mark ${SLOW_MARK} drop
 }
}
`
}

interface RolePart {
  readonly sets: readonly [string, SetPart][]
  readonly chains: readonly [string, ChainPart][]
}
const NOTHING: RolePart = { sets: [], chains: [] }

const declare = (
  kind: SetPart['kind'],
  name: string,
  declaration: string,
  elements: readonly string[] = [],
): [string, SetPart] => [name, { kind, declaration, elements }]
const chain = (name: string, ...rules: string[]): [string, ChainPart] => [name, { hook: null, rules }]

const forwarderPart = (plan: NonNullable<RulesetPlan['forwarder']>): RolePart => {
  const { services, hosts } = plan
  const leased = `flags timeout; size ${plan.routeCapacity};`
  const byIndex = (name: string, type: string, items: string[]): [string, SetPart] =>
    declare('map', name, `typeof @th,0,8 : ${type}; size 256;`, items)
  return {
    sets: [
      declare('set', 'vips', 'typeof ip daddr;', [...new Set(services.map(service => service.vip))]),
      declare(
        'set',
        'services',
        'typeof ip daddr . ip protocol . th dport;',
        services.map(s => `${s.vip} . ${s.protocol} . ${s.port}`),
      ),
      declare('map', 'route', `typeof ${KEY} : @th,0,32; ${leased}`),
      declare('map', 'fixed', `typeof ${KEY} : meta mark; ${leased}`),
      declare('map', 'fixed_hi', `typeof meta mark : tcp sport; ${leased}`),
      declare('map', 'fixed_lo', `typeof meta mark : tcp dport; ${leased}`),
      declare('set', 'local', `typeof ${KEY}; ${leased}`),
      byIndex(
        'address',
        'ip daddr',
        hosts.map(h => `${h.index} : ${h.address}`),
      ),
      byIndex(
        'hop',
        'ip daddr',
        hosts.map(h => `${h.index} : ${h.hop}`),
      ),
      byIndex(
        'link',
        'iif',
        hosts.map(h => `${h.index} : "${h.link}"`),
      ),
    ],
    chains: [
      chain(
        'vip',
        'ip frag-off & 0x3fff != 0 counter name fragment_vip drop',
        `${ICMP_ERRORS} goto of_icmp`,
        'icmp type echo-request goto of_icmp',
        'ip daddr . ip protocol . th dport != @services counter name not_a_service drop',
        'tcp flags & (fin | syn | rst) != 0 goto slow_vip',
        `@th,0,32 set ${KEY} map @route goto encap`,
        `meta mark set ${KEY} map @fixed goto fix`,
        `${KEY} @local counter name route_hit accept`,
        'goto slow_vip',
      ),
      chain(
        'fix',
        'tcp sport set meta mark map @fixed_hi tcp dport set meta mark map @fixed_lo meta mark set 0 goto encap',
        'counter name half_restored drop',
      ),
      ...encapChains(plan),
    ],
  }
}

/**
 * What `fwd` sends it does not measure. Where the way to a host is narrower than an uplink, what is too large for it goes to the agent, in
 * tunnelled form, since its ports are overwritten by then; merged segments, which cannot be told from it here, go with it and are cut there.
 */
const encapChains = ({
  hosts,
  tunnelAddress,
}: NonNullable<RulesetPlan['forwarder']>): [string, ChainPart][] => {
  const addresses = `ip daddr set @th,0,8 map @address ip saddr set ${tunnelAddress}`
  const send = 'counter name route_hit fwd ip to @th,0,8 map @hop device @th,0,8 map @link'
  const drop = 'counter name half_restored drop'
  const narrow = new Map<number, number[]>()
  for (const { index, mtu } of hosts)
    if (mtu !== undefined) narrow.set(mtu, [...(narrow.get(mtu) ?? []), index])
  if (narrow.size === 0) return [chain('encap', `${addresses} ${send}`, drop)]
  return [
    chain('encap', `${addresses} goto narrow`, drop),
    chain(
      'narrow',
      ...[...narrow].map(
        ([mtu, indexes]) => `@th,0,8 { ${indexes.join(', ')} } ip length > ${mtu} goto slow_vip`,
      ),
      send,
      drop,
    ),
  ]
}

const hostPart = (plan: NonNullable<RulesetPlan['host']>): RolePart => {
  const leased = `flags timeout; size ${plan.mappingCapacity};`
  const tunnelled = 'ip saddr . @th,0,32 . ip protocol'
  const addresses =
    'ip saddr set meta mark map @client ip daddr set meta mark map @vip_of meta mark set 0 counter name decap_hit accept'
  return {
    sets: [
      declare('set', 'tunnels', 'typeof ip saddr;', plan.tunnels),
      declare('map', 'dec', `typeof ${tunnelled} : meta mark; ${leased}`),
      declare('map', 'dec_fixed', `typeof ${tunnelled} : meta mark; ${leased}`),
      declare('map', 'ports', `typeof meta mark : @th,0,32; ${leased}`),
      declare('map', 'ports_hi', `typeof meta mark : tcp sport; ${leased}`),
      declare('map', 'ports_lo', `typeof meta mark : tcp dport; ${leased}`),
      declare('map', 'client', `typeof meta mark : ip saddr; ${leased}`),
      declare('map', 'vip_of', `typeof meta mark : ip daddr; ${leased}`),
    ],
    chains: [
      chain(
        'decap',
        'ip frag-off & 0x3fff != 0 counter name fragment_tunnel drop',
        `${ICMP_ERRORS} goto of_icmp`,
        'meta l4proto != { tcp, udp } counter name tunnel_protocol drop',
        'tcp flags & (fin | syn | rst) != 0 goto slow_tunnel',
        `meta mark set ${tunnelled} map @dec goto restore`,
        `meta mark set ${tunnelled} map @dec_fixed goto restore_fixed`,
        'goto slow_tunnel',
      ),
      chain('restore', `@th,0,32 set meta mark map @ports ${addresses}`, 'counter name half_restored drop'),
      chain(
        'restore_fixed',
        `tcp sport set meta mark map @ports_hi tcp dport set meta mark map @ports_lo ${addresses}`,
        'counter name half_restored drop',
      ),
    ],
  }
}
