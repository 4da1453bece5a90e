/** Checks of interfaces, addresses and kernel settings against the node file. */
import { TUN_NAME } from '../../agent/plan.ts'
import type { NodeFile } from '../../config/schema.ts'
import {
  type AddressFact,
  type Check,
  type Facts,
  type Finding,
  fail,
  type LinkFact,
  pass,
  rolesOf,
  skip,
  valueIn,
  warn,
} from '../facts.ts'

const NO_FILE = 'Without a usable node file the network cannot be compared with it.'
const MIN_MTU_BYTES = 1280

type WithFile = (facts: Facts, file: NodeFile) => Finding[]
const withFile =
  (run: WithFile) =>
  (facts: Facts): Finding[] => {
    const file = valueIn(facts.config)
    return file === null ? [skip(NO_FILE)] : run(facts, file)
  }

const interfaces: WithFile = ({ links }, file) => {
  if ('error' in links) return [skip(`The interfaces cannot be listed: ${links.error}`)]
  const named = [...new Set([...file.interfaces.uplink, ...file.interfaces.cluster])]
  const bad = named.flatMap(name => {
    const link = links.value.find(candidate => candidate.name === name)
    if (link === undefined)
      return [
        fail(`There is no interface ${name}.`, 'correct interfaces: in the node file (ip link shows them)'),
      ]
    return link.up ? [] : [fail(`Interface ${name} is down.`, `ip link set ${name} up`)]
  })
  return bad.length > 0 ? bad : [pass(`${named.join(', ')}: there and up.`)]
}

const mtu: WithFile = ({ links }, file) => {
  const cluster = (valueIn(links) ?? []).filter(link => file.interfaces.cluster.includes(link.name))
  if (cluster.length === 0) return [skip('There is no cluster interface to compare.')]
  const told = (link: LinkFact): string => `${link.name} ${link.mtuBytes}`
  if (new Set(cluster.map(link => link.mtuBytes)).size > 1)
    return [
      warn(
        `The cluster interfaces differ in MTU (${cluster.map(told).join(', ')}); the smallest one is used, and larger packets from the others are lost.`,
        'give them the same MTU (ip link set NAME mtu BYTES), on every node',
      ),
    ]
  if (cluster[0].mtuBytes < MIN_MTU_BYTES)
    return [
      fail(`The MTU of ${told(cluster[0])} bytes is too small.`, `ip link set ${cluster[0].name} mtu 1500`),
    ]
  return [pass(`The MTU towards the cluster is ${cluster[0].mtuBytes} bytes.`)]
}

const address: WithFile = ({ addresses }, file) => {
  if ('error' in addresses) return [skip(`The addresses cannot be listed: ${addresses.error}`)]
  const { cluster, cluster6 } = file.addresses
  return [
    ...placeOf(addresses.value, file, 'cluster', cluster, 24),
    ...(cluster6 === undefined ? [] : placeOf(addresses.value, file, 'cluster6', cluster6, 64)),
  ]
}

const placeOf = (
  all: readonly AddressFact[],
  file: NodeFile,
  key: string,
  cluster: string,
  prefixLength: number,
): Finding[] => {
  const held = all.filter(entry => entry.address === cluster)
  if (held.length === 0)
    return [
      fail(
        `${cluster} is not an address of this machine.`,
        `correct addresses.${key} in the node file, or ip address add ${cluster}/${prefixLength} dev ${file.interfaces.cluster[0]}`,
      ),
    ]
  // Besides, the agent gives its TUN device this address, which does not count.
  const place = held.find(entry => file.interfaces.cluster.includes(entry.link))
  if (place === undefined)
    return [
      warn(
        `${cluster} is an address of ${held[0].link}, which is not among interfaces.cluster.`,
        'tunnelled packets are taken from interfaces.cluster only: name the interface that they arrive on',
      ),
    ]
  return [pass(`${cluster} is an address of ${place.link}.`)]
}

const tunnel: WithFile = (facts, file) => {
  const { tunnel: four, tunnel6: six, cluster, cluster6 } = file.addresses
  const all = [
    ...(four === undefined ? [] : tunnelOf(facts, file, 'tunnel', four, cluster)),
    ...(six === undefined ? [] : tunnelOf(facts, file, 'tunnel6', six, cluster6)),
  ]
  return all.length > 0 ? all : [skip('No tunnel address is configured (only forwarders need one).')]
}

const tunnelOf = (
  facts: Facts,
  file: NodeFile,
  key: string,
  own: string,
  cluster: string | undefined,
): Finding[] => {
  const rule = `a tunnel address must be used for nothing else: choose another one for addresses.${key}`
  const whole = own.includes(':') ? 128 : 32
  if (own === cluster) return [fail(`The tunnel address ${own} is the cluster address too.`, rule)]
  // The agent puts it on the first cluster interface, with nothing around it.
  const stranger = (valueIn(facts.addresses) ?? []).find(
    entry =>
      entry.address === own && (entry.prefixLength !== whole || entry.link !== file.interfaces.cluster[0]),
  )
  if (stranger !== undefined)
    return [
      fail(`The tunnel address ${own} is configured on ${stranger.link} (/${stranger.prefixLength}).`, rule),
    ]
  const user = (valueIn(facts.sockets) ?? []).find(socket => socket.address === own)
  if (user !== undefined)
    return [fail(`A ${user.protocol} socket uses the tunnel address ${own} (port ${user.port}).`, rule)]
  return [pass(`The tunnel address ${own} is used for nothing else.`)]
}

/** Ports that the agent is going to need; once it runs it holds them itself. */
const ports: WithFile = (facts, file) => {
  if ('value' in facts.agent) return [skip('The agent runs and holds its ports.')]
  if (facts.holder !== null)
    return [skip(`Agent pid ${facts.holder} holds its ports, though it does not answer.`)]
  const { controlPort, mappingPort } = file.cluster
  const taken = (valueIn(facts.sockets) ?? []).filter(
    ({ protocol, address: at, port, listening }) =>
      (at === '0.0.0.0' || at === file.addresses.cluster) &&
      ((protocol === 'tcp' && listening && port === controlPort) ||
        (protocol === 'udp' && port === mappingPort)),
  )
  if (taken.length > 0)
    return taken.map(({ protocol, port }) =>
      fail(
        `Another process holds ${protocol} port ${port}.`,
        `find it with ss -lnp, or change the port on every node`,
      ),
    )
  return [pass(`TCP port ${controlPort} and UDP port ${mappingPort} are free.`)]
}

const CONF = ['net', 'ipv4', 'conf']
const read = ({ sysctls }: Facts, name: readonly string[]): number => Number(sysctls.get(name.join('.')) ?? 0)
/** Of all these the kernel uses the larger of the interface's value and that of `all`. */
const effective = (facts: Facts, link: string, key: string): number =>
  Math.max(read(facts, [...CONF, 'all', key]), read(facts, [...CONF, link, key]))

const arp: WithFile = (facts, file) => {
  const roles = rolesOf(facts)
  if (roles !== null && !roles.includes('host'))
    return [skip('Only hosts must keep quiet about virtual IPs.')]
  if ('error' in facts.agent) return [skip('The agent sets arp_ignore and arp_announce when it starts.')]
  const bad = (['arp_ignore', 'arp_announce'] as const).flatMap(key => {
    const wanted = key === 'arp_ignore' ? 1 : 2
    const low = file.interfaces.cluster.find(link => effective(facts, link, key) < wanted)
    if (low === undefined) return []
    const name = [...CONF, 'all', key]
    const remedy = { kind: 'sysctl', name, value: String(wanted) } as const
    return [
      fail(
        `${key} on ${low} is below ${wanted}: this host may claim virtual IPs on the wire.`,
        `sysctl -w ${name.join('.')}=${wanted}, and find what changed it after the agent started`,
        remedy,
      ),
    ]
  })
  return bad.length > 0 ? bad : [pass('This host keeps quiet about virtual IPs (arp_ignore, arp_announce).')]
}

const reversePath: WithFile = (facts, file) => {
  const roles = rolesOf(facts)
  if (roles !== null && !roles.includes('host'))
    return [skip('Only hosts need loose reverse-path filtering.')]
  if ('error' in facts.agent) return [skip('The agent sets rp_filter when it starts.')]
  // What a host was sent comes out of its TUN device once more, from the client's address.
  const tun = (valueIn(facts.links) ?? []).filter(({ name }) => name === TUN_NAME).map(({ name }) => name)
  const strict = [...file.interfaces.cluster, ...tun].filter(
    link => effective(facts, link, 'rp_filter') === 1,
  )
  if (strict.length === 0) return [pass('Reverse-path filtering lets clients of other networks in.')]
  return strict.map(link => {
    const name = [...CONF, link, 'rp_filter']
    return fail(
      `Strict reverse-path filtering on ${link} drops ${link === TUN_NAME ? 'every client' : 'clients that are reached another way'}.`,
      `sysctl -w net/ipv4/conf/${link}/rp_filter=2, and find what changed it after the agent started`,
      { kind: 'sysctl', name, value: '2' },
    )
  })
}

const ECHO = ['net', 'ipv4', 'icmp_echo_ignore_all']
const echo = (facts: Facts): Finding[] =>
  read(facts, ECHO) === 0
    ? [pass('This kernel answers echo requests, by which the others see that the machine lives.')]
    : [
        fail(
          'This kernel answers no echo requests, so the others cannot see whether the machine lives.',
          `sysctl -w ${ECHO.join('.')}=0, and take it out of /etc/sysctl.d`,
          { kind: 'sysctl', name: ECHO, value: '0' },
        ),
      ]

export const NETWORK_CHECKS: readonly Check[] = [
  { id: 'interfaces', run: withFile(interfaces) },
  { id: 'mtu', run: withFile(mtu) },
  { id: 'address', run: withFile(address) },
  { id: 'tunnel-address', run: withFile(tunnel) },
  { id: 'ports', run: withFile(ports) },
  { id: 'arp', run: withFile(arp) },
  { id: 'reverse-path', run: withFile(reversePath) },
  { id: 'echo', run: echo },
]
