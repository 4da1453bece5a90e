/**
 * The plan of a lab (R-G5): which namespaces, links, addresses and routes it has. Pure: options in, plan out;
 * builder.ts carries it out.
 *
 *    client1 ─┐                             ┌─ f1 (forwarder)
 *    client2 ─┴─ [router: br1] router eth0 ─┼─ c1 (classifier)     [switch: br0], one plain L2
 *       10.20.0.0/24                        └─ h1 (host)           10.10.0.0/24, tunnel 10.10.1.0/24
 *
 * Clients know only the router; the router sends a virtual IP to all forwarders by ECMP, or, announced by ARP, to the one that holds it; hosts answer straight
 * to the router. Where a service is of IPv6, or `ipv6` asks for it, all of it has IPv6 beside: fd10:20:: clients, fd10:10:: cluster,
 * fd10:11:: tunnel, with the same last part. Everything is inside namespaces of the lab's own, so labs may stand side by side.
 */
import { arpVips } from '../config/announce.ts'
import type { Role } from '../config/schema.ts'
import { ShuntError } from '../errors.ts'
import { type Combine, checkOptions, type LabService, type TopologyOptions } from './options.ts'

export type PlaceKind = 'node' | 'client' | 'router' | 'switch'

/** One namespace of the lab. */
export interface PlacePlan {
  /** As in `shunt lab exec NAME`. */
  name: string
  netns: string
  kind: PlaceKind
  roles: Role[]
  /** Cluster address of a node, address of a client; null for the switch. */
  address: string | null
  tunnel: string | null
  /** The same by IPv6; null where the lab has none. */
  address6: string | null
  tunnel6: string | null
  /** 0 to 99 for hosts, null for others. */
  capacity: number | null
  links: LinkPlan[]
  /** `[device, address/prefix]` */
  addresses: [string, string][]
  /** Arguments of `ip route add`. */
  routes: string[]
  sysctls: Record<string, string>
}

/** A bridge, or a virtual cable from a port of a bridge in this namespace to a device in another one. */
export type LinkPlan =
  | { kind: 'bridge'; device: string }
  | { kind: 'cable'; device: string; bridge: string; peerNetns: string; peerDevice: string }

export interface LabPlan {
  /** Of all links, in bytes; missing in labs of older versions: 1500. */
  mtu?: number
  name: string
  combine: Combine
  services: LabService[]
  places: PlacePlan[]
}

const CLUSTER_NET = '10.10.0'
const TUNNEL_NET = '10.10.1'
const CLIENT_NET = '10.20.0'
/** Every address of it goes to the forwarders: a document may have more virtual IPs than the lab began with. */
const VIP_NET = '10.99.0.0/24'
const CLUSTER_NET6 = 'fd10:10::'
const TUNNEL_NET6 = 'fd10:11::'
const CLIENT_NET6 = 'fd10:20::'
const VIP_NET6 = 'fd10:99::/64'
export const ROUTER_CLUSTER_ADDRESS = `${CLUSTER_NET}.1`
const ROUTER_CLIENT_ADDRESS = `${CLIENT_NET}.1`

/** Where the last byte of each group's addresses begins: .11, .41, .71, .151 are the first ones. */
const FIRST = { f: 10, c: 40, h: 70, n: 150, client: 10 } as const

/** A prefix route to the tunnel addresses, which share the rack's L2. */
const TUNNEL_ROUTE = `${TUNNEL_NET}.0/24 dev eth0`
const TUNNEL_ROUTE6 = `${TUNNEL_NET6}/64 dev eth0`

const QUIET = {
  // Neighbour discovery would be noise in every counter and capture.
  'net.ipv6.conf.all.disable_ipv6': '1',
  'net.ipv6.conf.default.disable_ipv6': '1',
}

/** IPv6 without what comes by itself: router advertisements, and waiting for an address to be nobody else's. */
const WITH_IPV6 = {
  'net.ipv6.conf.all.disable_ipv6': '0',
  'net.ipv6.conf.default.disable_ipv6': '0',
  'net.ipv6.conf.default.accept_ra': '0',
  'net.ipv6.conf.default.accept_dad': '0',
  'net.ipv6.conf.default.accept_redirects': '0',
}

const CLIENT_SYSCTLS = {
  // veth hands the socket's own hash to the router, which takes it for the packet's: without this a retransmission would
  // change a flow's path, as no router on a wire does.
  'net.core.txrehash': '0',
}

interface Member {
  name: string
  roles: Role[]
  last: number
}

const group = (prefix: 'f' | 'c' | 'h' | 'n', count: number, roles: Role[]): Member[] =>
  Array.from({ length: count }, (_, i) => ({
    name: `${prefix}${i + 1}`,
    roles,
    last: FIRST[prefix] + i + 1,
  }))

const members = (o: TopologyOptions): Member[] => {
  if (o.combine === 'all') return group('n', o.hosts, ['forwarder', 'classifier', 'host'])
  const hosts = group('h', o.hosts, ['host'])
  if (o.combine === 'fc') return [...group('f', o.forwarders, ['forwarder', 'classifier']), ...hosts]
  return [...group('f', o.forwarders, ['forwarder']), ...group('c', o.classifiers, ['classifier']), ...hosts]
}

/** @throws ShuntError SHUNT_ERR_LAB when an option is out of range. */
export const planLab = (options: TopologyOptions): LabPlan => {
  checkOptions(options)
  const arp = options.announce === 'arp'
  const ipv6 = (options.ipv6 ?? false) || options.services.some(({ vip }) => vip.includes(':'))
  const quiet = ipv6 ? WITH_IPV6 : QUIET
  const six = (value: string): string | null => (ipv6 ? value : null)
  const only6 = <T>(...values: T[]): T[] => (ipv6 ? values : [])
  const netns = (place: string) => `${options.name}-${place}`
  let hostNumber = 0
  const nodes = members(options).map(({ name, roles, last }): PlacePlan => {
    const tunnel = roles.includes('forwarder') ? `${TUNNEL_NET}.${last}` : null
    const address6 = `${CLUSTER_NET6}${last}`
    const tunnel6 = roles.includes('forwarder') ? six(`${TUNNEL_NET6}${last}`) : null
    return {
      name,
      netns: netns(name),
      kind: 'node',
      roles,
      address: `${CLUSTER_NET}.${last}`,
      tunnel,
      address6: six(address6),
      tunnel6,
      capacity: roles.includes('host') ? options.capacities[hostNumber++ % options.capacities.length] : null,
      links: [],
      addresses: [
        ['eth0', `${CLUSTER_NET}.${last}/24`],
        ...(tunnel === null ? [] : [['eth0', `${tunnel}/32`] as [string, string]]),
        ...only6<[string, string]>(['eth0', `${address6}/64`]),
        ...(tunnel6 === null ? [] : [['eth0', `${tunnel6}/128`] as [string, string]]),
      ],
      routes: [
        ...[TUNNEL_ROUTE, `default via ${ROUTER_CLUSTER_ADDRESS}`],
        ...only6(TUNNEL_ROUTE6, `default via ${CLUSTER_NET6}1`),
      ],
      // What a real host or forwarder needs beyond this (rp_filter, arp_ignore, ip_forward) its agent sets.
      sysctls: quiet,
    }
  })
  const clients = Array.from({ length: options.clients }, (_, i): PlacePlan => {
    const address = `${CLIENT_NET}.${FIRST.client + i + 1}`
    const address6 = `${CLIENT_NET6}${FIRST.client + i + 1}`
    return {
      name: `client${i + 1}`,
      netns: netns(`client${i + 1}`),
      kind: 'client',
      roles: [],
      address,
      tunnel: null,
      address6: six(address6),
      tunnel6: null,
      capacity: null,
      links: [],
      addresses: [['eth0', `${address}/24`], ...only6<[string, string]>(['eth0', `${address6}/64`])],
      routes: [`default via ${ROUTER_CLIENT_ADDRESS}`, ...only6(`default via ${CLIENT_NET6}1`)],
      sysctls: { ...quiet, ...CLIENT_SYSCTLS },
    }
  })
  const plan: LabPlan = {
    name: options.name,
    combine: options.combine,
    services: arp
      ? options.services.map(service => ({ announce: 'arp' as const, ...service }))
      : options.services,
    mtu: options.mtu,
    places: [],
  }
  const forwarders = nodes.filter(n => n.roles.includes('forwarder'))
  const router: PlacePlan = {
    name: 'router',
    netns: netns('router'),
    kind: 'router',
    roles: [],
    address: ROUTER_CLUSTER_ADDRESS,
    tunnel: null,
    address6: six(`${CLUSTER_NET6}1`),
    tunnel6: null,
    capacity: null,
    links: [{ kind: 'bridge', device: 'br1' }, ...clients.map(cable('br1'))],
    addresses: [
      ['eth0', `${ROUTER_CLUSTER_ADDRESS}/24`],
      ['br1', `${ROUTER_CLIENT_ADDRESS}/24`],
      ...only6<[string, string]>(['eth0', `${CLUSTER_NET6}1/64`], ['br1', `${CLIENT_NET6}1/64`]),
    ],
    routes: [
      ...[TUNNEL_ROUTE, arp ? onLink(VIP_NET) : wayTo(VIP_NET, hopsOf(VIP_NET, forwarders))],
      ...only6(TUNNEL_ROUTE6, arp ? onLink(VIP_NET6) : wayTo(VIP_NET6, hopsOf(VIP_NET6, forwarders))),
      ...vips(options.services).map(vip =>
        arpVips(plan.services).includes(vip) ? onLink(wholeOf(vip)) : vipRoute(vip, hopsOf(vip, forwarders)),
      ),
    ],
    sysctls: {
      ...quiet,
      ...(ipv6 && { 'net.ipv6.conf.all.forwarding': '1', 'net.ipv6.fib_multipath_hash_policy': '1' }),
      'net.ipv4.ip_forward': '1',
      // The default hashes addresses only: all connections of one client would go to one forwarder.
      'net.ipv4.fib_multipath_hash_policy': '1',
      // Packets from a virtual IP come back from hosts, not from the forwarder that the route names.
      'net.ipv4.conf.all.rp_filter': '0',
      'net.ipv4.conf.default.rp_filter': '0',
      // A forwarder must not be able to talk the router out of ECMP by a redirect.
      'net.ipv4.conf.all.accept_redirects': '0',
      'net.ipv4.conf.default.accept_redirects': '0',
    },
  }
  const rack: PlacePlan = {
    name: 'switch',
    netns: netns('switch'),
    kind: 'switch',
    roles: [],
    address: null,
    tunnel: null,
    address6: null,
    tunnel6: null,
    capacity: null,
    links: [{ kind: 'bridge', device: 'br0' }, ...[router, ...nodes].map(cable('br0'))],
    addresses: [],
    routes: [],
    sysctls: QUIET,
  }
  plan.places = [rack, router, ...nodes, ...clients]
  return plan
}

const cable =
  (bridge: string) =>
  (to: PlacePlan): LinkPlan => ({
    kind: 'cable',
    device: `to-${to.name}`,
    bridge,
    peerNetns: to.netns,
    peerDevice: 'eth0',
  })

/** Each virtual IP once, also when several services share it. */
export const vips = (services: LabService[]): string[] => [...new Set(services.map(s => s.vip))]

/** The router's way to a virtual IP, as arguments of `ip route add|replace`. */
export const vipRoute = (vip: string, forwarders: string[]): string => wayTo(wholeOf(vip), forwarders)

const wholeOf = (vip: string): string => `${vip}/${vip.includes(':') ? 128 : 32}`

/** In the rack's own network: its holder is asked for. */
const onLink = (prefix: string): string => `${prefix} dev eth0`

/** The forwarders' addresses of the family of `ip`. */
const hopsOf = (ip: string, forwarders: readonly PlacePlan[]): string[] =>
  forwarders.map(({ address, address6 }) => (ip.includes(':') ? address6! : address!))

const wayTo = (prefix: string, forwarders: string[]): string => {
  if (forwarders.length === 0) return `unreachable ${prefix}`
  if (forwarders.length === 1) return `${prefix} via ${forwarders[0]}`
  return [prefix, ...forwarders.map(a => `nexthop via ${a}`)].join(' ')
}

export const nodesOf = (plan: LabPlan): PlacePlan[] => plan.places.filter(p => p.kind === 'node')
export const hostsOf = (plan: LabPlan): PlacePlan[] => plan.places.filter(p => p.roles.includes('host'))

/** @throws ShuntError SHUNT_ERR_LAB, naming the places that exist. */
export const placeOf = (plan: LabPlan, name: string): PlacePlan => {
  const found = plan.places.find(p => p.name === name)
  if (found !== undefined) return found
  const all = plan.places.map(p => p.name).join(', ')
  throw new ShuntError('SHUNT_ERR_LAB', `lab ${plan.name} has no "${name}"; it has ${all}`)
}
