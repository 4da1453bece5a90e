/**
 * The node file: what one agent reads at start. The zod schema is the one source of the TypeScript types,
 * of the published JSON Schema (schema/node.schema.json) and of shunt-node.yaml(5); descriptions end up in
 * all of them. All times are milliseconds. Rules that span several places are in checks.ts.
 */
import { isIPv6 } from 'node:net'
import { z } from 'zod'
import { DEFAULT_CONTROL_SOCKET } from '../control/defaults.ts'

/** A function that a node carries (R-A2). */
export const ROLES = ['forwarder', 'classifier', 'host'] as const
export const PROTOCOLS = ['tcp', 'udp'] as const
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** Host indexes are one byte and 0 is not used, so a cluster carries at most this many hosts. */
export const MAX_HOSTS = 255

const DEFAULT_STATE_DIR = '/var/lib/shunt'

const name = (what: string) =>
  z
    .string()
    .regex(/^[a-z0-9-]{1,63}$/, { error: 'must be 1 to 63 of a-z, 0-9 and -' })
    .describe(what)

const address = (what: string, ipv6: string) =>
  z
    .ipv4({
      error: issue =>
        typeof issue.input === 'string' && isIPv6(issue.input)
          ? ipv6
          : 'must be an IPv4 address such as 10.10.0.11',
    })
    .describe(what)
const nodeAddress = (what: string) =>
  address(what, 'an IPv6 node address is not carried yet; give an IPv4 address')

const file = (what: string) =>
  z
    .string()
    .regex(/^\/[^\0]{0,4094}$/, { error: 'must be an absolute path' })
    .describe(what)

const whole = (min: number, max: number, what: string) => z.int().min(min).max(max).describe(what)
const port = (what: string) => whole(1, 65_535, what)

const linkName = z
  .string()
  .regex(/^[^\s/:\0]{1,15}$/, { error: 'must be the name of a network interface (1 to 15 characters)' })
const roles = z.array(z.enum(ROLES)).min(1).max(ROLES.length)

const nodeSection = z
  .strictObject({
    name: name("This node's name, unique in the cluster."),
    identityFile: file("The node's private key (made by shunt keygen); its public half gives the peer id."),
    stateDir: file('Directory for what must survive a restart of the agent.').default(DEFAULT_STATE_DIR),
    controlSocket: file('Unix socket of the local control API.').default(DEFAULT_CONTROL_SOCKET),
  })
  .describe('Who this node is, and where it keeps its files.')

const interfaces = z
  .strictObject({
    uplink: z
      .array(linkName)
      .max(16)
      .default([])
      .describe('Interfaces on which packets for a virtual IP arrive; a forwarder needs one.'),
    cluster: z
      .array(linkName)
      .min(1)
      .max(16)
      .describe('Interfaces on which tunnelled packets arrive; others are never taken for tunnelled.'),
  })
  .describe('The network interfaces that the data plane uses.')

const addresses = z
  .strictObject({
    cluster: nodeAddress(
      'Address of control links and mapping datagrams; on a host also where tunnelled packets go.',
    ),
    tunnel: nodeAddress(
      'Forwarders only: the source of tunnelled packets, used for nothing else.',
    ).optional(),
  })
  .describe("This node's own addresses.")

const secret = z.strictObject({
  number: whole(0, 255, 'Number of the secret, the same on every node.'),
  file: file('File that holds the secret (made by shunt keygen).'),
})

const cluster = z
  .strictObject({
    secrets: z
      .array(secret)
      .min(1)
      .max(8)
      .describe('Cluster secrets: the first one signs, all of them verify, so that secrets can be rotated.'),
    controlPort: port('TCP port of the control links.').default(6780),
    mappingPort: port('UDP port of the mapping datagrams.').default(6781),
  })
  .describe('What all nodes of the cluster share.')

const peer = z.strictObject({
  name: name('Name of the node.'),
  id: z
    .string()
    .regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/, {
      error: 'must be a peer id (52 characters that begin with 12D3KooW; shunt keygen prints it)',
    })
    .describe('Peer id of the node, as shunt keygen printed it there.'),
  roles: roles.describe('What the node is trusted to do: messages that need another role are refused.'),
  address: nodeAddress("The node's cluster address."),
  tunnel: nodeAddress("The node's tunnel address; needed for a forwarder.").optional(),
})

const serviceHost = z.strictObject({
  name: name('A peer, or this node, that has the role host.'),
  capacity: whole(0, 99, 'Unit-less relative capacity; 0 takes no new connections.').default(50),
})

const service = z.strictObject({
  name: name('Name of the service, unique.'),
  vip: address(
    'The virtual IP that clients address.',
    'an IPv6 virtual IP is not carried by the nftables data plane yet; give an IPv4 address',
  ),
  port: port('Port that clients address.'),
  protocol: z.enum(PROTOCOLS).describe('Transport protocol.'),
  hosts: z.array(serviceHost).min(1).max(MAX_HOSTS).describe('Hosts that run the application.'),
})

const limits = z
  .strictObject({
    flows: whole(
      16,
      4_194_304,
      'Established flows that a forwarder keeps; the least recently used is evicted.',
    ).default(262_144),
    embryonicFlows: whole(
      16,
      1_048_576,
      'Half-open flows that a forwarder keeps; the oldest is evicted.',
    ).default(16_384),
    mappings: whole(16, 4_194_304, 'Flow identifier mappings that a host keeps.').default(262_144),
    heldPackets: whole(
      1,
      65_536,
      'Packets held at a host while it asks for a mapping; more are dropped.',
    ).default(4_096),
  })
  .prefault({})
  .describe('Capacities of the tables. Each has a row in shunt status.')

const DAY_MS = 86_400_000
const timeouts = z
  .strictObject({
    embryonic: whole(100, DAY_MS, 'Life of a half-open flow.').default(10_000),
    tcpIdle: whole(1_000, DAY_MS, 'Life of a TCP flow that carries nothing.').default(900_000),
    udpIdle: whole(1_000, DAY_MS, 'Life of a UDP flow that carries nothing.').default(60_000),
    linger: whole(100, DAY_MS, 'How long a flow stays after a FIN or RST was seen.').default(30_000),
    quarantine: whole(
      1_000,
      DAY_MS,
      "How long a freed flow identifier stays unused; longer than a packet's life.",
    ).default(60_000),
    routeLease: whole(
      1_000,
      DAY_MS,
      'Life of a route in the kernel without renewal; at most half of tcpIdle.',
    ).default(60_000),
    drain: whole(0, DAY_MS, 'How long a stopping agent lets work in flight end.').default(10_000),
  })
  .prefault({})
  .describe('Times in milliseconds.')

const log = z
  .strictObject({ level: z.enum(LOG_LEVELS).default('info').describe('Least severe level that is logged.') })
  .prefault({})
  .describe('Logging, as JSON lines on standard error.')

export const nodeConfigSchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this format.'),
    node: nodeSection,
    roles: roles.describe('What this node does.'),
    interfaces,
    addresses,
    cluster,
    peers: z.array(peer).max(1_023).default([]).describe('Every other node of the cluster.'),
    services: z
      .array(service)
      .max(1_024)
      .default([])
      .describe('What clients reach at virtual IPs; the same on every node.'),
    limits,
    timeouts,
    log,
  })
  .describe('Configuration of one shunt node.')

export type NodeConfig = z.output<typeof nodeConfigSchema>
/** What a file may leave out is optional here. */
export type NodeConfigInput = z.input<typeof nodeConfigSchema>
export type PeerConfig = NodeConfig['peers'][number]
export type ServiceConfig = NodeConfig['services'][number]
export type ServiceHostConfig = ServiceConfig['hosts'][number]
export type SecretConfig = NodeConfig['cluster']['secrets'][number]
export type LimitsConfig = NodeConfig['limits']
export type TimeoutsConfig = NodeConfig['timeouts']
export type Role = (typeof ROLES)[number]
export type Protocol = (typeof PROTOCOLS)[number]
export type LogLevel = (typeof LOG_LEVELS)[number]
