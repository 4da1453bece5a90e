import { createHash } from 'node:crypto'
import { copiesOf } from '../config/fields.ts'
import { MAX_HOSTS, type NodeConfig, type ServiceConfig } from '../config/schema.ts'
import { mappingKey } from '../gossip/keys.ts'
import type { Directory, ForwarderEntry, HostEntry, ServiceEntry } from './dataplane/directory.ts'
import { parseAddress } from './dataplane/flow-key.ts'
import { assignIndexes, emptyBook, type IndexBook } from './dataplane/index-book.ts'
import type { LastingPlan } from './dataplane/lasting-plan.ts'
import type { DataplanePlan, LinkRef, MappingKey } from './dataplane/messages.ts'
import { tableName } from './dataplane/nft/ruleset.ts'
import type { XdpPlan } from './dataplane/xdp/xdp-plan.ts'

export const PROTOCOL_NUMBER = { tcp: 6, udp: 17 } as const
/** Name of the TUN device by which a host puts packets into its own stack. */
export const TUN_NAME = 'shunt0'

const words = (address: string): Uint32Array => {
  const out = new Uint32Array(4)
  parseAddress(address, out, 0)
  return out
}
const words6 = (address: string | undefined): Uint32Array | undefined =>
  address === undefined ? undefined : words(address)
export const ipv4Of = (address: string): number => words(address)[3]

/** All nodes, this one among them, in one order for every use. */
const nodesOf = (config: NodeConfig): NodeConfig['peers'] => {
  const { node, roles, addresses, peers } = config
  const { cluster: address, cluster6: address6, tunnel, tunnel6 } = addresses
  const self = { name: node.name, id: '', roles, address, address6, tunnel, tunnel6 }
  return [...peers, self].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Indexes of services are small numbers of this process; the number only bounds tallies. */
const MAX_SERVICE_INDEX = 8_191

type NodeEntry = Pick<NodeConfig['peers'][number], 'name' | 'address' | 'address6'>

/** A host keeps its index as long as it has its name and addresses: with another address it is another machine. */
const hostKey = (name: string, ipv4: number, six: Uint32Array | undefined): string =>
  `${name} ${ipv4} ${six ?? ''}`
/** A service is what clients address: renamed, it keeps its flows. */
const serviceKey = (vip: Uint32Array, protocol: number, port: number): string => `${vip} ${protocol} ${port}`

const hostEntries = (
  nodes: readonly NodeEntry[],
  own: string,
  previous: Directory | undefined,
  leaving: ReadonlySet<string>,
): { hosts: HostEntry[]; book: IndexBook } => {
  const before = new Map(
    (previous?.hosts ?? []).map(host => [hostKey(host.name, host.ipv4, host.words6), host]),
  )
  const wanted = new Map(
    nodes.map(node => [hostKey(node.name, ipv4Of(node.address), words6(node.address6)), node]),
  )
  const gone = [...before].filter(([key, host]) => !wanted.has(key) && !host.self && leaving.has(host.name))
  const keys = [...wanted.keys(), ...gone.map(([key]) => key)]
  const held = new Map([...before].map(([key, host]) => [key, host.index]))
  const { indexes, book } = assignIndexes(keys, held, previous?.hostIndexes ?? emptyBook(1), MAX_HOSTS)
  const present = [...wanted].flatMap(([key, node]) => {
    const index = indexes.get(key)
    if (index === undefined) return []
    const known = before.get(key)
    const goes = leaving.has(node.name)
    const entry = {
      index,
      name: node.name,
      words: words(node.address),
      ipv4: ipv4Of(node.address),
      words6: words6(node.address6),
      self: node.name === own,
      hash: createHash('sha256').update(node.name).digest().readUInt32BE(0),
      leaving: goes,
      live: known?.live ?? node.name === own,
      draining: goes || (known?.draining === true && !known.leaving),
    }
    return [entry]
  })
  const kept = gone.map(([, host]) => ({ ...host, leaving: true, draining: true }))
  return { hosts: [...present, ...kept], book }
}

/** A host without an IPv6 address in the cluster gets no packets of an IPv6 service. */
const carries = ({ words6 }: HostEntry, { vip }: ServiceConfig): boolean =>
  words6 !== undefined || !vip.includes(':')

const affinityOf = ({ affinity }: ServiceConfig): Pick<ServiceEntry, 'affinity'> => {
  if (affinity === undefined) return {}
  const { prefix, prefix6, timeout: timeoutMs } = affinity
  return { affinity: { prefix, prefix6, timeoutMs } }
}

const serviceEntries = (
  config: NodeConfig,
  hosts: readonly HostEntry[],
  previous: Directory | undefined,
): { services: ServiceEntry[]; book: IndexBook } => {
  const byName = new Map(hosts.filter(host => !host.leaving).map(host => [host.name, host]))
  const keyOf = (service: ServiceConfig): string =>
    serviceKey(words(service.vip), PROTOCOL_NUMBER[service.protocol], service.port)
  const held = new Map((previous?.services ?? []).map(s => [serviceKey(s.vip, s.protocol, s.port), s.index]))
  const book = previous?.serviceIndexes ?? emptyBook(0)
  const assigned = assignIndexes(config.services.map(keyOf), held, book, MAX_SERVICE_INDEX)
  const services = config.services.map(service => ({
    index: assigned.indexes.get(keyOf(service))!,
    name: service.name,
    vip: words(service.vip),
    port: service.port,
    protocol: PROTOCOL_NUMBER[service.protocol],
    hosts: service.hosts.flatMap(member => {
      const host = byName.get(member.name)
      return host === undefined || !carries(host, service)
        ? []
        : [{ index: host.index, capacity: member.capacity }]
    }),
    ...(service.delivery === undefined ? {} : { delivery: service.delivery }),
    ...affinityOf(service),
    copies: copiesOf(service),
  }))
  return { services, book: assigned.book }
}

/**
 * Who is who, from the configuration (pure). Host indexes count hosts in order of their names at first; given the `previous`
 * directory of this process, hosts and services that stay keep theirs. Hosts of `previous` whose names are `leaving` stay
 * for the flows that they have, though the configuration no longer knows them; those it does know are chosen for nothing new.
 */
export const buildDirectory = (
  config: NodeConfig,
  previous?: Directory,
  leaving: ReadonlySet<string> = new Set(),
): Directory => {
  const nodes = nodesOf(config)
  const own = config.node.name
  const { hosts, book: hostIndexes } = hostEntries(
    nodes.filter(node => node.roles.includes('host')),
    own,
    previous,
    leaving,
  )
  const forwarders: ForwarderEntry[] = nodes
    .filter(node => node.roles.includes('forwarder') && node.tunnel !== undefined)
    .map(node => ({
      name: node.name,
      tunnelWords: words(node.tunnel!),
      tunnelIpv4: ipv4Of(node.tunnel!),
      tunnelWords6: words6(node.tunnel6),
      ipv4: ipv4Of(node.address),
    }))
  const lived = new Set((previous?.classifiers ?? []).filter(entry => entry.live).map(entry => entry.name))
  const classifiers = nodes
    .filter(node => node.roles.includes('classifier') && node.name !== own)
    .map(node => ({ name: node.name, ipv4: ipv4Of(node.address), live: lived.has(node.name) }))
  const { services, book: serviceIndexes } = serviceEntries(config, hosts, previous)
  return { hosts, forwarders, classifiers, services, hostIndexes, serviceIndexes }
}

/** Sixteen bytes of an IPv4 address as keys are derived from it. */
const mapped = (ipv4: number): Uint8Array => {
  const view = new DataView(new ArrayBuffer(16))
  view.setUint16(10, 0xffff)
  view.setUint32(12, ipv4)
  return new Uint8Array(view.buffer)
}

/**
 * Tag keys of one node under every secret, the first secret's first: of what it may receive (any tunnel address, to itself)
 * and of what it may send (about its own tunnel address to hosts and classifiers; about any to its forwarder).
 */
export const buildMappingKeys = (
  directory: Pick<Directory, 'forwarders' | 'hosts' | 'classifiers'>,
  secrets: readonly { number: number; bytes: Uint8Array }[],
  ownIpv4: number,
): MappingKey[] => {
  const { forwarders, hosts, classifiers } = directory
  const pairs = forwarders.flatMap(({ tunnelIpv4, ipv4 }) => {
    const others = ipv4 === ownIpv4 ? [...hosts, ...classifiers].map(node => node.ipv4) : [ipv4]
    return [ownIpv4, ...others].map(recipientIpv4 => ({ tunnelIpv4, recipientIpv4 }))
  })
  return secrets.flatMap(({ number, bytes }) =>
    pairs.map(({ tunnelIpv4, recipientIpv4 }) => ({
      ...{ number, tunnelIpv4, recipientIpv4 },
      words: mappingKey(bytes, mapped(tunnelIpv4), mapped(recipientIpv4)),
    })),
  )
}

export interface PlanInputs {
  readonly config: NodeConfig
  readonly directory: Directory
  readonly secrets: readonly { number: number; bytes: Uint8Array }[]
  readonly links: readonly LinkRef[]
  readonly mtuBytes: number
  /** Of the forwarder role; a role that goes and comes back needs a later one. */
  readonly epoch: number
  readonly tableKey: readonly [number, number]
  /** Of the deterministic choice: the same on every node and for the life of the cluster, whatever secrets come and go. */
  readonly choiceKey: readonly [number, number]
  readonly xdp?: XdpPlan | null
  readonly lasting?: LastingPlan | null
  /** See DataplanePlan.forwarder, and asksClients there. */
  readonly resolves?: boolean
}

export const buildPlan = ({
  config,
  directory,
  secrets,
  links,
  mtuBytes,
  epoch,
  tableKey,
  choiceKey,
  xdp = null,
  lasting = null,
  resolves = false,
}: PlanInputs): DataplanePlan => {
  const { tunnel } = config.addresses
  const isForwarder = config.roles.includes('forwarder') && tunnel !== undefined
  return {
    table: tableName(config.node.name),
    directory,
    clusterAddress: config.addresses.cluster,
    clusterIpv4: ipv4Of(config.addresses.cluster),
    clusterWords6: words6(config.addresses.cluster6),
    mappingPort: config.cluster.mappingPort,
    links,
    mtuBytes,
    forwarder: isForwarder
      ? {
          tunnelIpv4: ipv4Of(tunnel),
          tunnelWords: words(tunnel),
          tunnelWords6: words6(config.addresses.tunnel6),
          epoch,
          hasClassifier: config.roles.includes('classifier'),
          resolves,
        }
      : null,
    classifier: config.roles.includes('classifier'),
    asksClients: resolves && (isForwarder || config.roles.includes('classifier')),
    host: config.roles.includes('host') ? { tun: TUN_NAME } : null,
    keys: buildMappingKeys(directory, secrets, ipv4Of(config.addresses.cluster)),
    choiceKey,
    tableKey,
    limits: config.limits,
    timeouts: config.timeouts,
    xdp,
    lasting,
  }
}
