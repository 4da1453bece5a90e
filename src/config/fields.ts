/** Kinds of values that the node file and the cluster document share. */
import { isIP, isIPv4, isIPv6 } from 'node:net'
import { z } from 'zod'
import { addressFault } from './address-fault.ts'

export const name = (what: string) =>
  z
    .string()
    .regex(/^[a-z0-9-]{1,63}$/, { error: 'must be 1 to 63 of a-z, 0-9 and -' })
    .describe(what)

const ZONE = 'must have no zone (% and what follows), which means nothing to other machines'
const hasZone = (input: unknown): boolean => typeof input === 'string' && input.includes('%') && isIPv6(input)

/** For addresses that other machines reach; what is no address at all is said elsewhere. */
const isReachable = (ip: string): boolean =>
  isIP(ip) === 0 || ip.includes('%') || addressFault(ip) === undefined
const UNREACHABLE = {
  error: ({ input }: { input?: unknown }): string => `${String(input)} ${addressFault(String(input))}`,
}

/** That of control links, liveness and mapping datagrams, which are of IPv4. */
export const nodeAddress = (what: string) =>
  z
    .ipv4({
      error: issue =>
        typeof issue.input === 'string' && isIPv6(issue.input)
          ? 'must be an IPv4 address, also where services are of IPv6; an IPv6 one goes beside it (cluster6 and tunnel6 of addresses, address6 and tunnel6 of a peer)'
          : 'must be an IPv4 address such as 10.10.0.11',
    })
    .refine(ip => !isIPv4(ip) || isReachable(ip), UNREACHABLE)
    .describe(what)

export const nodeAddress6 = (what: string) =>
  z
    .ipv6({ error: issue => (hasZone(issue.input) ? ZONE : 'must be an IPv6 address such as fd00::11') })
    .refine(ip => !isIPv6(ip) || isReachable(ip), UNREACHABLE)
    .describe(what)

export const file = (what: string) =>
  z
    .string()
    .regex(/^\/[^\0]{0,4094}$/, { error: 'must be an absolute path' })
    .describe(what)

export const whole = (min: number, max: number, what: string) => z.int().min(min).max(max).describe(what)
/** `what`: a sentence without its end. */
export const milliseconds = (min: number, max: number, what: string) =>
  whole(min, max, `${what}, in milliseconds.`)
export const port = (what: string) => whole(1, 65_535, what)

/** A function that a node carries (R-A2). */
export const ROLES = ['forwarder', 'classifier', 'host'] as const
export const PROTOCOLS = ['tcp', 'udp'] as const
export type Protocol = (typeof PROTOCOLS)[number]

/** How packets go from forwarder to host (R-A4). */
export const DELIVERIES = ['tunnel', 'encapsulate'] as const
export type Delivery = (typeof DELIVERIES)[number]
export const delivery = z
  .enum(DELIVERIES)
  .optional()
  .describe(
    'How packets go to hosts: tunnel (a flow identifier in the place of the ports, no byte more), or encapsulate (whole, in another IP packet, for paths where real ports must be seen; the largest packet is 20 bytes smaller, with IPv6 40). With nftables, encapsulate goes through the agents of forwarder and host: its connections stand still while one of them is away; with XDP they go on. Default: tunnel.',
  )

/** Copies of an atom besides its owner's that members can be asked for; above that it is all of them. */
export const MAX_COPIES = 14
/** Of what a service leaves out. A flow of UDP has no beginning that tells it from one that came by another way: asking would hold up each first packet. */
export const DEFAULT_COPIES = { tcp: 1, udp: 'none' } as const
const copiesError = ({ input }: { input?: unknown }): string => {
  const text = `must be a whole number from 0 to ${MAX_COPIES}, full or none`
  return typeof input === 'string' && /^\d{1,2}$/.test(input)
    ? `${text}, not the string "${input}": write ${Number(input)} without quotes`
    : text
}
export const sessions = z
  .strictObject({
    copies: z
      .union([z.int().min(0).max(MAX_COPIES), z.literal('full'), z.literal('none')], { error: copiesError })
      .meta({ default: DEFAULT_COPIES.tcp })
      .optional()
      .describe(
        'On how many other forwarders and classifiers (0 to 14, full or none) the host of each connection is known, besides the forwarder that carries it: so many may be lost at once and no connection is cut off. More copies cost memory there (about 100 bytes each) and traffic (about 60 bytes a connection and copy). full: on all of them. 0: only on the forwarder itself. none: nowhere; another forwarder then finds the host by the choice that a new connection would get, and by asking the hosts, which is slower and asks all of them. Services of UDP have none when it is left out: with copies the first packet of each flow waits until the others have been asked.',
      ),
  })
  .optional()
  .describe('What forwarders and classifiers remember for each other about the connections of the service.')

/** As the atom manager counts them: FULL (15) for all members; null: no atoms at all. */
export const copiesOf = (service: {
  protocol: Protocol
  sessions?: z.output<typeof sessions>
}): number | null => {
  const copies = service.sessions?.copies ?? DEFAULT_COPIES[service.protocol]
  return copies === 'none' ? null : copies === 'full' ? MAX_COPIES + 1 : copies
}

/** Host indexes are one byte and 0 is not used, so a cluster carries at most this many hosts. */
export const MAX_HOSTS = 255
export const MAX_SERVICES = 1_024

export const linkName = z
  .string()
  .regex(/^[^\s/:\0]{1,15}$/, { error: 'must be the name of a network interface (1 to 15 characters)' })
export const roles = z.array(z.enum(ROLES)).min(1).max(ROLES.length)

/** How the network in front of the forwarders finds a VIP (R-A6). */
export const ANNOUNCES = ['routed', 'arp'] as const
export type Announce = (typeof ANNOUNCES)[number]

/** Fields of a service that say where clients find it. */
export const endpoint = {
  name: name('Name of the service, unique.'),
  vip: z
    .union([z.ipv4(), z.ipv6()], {
      error: issue =>
        hasZone(issue.input) ? ZONE : 'must be an IP address such as 192.0.2.10 or 2001:db8::10',
    })
    .refine(isReachable, UNREACHABLE)
    .describe('The virtual IP that clients address: IPv4, or IPv6 as RFC 5952 writes it.'),
  port: port('Port that clients address.'),
  protocol: z.enum(PROTOCOLS).describe('Transport protocol.'),
  announce: z
    .enum(ANNOUNCES)
    .optional()
    .describe(
      "How packets for the virtual IP find a forwarder: routed (a router sends them, to one or several), or arp (it lies in the network of the forwarders' uplinks: one of them holds it and answers ARP, or neighbour discovery, for it). The same in all services of a virtual IP. Default: routed.",
    ),
}
export const capacity = whole(0, 99, 'Unit-less relative capacity; 0 takes no new connections.').default(50)
