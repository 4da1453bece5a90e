/** Facts of a healthy machine, for tests of the doctor. */
import { parseNodeFile } from '../../src/config/load.ts'
import type { AgentFacts, Facts } from '../../src/doctor/facts.ts'
import { VERSION } from '../../src/version.ts'
import { CLUSTER, CONFIG, HEALTH, HOSTS, NODES, STATUS, VIPS } from './fake-view.ts'

export const NODE_FILE = `version: 1
node: { name: h1, identityFile: /etc/shunt/identity.key }
interfaces: { uplink: [eth0], cluster: [eth0, eth1] }
addresses: { cluster: 10.10.0.31, tunnel: 10.10.0.131 }
`

export const healthyAgent = (): AgentFacts => ({
  status: {
    ...STATUS,
    node: 'h1',
    version: VERSION,
    roles: ['forwarder', 'host'],
    peers: [],
    counters: { kernel_batch_failures: 0, kernel_change_failures: 0 },
  },
  nodes: {
    value: {
      mode: 'managed',
      nodes: NODES.nodes.map(row => ({
        ...row,
        self: row.name === 'h1',
        node: 'alive',
        agent: 'alive',
        synced: true,
        revision: 2,
      })),
    },
  },
  hosts: { value: HOSTS },
  vips: { value: { vips: VIPS.vips.map(vip => ({ ...vip, live: vip.hosts, ready: vip.hosts })) } },
  health: {
    value: { ...HEALTH, cache: HEALTH.cache!.map(table => ({ ...table, rows: table.rows.slice(0, 1) })) },
  },
  drops: { value: { drops: [] } },
  cluster: { value: CLUSTER },
  config: { value: CONFIG },
  listening: [],
})

export const healthyFacts = (): Facts => ({
  version: VERSION,
  kernel: { system: 'Linux', release: '6.18.0', machine: 'x64' },
  capabilities: 0x1ffffffffffn,
  nftVersion: { value: 'nftables v1.0.6' },
  nftRuleset: { value: true },
  hasTun: true,
  xdpHindrance: { value: null },
  leftAtWork: false,
  configFile: '/etc/shunt/node.yaml',
  config: { value: parseNodeFile(NODE_FILE, 'node.yaml') },
  links: {
    value: [
      { name: 'lo', up: true, mtuBytes: 65_536 },
      { name: 'eth0', up: true, mtuBytes: 1500 },
      { name: 'eth1', up: true, mtuBytes: 1500 },
      { name: 'shunt0', up: true, mtuBytes: 1500 },
    ],
  },
  addresses: {
    value: [
      { link: 'lo', address: '127.0.0.1', prefixLength: 8 },
      { link: 'lo', address: '10.99.0.1', prefixLength: 32 },
      { link: 'shunt0', address: '10.10.0.31', prefixLength: 32 },
      { link: 'eth0', address: '10.10.0.31', prefixLength: 24 },
      { link: 'eth0', address: '10.10.0.131', prefixLength: 32 },
    ],
  },
  sockets: { value: [{ protocol: 'tcp', address: '0.0.0.0', port: 22, listening: true }] },
  sysctls: new Map([
    ['net.ipv4.icmp_echo_ignore_all', '0'],
    ['net.ipv4.conf.all.arp_ignore', '1'],
    ['net.ipv4.conf.all.arp_announce', '2'],
    ['net.ipv4.conf.all.rp_filter', '0'],
    ['net.ipv4.conf.eth0.rp_filter', '2'],
    ['net.ipv4.conf.eth1.rp_filter', '0'],
    ['net.ipv4.conf.shunt0.rp_filter', '2'],
  ]),
  stateDir: { path: '/var/lib/shunt', mode: 0o700, isDirectory: true, writable: true, freeBytes: 1e10 },
  files: [
    { path: '/etc/shunt/identity.key', what: 'identity', required: true, mode: 0o600 },
    { path: '/var/lib/shunt/cluster.json', what: 'saved cluster', required: true, mode: 0o600 },
    { path: '/etc/shunt/operator.key', what: 'operator key', required: false, mode: null },
  ],
  standing: {
    value: {
      kind: 'member',
      member: {
        ...{ id: NODES.nodes[1]!.id, name: 'h1', address: '10.10.0.31', roles: ['host'] },
        ...{ joinedMs: 0, rolesRevision: 0, directives: [] },
      },
    },
  },
  cgroup: { value: null },
  clock: { value: { synchronised: true, maxErrorMs: 12.5 } },
  holder: null,
  controlSocket: '/run/shunt/control.sock',
  agent: { value: healthyAgent() },
})
