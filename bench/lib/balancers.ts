/**
 * What shunt is compared with, each in a namespace of its own on the lab's switch, before the lab's own hosts:
 * nft DNAT, HAProxy, and plain routing. The hosts get a second address for DNAT, whose answers go back through that
 * balancer as they must; and a third for plain routing, whose answers go straight back, as shunt's do.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import type { Lab } from '../../src/lab/lab.ts'
import { mustRun } from '../../src/lab/run.ts'
import type { PlacePlan } from '../../src/lab/topology.ts'
import { BALANCER_CPU } from './cpu.ts'

export type BalancerKind = 'nft' | 'haproxy' | 'route'

/** Last byte of the cluster addresses, above those that labs give. */
const LAST = { nft: 201, haproxy: 202, route: 203 } as const
export const VIP = { nft: '10.99.0.2', haproxy: '10.99.0.3' } as const
const DNAT_NET = '10.10.2'
const ROUTE_NET = '10.10.3'
const DNAT_TABLE = 201

const netns = (lab: Lab, kind: BalancerKind): string => `${lab.name}-b${kind}`
const lastByte = (host: PlacePlan): string => host.address!.split('.')[3]
/** The address of a host to which plain routing leads. */
export const routedAddress = (host: PlacePlan): string => `${ROUTE_NET}.${lastByte(host)}`
const dnatAddress = (host: PlacePlan): string => `${DNAT_NET}.${lastByte(host)}`

const ip = (ns: string, lines: string[]): Promise<string> =>
  mustRun(['ip', '-n', ns, '-batch', '-'], { input: `${lines.join('\n')}\n` })
const inside = (ns: string, argv: string[], input?: string): Promise<string> =>
  mustRun(['ip', 'netns', 'exec', ns, ...argv], { input })

const SYSCTLS = [
  'net.ipv6.conf.all.disable_ipv6=1',
  'net.ipv4.ip_forward=1',
  'net.ipv4.conf.all.rp_filter=0',
  'net.ipv4.conf.default.rp_filter=0',
  'net.ipv4.conf.all.send_redirects=0',
  'net.ipv4.conf.default.send_redirects=0',
  'net.ipv4.conf.all.accept_redirects=0',
  'net.ipv4.ip_local_port_range=1024 65535',
  'net.core.somaxconn=4096',
]

const plug = async (lab: Lab, kind: BalancerKind): Promise<string> => {
  const ns = netns(lab, kind)
  await mustRun(['ip', 'netns', 'add', ns])
  // Before the cable: its device takes the defaults over.
  await inside(ns, ['sysctl', '-qw', ...SYSCTLS])
  await ip(lab.netns('switch'), [
    `link add to-b${kind} mtu 1500 type veth peer name eth0 mtu 1500 netns ${ns}`,
    `link set to-b${kind} master br0 up`,
  ])
  await inside(ns, ['ethtool', '-K', 'eth0', 'tx', 'off', 'gro', 'off'])
  await ip(ns, [
    'link set lo up',
    'link set eth0 up',
    `addr add 10.10.0.${LAST[kind]}/24 dev eth0`,
    `route add ${DNAT_NET}.0/24 dev eth0`,
    `route add ${ROUTE_NET}.0/24 dev eth0`,
    'route add default via 10.10.0.1',
  ])
  return ns
}

const startDnat = async (lab: Lab): Promise<void> => {
  const ns = await plug(lab, 'nft')
  const { hosts } = lab
  const to = hosts.map((host, i) => `${i} : ${dnatAddress(host)}`).join(', ')
  await inside(
    ns,
    ['nft', '-f', '-'],
    `table ip bench {
  chain pre {
    type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${VIP.nft} tcp dport 80 dnat to numgen inc mod ${hosts.length} map { ${to} }
  }
}
`,
  )
  // A closed connection is kept as long as shunt's linger, instead of 120 s.
  await inside(ns, ['sysctl', '-qw', 'net.netfilter.nf_conntrack_tcp_timeout_time_wait=30'])
  for (const host of hosts)
    await ip(host.netns, [
      `addr add ${dnatAddress(host)}/32 dev eth0`,
      `route add default via 10.10.0.${LAST.nft} table ${DNAT_TABLE}`,
      `rule add from ${dnatAddress(host)} lookup ${DNAT_TABLE}`,
    ])
  await ip(lab.netns('router'), [`route add ${VIP.nft}/32 via 10.10.0.${LAST.nft}`])
}

const haproxyConfig = (hosts: PlacePlan[]): string => `
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen web
  bind ${VIP.haproxy}:80
  balance roundrobin
${hosts.map(host => `  server ${host.name} ${host.address}:80`).join('\n')}
`

const startHaproxy = async (lab: Lab): Promise<void> => {
  const ns = await plug(lab, 'haproxy')
  await ip(ns, [`addr add ${VIP.haproxy}/32 dev lo`])
  const config = `${lab.files('router').dir}/haproxy.cfg`
  writeFileSync(config, haproxyConfig(lab.hosts))
  // In the switch's cgroup, where nothing else runs: so it is counted, and ends with the lab.
  const pin = ['taskset', '-c', String(BALANCER_CPU)]
  const child = lab.spawn('switch', ['ip', 'netns', 'exec', ns, ...pin, 'haproxy', '-db', '-f', config])
  child.stdout?.resume()
  child.stderr?.on('data', d => process.stderr.write(d))
  child.unref()
  await ip(lab.netns('router'), [`route add ${VIP.haproxy}/32 via 10.10.0.${LAST.haproxy}`])
}

const startRoute = async (lab: Lab): Promise<void> => {
  await plug(lab, 'route')
  for (const host of lab.hosts) {
    await ip(host.netns, [`addr add ${routedAddress(host)}/32 dev eth0`])
    await ip(lab.netns('router'), [`route add ${routedAddress(host)}/32 via 10.10.0.${LAST.route}`])
  }
}

/** All of them; `removeBalancers` undoes what does not go with the lab. */
export const startBalancers = async (lab: Lab): Promise<void> => {
  process.on('exit', () => removeBalancers(lab.name))
  await startDnat(lab)
  await startHaproxy(lab)
  await startRoute(lab)
}

/** Harmless where there are none. Blocks: it also runs when the process ends. */
export const removeBalancers = (lab: string): void => {
  for (const kind of ['nft', 'haproxy', 'route'] as const) {
    const ns = `${lab}-b${kind}`
    if (existsSync(`/run/netns/${ns}`)) spawnSync('ip', ['netns', 'delete', ns])
  }
}

/**
 * Receive work of a balancer's device goes to its CPU, and what it sends is received on the other one: a virtual
 * cable works on the sender's CPU otherwise.
 */
const steer = async (lab: Lab, ns: string, port: string): Promise<void> => {
  const set = (netnsName: string, device: string, cpu: number): Promise<string> =>
    inside(netnsName, ['sh', '-c', `echo ${1 << cpu} > /sys/class/net/${device}/queues/rx-0/rps_cpus`])
  await set(ns, 'eth0', BALANCER_CPU)
  await set(lab.netns('switch'), port, 1 - BALANCER_CPU)
}

/** One balancer a CPU, everything else on the other one. @param forwarder name of the node that is shunt's */
export const pinBalancers = async (lab: Lab, forwarder: string): Promise<void> => {
  await mustRun(['taskset', '-a', '-cp', String(BALANCER_CPU), String(lab.process(forwarder)!.pid)])
  await steer(lab, lab.netns(forwarder), `to-${forwarder}`)
  for (const kind of ['nft', 'haproxy', 'route'] as const) await steer(lab, netns(lab, kind), `to-b${kind}`)
}
