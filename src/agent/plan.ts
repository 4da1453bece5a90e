import { createHash } from 'node:crypto'
import type { NodeConfig } from '../config/schema.ts'
import { choiceKey, mappingKey } from '../gossip/keys.ts'
import type { Directory, ForwarderEntry, HostEntry } from './dataplane/directory.ts'
import { parseAddress } from './dataplane/flow-key.ts'
import type { DataplanePlan, LinkRef, MappingKey } from './dataplane/messages.ts'
import { tableName } from './dataplane/nft/ruleset.ts'

export const PROTOCOL_NUMBER = { tcp: 6, udp: 17 } as const
/** Name of the TUN device by which a host puts packets into its own stack. */
export const TUN_NAME = 'shunt0'

const words = (address: string): Uint32Array => {
  const out = new Uint32Array(4)
  parseAddress(address, out, 0)
  return out
}
export const ipv4Of = (address: string): number => words(address)[3]

/** All nodes, this one among them, in one order for every use. */
const nodesOf = (config: NodeConfig): NodeConfig['peers'] => {
  const { node, roles, addresses, peers } = config
  const self = { name: node.name, id: '', roles, address: addresses.cluster, tunnel: addresses.tunnel }
  return [...peers, self].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Who is who, from the configuration (pure). Host indexes count hosts in order of their names. */
export const buildDirectory = (config: NodeConfig): Directory => {
  const nodes = nodesOf(config)
  const own = config.node.name
  const hosts: HostEntry[] = nodes
    .filter(node => node.roles.includes('host'))
    .map((node, i) => ({
      index: i + 1,
      name: node.name,
      words: words(node.address),
      ipv4: ipv4Of(node.address),
      self: node.name === own,
      hash: createHash('sha256').update(node.name).digest().readUInt32BE(0),
      live: node.name === own,
      draining: false,
    }))
  const indexOf = new Map(hosts.map(host => [host.name, host.index]))
  const forwarders: ForwarderEntry[] = nodes
    .filter(node => node.roles.includes('forwarder') && node.tunnel !== undefined)
    .map(node => ({
      name: node.name,
      tunnelWords: words(node.tunnel!),
      tunnelIpv4: ipv4Of(node.tunnel!),
      ipv4: ipv4Of(node.address),
    }))
  const classifiers = nodes
    .filter(node => node.roles.includes('classifier') && node.name !== own)
    .map(node => ({ name: node.name, ipv4: ipv4Of(node.address), live: false }))
  const services = config.services.map((service, index) => ({
    index,
    name: service.name,
    vipIpv4: ipv4Of(service.vip),
    port: service.port,
    protocol: PROTOCOL_NUMBER[service.protocol],
    hosts: service.hosts.flatMap(member => {
      const host = indexOf.get(member.name)
      return host === undefined ? [] : [{ index: host, capacity: member.capacity }]
    }),
  }))
  return { hosts, forwarders, classifiers, services }
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
  directory: Directory,
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
  readonly epoch: number
  readonly tableKey: readonly [number, number]
}

export const buildPlan = ({
  config,
  directory,
  secrets,
  links,
  mtuBytes,
  epoch,
  tableKey,
}: PlanInputs): DataplanePlan => {
  const { tunnel } = config.addresses
  const isForwarder = config.roles.includes('forwarder') && tunnel !== undefined
  return {
    table: tableName(config.node.name),
    directory,
    clusterAddress: config.addresses.cluster,
    clusterIpv4: ipv4Of(config.addresses.cluster),
    mappingPort: config.cluster.mappingPort,
    links,
    mtuBytes,
    forwarder: isForwarder
      ? {
          tunnelIpv4: ipv4Of(tunnel),
          tunnelWords: words(tunnel),
          epoch,
          hasClassifier: config.roles.includes('classifier'),
        }
      : null,
    classifier: config.roles.includes('classifier'),
    host: config.roles.includes('host') ? { tun: TUN_NAME } : null,
    keys: buildMappingKeys(directory, secrets, ipv4Of(config.addresses.cluster)),
    choiceKey: choiceKey(secrets[0].bytes),
    tableKey,
    limits: config.limits,
    timeouts: config.timeouts,
  }
}
