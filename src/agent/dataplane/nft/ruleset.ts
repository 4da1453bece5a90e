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
 * The elements of `services` and `address` count what passes, for the rates by service and by host.
 *
 * Elements have a time-out, the lease: the kernel forgets a route by itself and its flow's next packet comes to
 * the agent, which so learns that the flow lives, and plumbs it again. No counters are read to find idle flows.
 */
import { type Family, IPV4, IPV6 } from './family.ts'
import type { HostHop, RulesetPlan } from './ruleset-plan.ts'

/** "SH" and a version: the mark of packets that the agent must see. */
export const SLOW_MARK = 0x53480001

/** Kernel-side counters, by the name that drops and status show. */
export const KERNEL_COUNTERS = [
  'route_hit',
  'local_hit',
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

/** The ring is shared with first packets: of ICMP it takes no more. The agent's own limits are lower. */
const ICMP_PER_SECOND = 5000

const keyOf = ({ ip, protocol }: Family): string =>
  `${ip} saddr . th sport . ${ip} daddr . th dport . ${protocol}`

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

const hasHost6 = ({ host, clusterAddress6 }: RulesetPlan): boolean =>
  host?.tunnels6 !== undefined && clusterAddress6 !== undefined
const hasForwarder6 = ({ forwarder }: RulesetPlan): boolean => forwarder?.tunnelAddress6 !== undefined

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
          ? [
              `ip saddr @tunnels ip daddr ${plan.clusterAddress} goto decap`,
              ...(hasHost6(plan)
                ? [`ip6 saddr @tunnels6 ip6 daddr ${plan.clusterAddress6} goto decap6`]
                : []),
            ]
          : []),
        ...(plan.forwarder !== null && plan.uplink.includes(link)
          ? ['ip daddr @vips goto vip', ...(hasForwarder6(plan) ? ['ip6 daddr @vips6 goto vip6'] : [])]
          : []),
        ...(plan.forwarder !== null
          ? [
              `ip daddr ${plan.forwarder.tunnelAddress} ${IPV4.errors} goto of_icmp`,
              ...(hasForwarder6(plan)
                ? [`ip6 daddr ${plan.forwarder.tunnelAddress6} ${IPV6.errors} goto of_icmp`]
                : []),
            ]
          : []),
      ],
    },
  ])
  const slow = (counter: string): [string, ChainPart] => [
    counter,
    { hook: null, rules: [`counter name ${counter} meta mark set ${SLOW_MARK} accept`] },
  ]
  const roles = rolesOf(plan)
  return {
    sets: new Map(roles.flatMap(({ sets }) => sets)),
    chains: new Map([
      ...roles.flatMap(({ chains }) => chains),
      ...[slow('slow_vip'), slow('slow_tunnel'), slow('slow_icmp')],
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

const rolesOf = (plan: RulesetPlan): RolePart[] => {
  const { forwarder, host } = plan
  const parts: RolePart[] = []
  if (forwarder !== null) {
    const { routeCapacity: capacity, services, tunnelAddress6 } = forwarder
    const of = ({ ip }: Family) => services.filter(({ vip }) => vip.includes(':') === (ip === 'ip6'))
    parts.push(forwarderPart(IPV4, forwarder.tunnelAddress, of(IPV4), forwarder.hosts, capacity))
    if (tunnelAddress6 !== undefined)
      parts.push(forwarderPart(IPV6, tunnelAddress6, of(IPV6), forwarder.hosts6 ?? [], capacity))
  }
  if (host !== null) {
    const { mappingCapacity } = host
    parts.push(hostPart(IPV4, host.tunnels, mappingCapacity))
    if (hasHost6(plan)) parts.push(hostPart(IPV6, host.tunnels6!, mappingCapacity))
  }
  return parts
}

const declare = (
  kind: SetPart['kind'],
  name: string,
  declaration: string,
  elements: readonly string[] = [],
): [string, SetPart] => [name, { kind, declaration, elements }]
const chain = (name: string, ...rules: string[]): [string, ChainPart] => [name, { hook: null, rules }]

const forwarderPart = (
  family: Family,
  tunnelAddress: string,
  services: NonNullable<RulesetPlan['forwarder']>['services'],
  hosts: readonly HostHop[],
  capacity: number,
): RolePart => {
  const { mark, ip, protocol } = family
  const key = keyOf(family)
  const leased = `flags timeout; size ${capacity};`
  const byIndex = (name: string, type: string, items: string[]): [string, SetPart] =>
    declare(
      'map',
      `${name}${mark}`,
      `typeof @th,0,8 : ${type}; size 256;${name === 'address' ? ' counter;' : ''}`,
      items,
    )
  return {
    sets: [
      declare('set', `vips${mark}`, `typeof ${ip} daddr;`, [...new Set(services.map(({ vip }) => vip))]),
      declare(
        'set',
        `services${mark}`,
        `typeof ${ip} daddr . ${protocol} . th dport; counter;`,
        services.map(s => `${s.vip} . ${s.protocol} . ${s.port}`),
      ),
      declare('map', `route${mark}`, `typeof ${key} : @th,0,32; ${leased}`),
      declare('map', `fixed${mark}`, `typeof ${key} : meta mark; ${leased}`),
      ...(mark === ''
        ? [
            declare('map', 'fixed_hi', `typeof meta mark : tcp sport; ${leased}`),
            declare('map', 'fixed_lo', `typeof meta mark : tcp dport; ${leased}`),
          ]
        : []),
      declare('set', `local${mark}`, `typeof ${key}; ${leased}`),
      byIndex(
        'address',
        `${ip} daddr`,
        hosts.map(h => `${h.index} : ${h.address}`),
      ),
      byIndex(
        'hop',
        `${ip} daddr`,
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
        `vip${mark}`,
        ...family.fragment.map(rule => `${rule} counter name fragment_vip drop`),
        ...family.control,
        `${family.errors} goto of_icmp`,
        `${family.echo} goto of_icmp`,
        `${ip} daddr . ${protocol} . th dport @services${mark} goto service${mark}`,
        // Neither rule takes a packet whose ports cannot be read: the agent says what is wrong with it.
        `${ip} daddr . ${protocol} . th dport != @services${mark} counter name not_a_service drop`,
        'goto slow_vip',
      ),
      chain(
        `service${mark}`,
        ...family.extended.map(rule => `${rule} goto slow_vip`),
        'tcp flags & (fin | syn | rst) != 0 goto slow_vip',
        `${family.spent} goto slow_vip`,
        `@th,0,32 set ${key} map @route${mark} goto encap${mark}`,
        `meta mark set ${key} map @fixed${mark} goto fix${mark}`,
        `${key} @local${mark} counter name local_hit counter name route_hit accept`,
        'goto slow_vip',
      ),
      chain(
        `fix${mark}`,
        `tcp sport set meta mark map @fixed_hi tcp dport set meta mark map @fixed_lo meta mark set 0 goto encap${mark}`,
        'counter name half_restored drop',
      ),
      ...encapChains(family, tunnelAddress, hosts),
    ],
  }
}

/**
 * What `fwd` sends it does not measure. Where the way to a host is narrower than an uplink, what is too large for it goes to the agent, in
 * tunnelled form, since its ports are overwritten by then; merged segments, which cannot be told from it here, go with it and are cut there.
 */
const encapChains = (
  { mark, ip, beside }: Family,
  tunnelAddress: string,
  hosts: readonly HostHop[],
): [string, ChainPart][] => {
  const addresses = `${ip} daddr set @th,0,8 map @address${mark} ${ip} saddr set ${tunnelAddress}`
  const send = `counter name route_hit fwd ${ip} to @th,0,8 map @hop${mark} device @th,0,8 map @link${mark}`
  const drop = 'counter name half_restored drop'
  const narrow = new Map<number, number[]>()
  for (const { index, mtu } of hosts)
    if (mtu !== undefined) narrow.set(mtu, [...(narrow.get(mtu) ?? []), index])
  if (narrow.size === 0) return [chain(`encap${mark}`, `${addresses} ${send}`, drop)]
  return [
    chain(`encap${mark}`, `${addresses} goto narrow${mark}`, drop),
    chain(
      `narrow${mark}`,
      ...[...narrow].map(
        ([mtu, indexes]) => `@th,0,8 { ${indexes.join(', ')} } ${ip} length > ${mtu - beside} goto slow_vip`,
      ),
      send,
      drop,
    ),
  ]
}

const hostPart = (family: Family, tunnels: readonly string[], capacity: number): RolePart => {
  const { mark, ip, protocol } = family
  const leased = `flags timeout; size ${capacity};`
  const tunnelled = `${ip} saddr . @th,0,32 . ${protocol}`
  const addresses = `${ip} saddr set meta mark map @client${mark} ${ip} daddr set meta mark map @vip_of${mark} meta mark set 0 counter name decap_hit accept`
  return {
    sets: [
      declare('set', `tunnels${mark}`, `typeof ${ip} saddr;`, tunnels),
      declare('map', `dec${mark}`, `typeof ${tunnelled} : meta mark; ${leased}`),
      declare('map', `dec_fixed${mark}`, `typeof ${tunnelled} : meta mark; ${leased}`),
      ...(mark === ''
        ? [
            declare('map', 'ports', `typeof meta mark : @th,0,32; ${leased}`),
            declare('map', 'ports_hi', `typeof meta mark : tcp sport; ${leased}`),
            declare('map', 'ports_lo', `typeof meta mark : tcp dport; ${leased}`),
          ]
        : []),
      declare('map', `client${mark}`, `typeof meta mark : ${ip} saddr; ${leased}`),
      declare('map', `vip_of${mark}`, `typeof meta mark : ${ip} daddr; ${leased}`),
    ],
    chains: [
      chain(
        `decap${mark}`,
        ...family.fragment.map(rule => `${rule} counter name fragment_tunnel drop`),
        `${family.errors} goto of_icmp`,
        // Whole packets (R-A4).
        'meta l4proto { 4, 41 } goto slow_tunnel',
        'meta l4proto != { tcp, udp } counter name tunnel_protocol drop',
        ...family.extended.map(rule => `${rule} goto slow_tunnel`),
        'tcp flags & (fin | syn | rst) != 0 goto slow_tunnel',
        `meta mark set ${tunnelled} map @dec${mark} goto restore${mark}`,
        `meta mark set ${tunnelled} map @dec_fixed${mark} goto restore_fixed${mark}`,
        'goto slow_tunnel',
      ),
      chain(
        `restore${mark}`,
        `@th,0,32 set meta mark map @ports ${addresses}`,
        'counter name half_restored drop',
      ),
      chain(
        `restore_fixed${mark}`,
        `tcp sport set meta mark map @ports_hi tcp dport set meta mark map @ports_lo ${addresses}`,
        'counter name half_restored drop',
      ),
    ],
  }
}
