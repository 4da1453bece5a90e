/** Collects the facts. Changes nothing; what cannot be had becomes a fact too. */
import { execFile, spawn } from 'node:child_process'
import { accessSync, constants, existsSync, readFileSync, type Stats, statfsSync, statSync } from 'node:fs'
import { arch, release, type as system } from 'node:os'
import { join } from 'node:path'
import { text as streamText } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { buildRuleset } from '../agent/dataplane/nft/ruleset.ts'
import { hasPinnedLinks } from '../agent/lasting-state.ts'
import { TUN_NAME } from '../agent/plan.ts'
import { hindrance } from '../agent/xdp-choice.ts'
import { loadNodeFile } from '../config/load.ts'
import type { NodeFile } from '../config/schema.ts'
import { get } from '../control/client.ts'
import { DEFAULT_CONTROL_SOCKET } from '../control/defaults.ts'
import { holderOf } from '../control/holder.ts'
import { errorText } from '../errors.ts'
import { readClock } from '../os/clock.ts'
import { addresses, links } from '../os/netlink/route.ts'
import { readSysctl } from '../os/sysctl.ts'
import { VERSION } from '../version.ts'
import { isCgroupReadable } from './cgroup-fact.ts'
import { type AgentFacts, type Facts, type FileFact, type Known, type SocketFact, valueIn } from './facts.ts'
import { parseProcNet } from './proc-net.ts'
import { listeningOutOfTouch } from './reach.ts'
import { savedStanding } from './standing.ts'

const PATIENCE_MS = 5000
const OPERATOR_KEY = '/etc/shunt/operator.key'
const run = promisify(execFile)

const known = <T>(read: () => T): Known<T> => {
  try {
    return { value: read() }
  } catch (error) {
    return { error: errorText(error) }
  }
}
const knownSoon = async <T>(promise: Promise<T>): Promise<Known<T>> => {
  try {
    return { value: await promise }
  } catch (error) {
    return { error: errorText(error) }
  }
}

export interface CollectOptions {
  configFile: string
  /** Undefined: what the node file says. */
  controlSocket?: string | undefined
}

export const collectFacts = async ({ configFile, controlSocket }: CollectOptions): Promise<Facts> => {
  const config = known(() => loadNodeFile(configFile))
  const file = valueIn(config)
  const socket = controlSocket ?? file?.node.controlSocket ?? DEFAULT_CONTROL_SOCKET
  // Netlink and /proc first, in this very thread: they speak of its network namespace.
  const linkFacts = known(() =>
    links().map(link => ({ name: link.name, up: link.up, mtuBytes: link.mtu, index: link.index })),
  )
  const names = new Map((valueIn(linkFacts) ?? []).map(link => [link.index, link.name]))
  const [nftVersion, nftRuleset, agent] = await Promise.all([
    knownSoon(run('nft', ['--version']).then(({ stdout }) => stdout.trim())),
    knownSoon(checkRuleset()),
    knownSoon(askAgent(socket, file)),
  ])
  return {
    version: VERSION,
    kernel: { system: system(), release: release(), machine: arch() },
    capabilities: ownCapabilities(),
    nftVersion,
    nftRuleset,
    hasTun: existsSync('/dev/net/tun'),
    xdpHindrance: known(() => {
      if (file === null || file.dataplane === 'nftables') return null
      return hindrance(file, new Set([...file.interfaces.uplink, ...file.interfaces.cluster]))
    }),
    leftAtWork: valueIn(known(() => file !== null && hasPinnedLinks(file.node))) ?? false,
    configFile,
    config,
    links: linkFacts,
    addresses: known(() =>
      addresses().map(({ interfaceIndex, address, prefixLength }) => ({
        link: names.get(interfaceIndex) ?? String(interfaceIndex),
        address,
        prefixLength,
      })),
    ),
    sockets: known(() => sockets(file?.addresses.tunnel)),
    sysctls: sysctls(file),
    stateDir: file === null ? null : stateDirFacts(file.node.stateDir),
    files: fileFacts(file),
    standing: known(() => (file === null ? null : savedStanding(file))),
    cgroup: known(() => cgroupFacts(file, valueIn(agent)?.status.pid)),
    clock: known(readClock),
    controlSocket: socket,
    agent,
    holder: 'error' in agent ? await holderOf(socket) : null,
  }
}

const ownCapabilities = (): bigint => {
  const [, hex = '0'] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? []
  return BigInt(`0x${hex}`)
}

/** Has nft and the kernel check a ruleset of both roles' shape, without carrying it out. */
const checkRuleset = async (): Promise<true> => {
  const ruleset = buildRuleset({
    node: 'doctor',
    uplink: ['lo'],
    cluster: ['lo'],
    clusterAddress: '192.0.2.1',
    clusterAddress6: '2001:db8::1',
    forwarder: {
      tunnelAddress: '192.0.2.2',
      tunnelAddress6: '2001:db8::2',
      services: [
        { vip: '192.0.2.3', protocol: 'tcp', port: 80 },
        { vip: '2001:db8::3', protocol: 'tcp', port: 80 },
      ],
      hosts: [{ index: 1, address: '192.0.2.4', hop: '192.0.2.4', link: 'lo' }],
      hosts6: [{ index: 1, address: '2001:db8::4', hop: '2001:db8::4', link: 'lo' }],
      routeCapacity: 16,
    },
    host: { tunnels: ['192.0.2.2'], tunnels6: ['2001:db8::2'], mappingCapacity: 16 },
  })
  const child = spawn('nft', ['--check', '-f', '-'], {
    stdio: ['pipe', 'ignore', 'pipe'],
    timeout: PATIENCE_MS,
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  child.stdin.on('error', () => {}) // nft may stop reading at an error
  child.stdin.end(ruleset)
  const [status, complaint] = await Promise.all([ended, streamText(child.stderr)])
  if (status !== 0) throw new Error(complaint.trim().split('\n')[0] || `exit status ${status}`)
  return true
}

const askAgent = async (socket: string, file: NodeFile | null): Promise<AgentFacts> => {
  const signal = AbortSignal.timeout(PATIENCE_MS)
  const ask = async <T>(path: string): Promise<T> => (await get(socket, path, signal)).data as T
  const status = await ask<AgentFacts['status']>('/v1/status')
  const [nodes, hosts, vips, health, drops, cluster, config] = await Promise.all([
    knownSoon(ask('/v1/nodes')),
    knownSoon(ask('/v1/hosts')),
    knownSoon(ask('/v1/vips')),
    knownSoon(ask('/v1/health')),
    knownSoon(ask('/v1/drops')),
    knownSoon(ask('/v1/cluster')),
    knownSoon(ask('/v1/config')),
  ])
  const answers = { status, nodes, hosts, vips, health, drops, cluster, config } as Omit<
    AgentFacts,
    'listening'
  >
  const port = valueIn(answers.cluster)?.node.controlPort ?? file?.cluster.controlPort
  const rows = valueIn(answers.nodes)?.nodes ?? []
  return { ...answers, listening: port === undefined ? [] : await listeningOutOfTouch(rows, port) }
}

/** Those that listen or take datagrams, and any with the tunnel address; not every connection of a busy machine. */
const sockets = (tunnel: string | undefined): SocketFact[] =>
  (['tcp', 'udp', 'tcp6', 'udp6'] as const).flatMap(name => {
    const path = `/proc/thread-self/net/${name}`
    if (!existsSync(path)) return [] // IPv6 may be switched off
    const all = parseProcNet(readFileSync(path, 'latin1'), name.startsWith('tcp') ? 'tcp' : 'udp')
    return all.filter(
      ({ protocol, listening, address }) => protocol === 'udp' || listening || address === tunnel,
    )
  })

const sysctls = (file: NodeFile | null): Map<string, string> => {
  const names = [['net', 'ipv4', 'icmp_echo_ignore_all']]
  for (const link of ['all', TUN_NAME, ...(file?.interfaces.cluster ?? [])])
    for (const key of ['arp_ignore', 'arp_announce', 'rp_filter'])
      names.push(['net', 'ipv4', 'conf', link, key])
  const values = new Map<string, string>()
  for (const name of names) {
    const value = valueIn(known(() => readSysctl(name)))
    if (value !== null) values.set(name.join('.'), value)
  }
  return values
}

const cgroupFacts = (
  file: NodeFile | null,
  pid: number | undefined,
): { asked: string; readable: boolean } | null => {
  const asked = file?.node.cgroup
  return asked === undefined ? null : { asked, readable: isCgroupReadable(asked, pid) }
}

const statOf = (path: string): Stats | null => valueIn(known(() => statSync(path)))

const stateDirFacts = (path: string): Facts['stateDir'] => {
  const stat = statOf(path)
  if (stat === null) return { path, mode: null, isDirectory: false, writable: false, freeBytes: 0 }
  const writable = 'value' in known(() => accessSync(path, constants.W_OK | constants.X_OK))
  const disk = valueIn(known(() => statfsSync(path)))
  const freeBytes = disk === null ? Number.POSITIVE_INFINITY : disk.bavail * disk.bsize
  return { path, mode: stat.mode & 0o777, isDirectory: stat.isDirectory(), writable, freeBytes }
}

const fileFacts = (file: NodeFile | null): FileFact[] => {
  const fact = (path: string, what: string, required: boolean): FileFact => {
    const stat = statOf(path)
    return { path, what, required, mode: stat === null ? null : stat.mode & 0o777 }
  }
  const operator = fact(OPERATOR_KEY, 'operator key', false)
  if (file === null) return [operator]
  const { identityFile, stateDir } = file.node
  const { secrets } = file.cluster
  return [
    fact(identityFile, 'identity', true),
    ...(secrets ?? []).map(({ file: path, number }) => fact(path, `cluster secret ${number}`, true)),
    ...(secrets === undefined
      ? [
          fact(join(stateDir, 'cluster.json'), 'saved cluster', true),
          fact(join(stateDir, 'tokens.json'), 'list of tokens', false),
        ]
      : []),
    operator,
  ]
}
