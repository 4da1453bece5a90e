/**
 * The node file: what one agent reads at start. With `cluster.secrets` it describes a static cluster whole; without them
 * roles, peers and services come from the statements of a managed cluster (compose.ts). The zod schema is the one source
 * of the TypeScript types, of the published JSON Schema (schema/node.schema.json) and of shunt-node.yaml(5); descriptions
 * end up in all of them. All times are milliseconds. Rules that span several places are in checks.ts.
 */

import { z } from 'zod'
import { DEFAULT_CONTROL_SOCKET } from '../control/defaults.ts'
import { affinity } from './affinity.ts'
import {
  capacity,
  delivery,
  endpoint,
  file,
  linkName,
  MAX_HOSTS,
  MAX_SERVICES,
  name,
  nodeAddress,
  nodeAddress6,
  type PROTOCOLS,
  port,
  type ROLES,
  roles,
  sessions,
  whole,
} from './fields.ts'
import { groups, overload, serviceHealth } from './health-fields.ts'
import { hostAddress, ownEndpoint } from './service-endpoint.ts'

export { MAX_HOSTS, PROTOCOLS, ROLES } from './fields.ts'

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

export const DATAPLANES = ['auto', 'xdp', 'nftables'] as const

const DEFAULT_STATE_DIR = '/var/lib/shunt'
const DEFAULT_APP_SOCKET = '/run/shunt/app.sock'

const nodeSection = z
  .strictObject({
    name: name("This node's name, unique in the cluster."),
    identityFile: file("The node's private key (made by shunt keygen); its public half gives the peer id."),
    stateDir: file('Directory for what must survive a restart of the agent.').default(DEFAULT_STATE_DIR),
    controlSocket: file('Unix socket of the local control API.').default(DEFAULT_CONTROL_SOCKET),
    appSocket: file('Unix socket at which applications of this machine ask about themselves.').default(
      DEFAULT_APP_SOCKET,
    ),
    vipWeight: whole(
      0,
      99,
      'Forwarders only: its share of the virtual IPs that are announced by ARP, in proportion to those of the others; 0 holds one only by order, or when there is no other. Default: 50.',
    ).optional(),
    cgroup: z
      .union([z.literal('own'), file('')])
      .describe(
        "Control group whose CPU and memory are what this node has: own (the agent's), or a path; the whole machine if left out.",
      )
      .optional(),
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
    cluster6: nodeAddress6(
      'IPv6 address to which tunnelled packets of IPv6 services go; hosts of such services need it. Control links and mapping datagrams stay on the IPv4 address.',
    ).optional(),
    tunnel6: nodeAddress6(
      'Forwarders only: the source of tunnelled packets of IPv6 services, used for nothing else; needs cluster6.',
    ).optional(),
  })
  .describe("This node's own addresses.")

const secret = z.strictObject({
  number: whole(0, 255, 'Number of the secret, the same on every node.'),
  file: file('File that holds the secret (made by shunt keygen).'),
})

const secrets = z
  .array(secret)
  .min(1)
  .max(8)
  .describe(
    'Static clusters only: cluster secrets; the first one signs, all of them verify, so that secrets can be rotated.',
  )
const clusterPorts = {
  controlPort: port('TCP port of the control links.').default(6780),
  mappingPort: port('UDP port of the mapping datagrams.').default(6781),
}
const CLUSTER = 'What all nodes of the cluster share.'

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
  address6: nodeAddress6(
    "The node's IPv6 address in the cluster; needed for a host of IPv6 services.",
  ).optional(),
  tunnel6: nodeAddress6(
    "The node's IPv6 tunnel address; needed for a forwarder of IPv6 services.",
  ).optional(),
})

const serviceHost = z.strictObject({
  name: name('A peer, or this node, that has the role host.'),
  capacity,
  address: hostAddress,
})

const service = z.strictObject({
  ...endpoint,
  hosts: z.array(serviceHost).min(1).max(MAX_HOSTS).describe('Hosts that run the application.'),
  delivery,
  sessions,
  affinity,
  endpoint: ownEndpoint,
  ...serviceHealth,
})

const dataplane = z
  .enum(DATAPLANES)
  .default('auto')
  .describe(
    'What carries packets: xdp (the agent does not start where that is impossible), nftables, or auto: XDP if the drivers of all interfaces have it, else nftables.',
  )

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
    affinity: whole(
      16,
      4_194_304,
      'Sessions of clients (affinity) that a forwarder or classifier keeps, about 100 bytes each; first those of half-open connections are evicted, then the least recently used.',
    ).default(65_536),
    atoms: whole(
      16,
      4_194_304,
      'What a forwarder or classifier remembers of connections, its own and copies for others: about 100 bytes each, taken as they come; first what was only looked up is evicted, then ended ones, then copies.',
    ).default(1_000_000),
  })
  .prefault({})
  .describe('Capacities of the tables. Each has a row in shunt status.')

const DAY_MS = 86_400_000
export const timeoutFields = {
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
  unattended: whole(
    0,
    DAY_MS,
    'How long the kernel goes on by itself while no agent is there: with XDP in choosing hosts for new connections and taking them in, with announce arp in holding virtual IPs whose new connections it takes alone (XDP, forwarder and classifier on one node, no affinity; others have such a virtual IP 2 to 6 s later, or a fiftieth where that is more, and any other one some 5 s after its agent fell silent). A dead host is waited for as long (5 s at least) before a packet that no live host knows is answered by a reset.',
  ).default(30_000),
  vipHold: whole(
    0,
    DAY_MS,
    'With announce arp: how long all forwarders must have been there before virtual IPs are moved to even out their shares.',
  ).default(60_000),
  drain: whole(0, DAY_MS, 'How long a stopping agent lets work in flight end.').default(10_000),
}
const timeouts = z.strictObject(timeoutFields).prefault({}).describe('Times in milliseconds.')

const log = z
  .strictObject({ level: z.enum(LOG_LEVELS).default('info').describe('Least severe level that is logged.') })
  .prefault({})
  .describe('Logging, as JSON lines on standard error.')

const version = z.literal(1).describe('Version of this format.')
const peers = z.array(peer).max(1_023).describe('Static clusters only: every other node of the cluster.')
const services = z
  .array(service)
  .max(MAX_SERVICES)
  .describe('Static clusters only: what clients reach at virtual IPs; the same on every node.')
const staticOnly = <T extends z.ZodType>(schema: T): T =>
  schema.describe(`Static clusters only. ${schema.description}`)
const ownGroups = staticOnly(groups)
const ownOverload = staticOnly(overload)
const ownRoles = roles.describe('Static clusters only, and required there: what this node does.')

/** A static cluster's node file, and what the agent makes of a managed one's: everything is there. */
export const nodeConfigSchema = z
  .strictObject({
    version,
    node: nodeSection,
    roles: ownRoles,
    interfaces,
    dataplane,
    addresses,
    cluster: z.strictObject({ secrets, ...clusterPorts }).describe(CLUSTER),
    peers: peers.default([]),
    services: services.default([]),
    groups: ownGroups.prefault({}),
    overload: ownOverload.prefault({}),
    limits,
    timeouts,
    log,
  })
  .describe('Configuration of one shunt node.')

/** A node file of either kind; that a static one is whole, and a managed one has no more, is checked apart. */
export const nodeFileSchema = nodeConfigSchema.extend({
  roles: ownRoles.optional(),
  cluster: z
    .strictObject({ secrets: secrets.optional(), ...clusterPorts })
    .prefault({})
    .describe(CLUSTER),
  peers: peers.optional(),
  services: services.optional(),
  groups: ownGroups.optional(),
  overload: ownOverload.optional(),
})

/** As a node file says it; `roles`, `cluster.secrets`, `peers`, `services`, `groups` and `overload` only in a static cluster. */
export type NodeFile = z.output<typeof nodeFileSchema>
export type NodeFileInput = z.input<typeof nodeFileSchema>
/** What the agent runs by: of a managed node composed from the node file and what the cluster agreed on. */
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
