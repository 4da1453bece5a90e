/** Rules of a static node file that span several places, and what other checks share; they run on a file whose every value is valid by itself. */
import { MAX_HOSTS } from './fields.ts'
import { overloadProblems } from './health-checks.ts'
import { ipv6Lacks } from './ipv6-needs.ts'
import { type Path, type Problem, pathText, unique } from './problems.ts'
import { type NodeConfig, nodeConfigSchema, type Role, type ServiceConfig } from './schema.ts'
import { hostAddressProblem } from './service-endpoint.ts'
import { serviceProblems } from './service-rules.ts'
import { didYouMean } from './suggest.ts'
import { type Part, partsOf, valueUnder, wholePart } from './valid-parts.ts'

interface Node {
  name: string
  roles: readonly Role[]
  path: Path
}

const checkRoles = (config: NodeConfig, problems: Problem[]): void => {
  const has = (role: Role): boolean => config.roles.includes(role)
  const onceOnly = (roles: readonly Role[], path: Path): void => {
    const once = unique(problems, 'role')
    roles.forEach((role, i) => {
      once(role, [...path, i])
    })
  }
  onceOnly(config.roles, ['roles'])
  config.peers.forEach((p, i) => {
    onceOnly(p.roles, ['peers', i, 'roles'])
  })
  if (has('forwarder') && config.addresses.tunnel === undefined)
    problems.push({
      path: ['addresses'],
      message: 'the role forwarder needs addresses.tunnel, an address used for nothing else',
    })
  if (has('forwarder') && config.interfaces.uplink.length === 0)
    problems.push({
      path: ['interfaces'],
      message: 'the role forwarder needs interfaces.uplink, where packets for a virtual IP arrive',
    })
  config.peers.forEach((p, i) => {
    if (p.roles.includes('forwarder') && p.tunnel === undefined)
      problems.push({
        path: ['peers', i],
        message: `${p.name} has the role forwarder and needs tunnel, its tunnel address`,
      })
  })
  const anyone = (role: Role): boolean => has(role) || config.peers.some(p => p.roles.includes(role))
  if (anyone('forwarder') && !anyone('classifier'))
    problems.push({
      path: ['roles'],
      message:
        'there are forwarders but no classifier, here or among the peers; give a node the role classifier',
    })
}

const checkNodes = (config: NodeConfig, nodes: readonly Node[], problems: Problem[]): void => {
  const nameOnce = unique(problems, 'node name')
  for (const node of nodes) nameOnce(node.name, [...node.path, 'name'])
  const idOnce = unique(problems, 'peer id')
  config.peers.forEach((p, i) => {
    idOnce(p.id, ['peers', i, 'id'])
  })
  const addressOnce = unique(problems, 'address')
  for (const [ip, path] of nodeAddressesOf(config)) addressOnce(ip, path)
  const hosts = nodes.filter(n => n.roles.includes('host'))
  if (hosts.length > MAX_HOSTS)
    problems.push({
      path: hosts[MAX_HOSTS]!.path,
      message: `a cluster carries at most ${MAX_HOSTS} hosts, there are ${hosts.length}`,
    })
  const secretOnce = unique(problems, 'secret number')
  config.cluster.secrets.forEach((s, i) => {
    secretOnce(String(s.number), ['cluster', 'secrets', i, 'number'])
  })
}

/** Of this node and its peers, with their places. */
const nodeAddressesOf = ({ addresses, peers }: NodeConfig): [string, Path][] => [
  ...(['cluster', 'tunnel', 'cluster6', 'tunnel6'] as const).flatMap((key): [string, Path][] =>
    addresses[key] === undefined ? [] : [[addresses[key], ['addresses', key]]],
  ),
  ...peers.flatMap((peer, i) =>
    (['address', 'tunnel', 'address6', 'tunnel6'] as const).flatMap((key): [string, Path][] =>
      peer[key] === undefined ? [] : [[peer[key], ['peers', i, key]]],
    ),
  ),
]

/** Where packets come back from one family's tunnel is where the other's do: on a node that has both addresses. */
export const tunnel6Problems = ({ cluster6, tunnel6 }: NodeConfig['addresses']): Problem[] =>
  tunnel6 === undefined || cluster6 !== undefined
    ? []
    : [
        {
          path: ['addresses', 'tunnel6'],
          message: "needs this node's own IPv6 address beside it (addresses.cluster6, or --address6)",
        },
      ]

const ipv6Problems = ({ vip, hosts }: ServiceConfig, path: Path, config: NodeConfig): Problem[] => {
  const { cluster6, tunnel6 } = config.addresses
  const self = { name: config.node.name, roles: config.roles, address6: cluster6, tunnel6 }
  const names = hosts.map(({ name }) => name)
  return ipv6Lacks(vip, names, [self, ...config.peers]).map(({ name, role, field }) => {
    const place =
      name === self.name
        ? `addresses.${field === 'address6' ? 'cluster6' : field}`
        : `${field} among the peers`
    return {
      path,
      message: `${vip} is of IPv6, and ${name}, a ${role}, has no IPv6 address for it: give ${place}`,
    }
  })
}

const checkServiceHosts = (
  service: ServiceConfig,
  path: Path,
  nodes: readonly Node[],
  problems: Problem[],
): void => {
  const once = unique(problems, 'host')
  const names = nodes.filter(n => n.roles.includes('host')).map(n => n.name)
  service.hosts.forEach((host, i) => {
    const at = [...path, 'hosts', i, 'name']
    once(host.name, at)
    const node = nodes.find(n => n.name === host.name)
    if (node === undefined)
      problems.push({
        path: at,
        message: `${host.name} is neither a peer nor this node${didYouMean(host.name, names)}`,
      })
    else if (!node.roles.includes('host'))
      problems.push({ path: at, message: `${host.name} does not have the role host` })
  })
}

/** Every broken rule of a configuration, in document order of the sections. */
export const checkNodeConfig = (config: NodeConfig): Problem[] => {
  const problems: Problem[] = []
  const nodes: Node[] = [
    { name: config.node.name, roles: config.roles, path: ['node'] },
    ...config.peers.map((p, i): Node => ({ name: p.name, roles: p.roles, path: ['peers', i] })),
  ]
  checkRoles(config, problems)
  checkNodes(config, nodes, problems)
  problems.push(...tunnel6Problems(config.addresses))
  const nodeAddresses = new Map(nodeAddressesOf(config))
  config.services.forEach((service, i) => {
    const path = ['services', i]
    const taken = nodeAddresses.get(service.vip)
    if (taken !== undefined)
      problems.push({
        path: [...path, 'vip'],
        message: `${service.vip} is the address of a node (${pathText(taken)}); a virtual IP must be its own`,
      })
    checkServiceHosts(service, path, nodes, problems)
    problems.push(...ipv6Problems(service, [...path, 'vip'], config))
    service.hosts.forEach(({ address }, j) => {
      const wrong = address === undefined ? null : hostAddressProblem(address, service.vip)
      if (wrong !== null) problems.push({ path: [...path, 'hosts', j, 'address'], message: wrong })
    })
  })
  return [...problems, ...partProblems({ ...config, services: config.services.map(wholePart) })]
}

interface NodeParts {
  readonly services: readonly Part<ServiceConfig>[]
  readonly overload: NodeConfig['overload'] | undefined
  readonly timeouts: NodeConfig['timeouts'] | undefined
}

const partProblems = ({ services, overload, timeouts }: NodeParts): Problem[] => [
  ...serviceProblems(services),
  ...overloadProblems(overload),
  ...(timeouts === undefined ? [] : leaseProblems(timeouts)),
]

/** Those of the rules that need neither all nodes nor all addresses, for a file that has other errors. */
export const checkWrongNodeConfig = (data: unknown): Problem[] => {
  const { services, overload, timeouts } = nodeConfigSchema.shape
  return partProblems({
    services: partsOf(services.unwrap().element, valueUnder(data, 'services')),
    overload: overload.safeParse(valueUnder(data, 'overload')).data,
    timeouts: timeouts.safeParse(valueUnder(data, 'timeouts')).data,
  })
}

/** A lease that ends only after the flow did would keep dead flows (decision 2). */
export const leaseProblems = ({ routeLease, tcpIdle }: { routeLease: number; tcpIdle: number }): Problem[] =>
  routeLease <= tcpIdle / 2
    ? []
    : [
        {
          path: ['timeouts', 'routeLease'],
          message: `is ${routeLease} and must be at most half of timeouts.tcpIdle (${tcpIdle})`,
        },
      ]
