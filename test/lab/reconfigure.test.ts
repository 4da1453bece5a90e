/** Another configuration under real traffic: kernel setup and data plane worker of three nodes, without their agents. */
// test-beside-others
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP } from '../../src/agent/dataplane/drops.ts'
import { ipv4Of } from '../../src/agent/plan.ts'
import type { NodeConfigInput } from '../../src/config/schema.ts'
import { ipBatch } from '../../src/os/netns.ts'
import { writeSysctl } from '../../src/os/sysctl.ts'
import type { Answer, Order } from '../support/dataplane-process.ts'
import type { EchoReport } from '../support/echo-client.ts'
import { makeNetns, removeNetns, type TestNetns } from '../support/netns.ts'
import { missingRoot, testIf } from '../support/skip.ts'

const it = suite('reconfiguration under real traffic')
const lab = (name: string, run: () => Promise<void> | void): void => testIf(missingRoot(), it, name, run)

const WEB = '10.99.0.1'
const OTHER = '10.99.0.2'
const NODES = { f1: '10.9.0.1', h1: '10.9.0.2', h2: '10.9.0.3' } as const
type NodeName = keyof typeof NODES
const TUNNEL: Record<NodeName, string> = { f1: '10.9.0.201', h1: '10.9.0.202', h2: '10.9.0.203' }
const CLIENT = '10.9.0.9'
const ID = `12D3KooW${'1'.repeat(44)}`
const CONNECTIONS = 24

interface Cluster {
  roles: Partial<Record<NodeName, readonly string[]>>
  services: { name: string; vip: string; port: number; hosts: NodeName[] }[]
}

/** A process that answers each line of JSON with one. */
class Helper<Question, Reply> {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly #ended: Promise<unknown>

  constructor(netns: TestNetns, script: string, ...args: string[]) {
    const file = new URL(`../support/${script}`, import.meta.url).pathname
    this.#child = netns.run(() => spawn(process.execPath, ['--no-warnings', file, ...args]))
    this.#child.stderr.pipe(process.stderr)
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
    this.#ended = once(this.#child, 'exit')
  }

  async ask(question: Question): Promise<Reply> {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the process ended instead of answering')
    return JSON.parse(value) as Reply
  }

  async end(): Promise<void> {
    this.#child.stdin.end()
    await this.#ended
  }
}

const dir = mkdtempSync(join(tmpdir(), 'shunt-reconfigure-'))
const places = new Map<string, TestNetns>()
const nodes = new Map<NodeName, Helper<Order, Answer>>()
const servers: ChildProcessWithoutNullStreams[] = []
const clients: Helper<object, EchoReport>[] = []

it.before(async () => {
  if (missingRoot() !== undefined) return
  const bridge = await makeNetns()
  places.set('switch', bridge)
  await ipBatch(bridge.name, ['link add br0 type bridge', 'link set br0 up'])
  for (const [name, address] of Object.entries({ ...NODES, client: CLIENT })) {
    const place = await makeNetns()
    places.set(name, place)
    await ipBatch(null, [`link add v0 netns ${place.name} type veth peer name ${name} netns ${bridge.name}`])
    await ipBatch(bridge.name, [`link set ${name} master br0 up`])
    place.run(() => {
      writeSysctl('net.ipv6.conf.all.disable_ipv6', 1)
      writeSysctl('net.ipv4.conf.all.rp_filter', 0)
    })
    await ipBatch(place.name, ['link set lo up', `address add ${address}/24 dev v0`, 'link set v0 up'])
  }
  await ipBatch(places.get('client')!.name, [
    `route add ${WEB} via ${NODES.f1}`,
    `route add ${OTHER} via ${NODES.h1}`,
  ])
  for (const name of Object.keys(NODES) as NodeName[]) {
    const file = new URL('../support/raw-server.ts', import.meta.url).pathname
    for (const port of ['80', '81'])
      servers.push(
        places.get(name)!.run(() => spawn(process.execPath, ['--no-warnings', file, '0.0.0.0', port, name])),
      )
    nodes.set(name, new Helper(places.get(name)!, 'dataplane-process.ts'))
  }
})
it.after(async () => {
  for (const client of clients) await client.end()
  for (const node of nodes.values()) await node.end()
  for (const server of servers) {
    server.kill()
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
  }
  await removeNetns()
  rmSync(dir, { recursive: true, force: true })
})

const configOf = (own: NodeName, { roles, services }: Cluster): NodeConfigInput => ({
  version: 1,
  node: { name: 'n1', identityFile: '/none', stateDir: join(dir, own) },
  // A node without a role yet is in the cluster all the same.
  roles: (roles[own] ?? ['classifier']) as NodeConfigInput['roles'],
  interfaces: { uplink: ['v0'], cluster: ['v0'] },
  addresses: { cluster: NODES[own], tunnel: TUNNEL[own] },
  cluster: { secrets: [{ number: 1, file: '/none' }] },
  peers: (Object.keys(NODES) as NodeName[])
    .filter(name => name !== own && roles[name] !== undefined)
    .map(name => ({
      name,
      id: ID,
      roles: roles[name] as NodeConfigInput['roles'],
      address: NODES[name],
      ...(roles[name]!.includes('forwarder') ? { tunnel: TUNNEL[name] } : {}),
    })),
  services: services.map(({ hosts, ...service }) => ({
    ...service,
    protocol: 'tcp' as const,
    hosts: hosts.map(name => ({ name: name === own ? 'n1' : name })),
  })),
  timeouts: { routeLease: 2000, tcpIdle: 20_000, linger: 1000, quarantine: 4000 },
})

/** All nodes take it into force; their answers, by name. */
const follow = async (
  cluster: Cluster,
  order: Omit<Order, 'config'> = {},
): Promise<Record<NodeName, Answer>> => {
  const answers = await Promise.all(
    [...nodes].map(async ([name, node]) => {
      const answer = await node.ask({ config: configOf(name, cluster), ...order })
      assert.is(answer.error, undefined, `${name}: ${answer.error}`)
      return [name, answer] as const
    }),
  )
  return Object.fromEntries(answers) as Record<NodeName, Answer>
}
const openClient = (vip: string, count: number): Helper<object, EchoReport> => {
  const client = new Helper<object, EchoReport>(
    places.get('client')!,
    'echo-client.ts',
    vip,
    '80',
    String(count),
  )
  clients.push(client)
  return client
}
/** Asks until it holds; what a report says of wrong bytes or broken connections is a failure at once. */
const until = async (
  what: string,
  client: Helper<object, EchoReport>,
  holds: (report: EchoReport) => boolean,
): Promise<EchoReport> => {
  const deadlineMs = performance.now() + 10_000
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, 50))
    const report = await client.ask({})
    assert.equal(report.wrong, [])
    assert.equal(report.errors, [])
    if (holds(report)) return report
    assert.ok(performance.now() < deadlineMs, `${what}: ${JSON.stringify(report)}`)
  }
}
/** The name that a server greets a new connection with. */
const greeting = (vip: string, port: number, patienceS = 5): Promise<string> => {
  const script = `exec 3<>/dev/tcp/${vip}/${port} && echo echo >&3 && head -n 1 <&3`
  const child = places.get('client')!.run(() => spawn('timeout', [String(patienceS), 'bash', '-c', script]))
  return text(child.stdout).then(name => name.trim() || 'nothing')
}
const inside = (name: NodeName, command: string, ...args: string[]): string =>
  places.get(name)!.run(() => execFileSync(command, args, { encoding: 'utf8' }))
const addresses = (name: NodeName): string => inside(name, 'ip', '-4', '-o', 'address')

const START: Cluster = {
  roles: { f1: ['forwarder', 'classifier'], h1: ['host'] },
  services: [{ name: 'web', vip: WEB, port: 80, hosts: ['h1'] }],
}
let main: Helper<object, EchoReport>

lab('services, hosts and secrets come and go; connections of what stays do not notice', async () => {
  await follow(START)
  main = openClient(WEB, CONNECTIONS)
  await until('all connected', main, report => report.names.every(name => name === 'h1'))
  await until('in the kernel', main, report => report.fewest > 0)
  const before = await follow(START)
  await until('traffic', main, report => report.fewest > 0)
  let answers = before
  const api = { name: 'api', vip: WEB, port: 81, hosts: ['h2', 'h1'] as NodeName[] }
  const dns = { name: 'other', vip: OTHER, port: 80, hosts: ['h2'] as NodeName[] }
  let worstGapMs = 0
  for (let round = 0; round < 24; round++) {
    const withHost = round % 2 === 0
    answers = await follow(
      {
        roles: { ...START.roles, ...(withHost ? { h2: ['host'] } : {}) },
        services: [...(round % 3 === 0 ? [dns] : []), ...START.services, ...(withHost ? [api] : [])],
      },
      { secrets: [1 + (round >> 2), 2 + (round >> 2)].reverse() },
    )
    if (withHost) assert.match(await greeting(WEB, 81), /^h[12]$/)
    else assert.not.match(await greeting(WEB, 81, 0.4), /^h/)
    const report = await until('goes on', main, ({ fewest }) => fewest > 3)
    worstGapMs = Math.max(worstGapMs, report.longestGapMs)
  }
  assert.ok(worstGapMs < 1000, `no connection waited ${worstGapMs} ms`)
  for (const name of ['f1', 'h1'] as const)
    assert.is(
      answers[name].kernel.half_restored,
      before[name].kernel.half_restored,
      `${name}: half a rewrite`,
    )
  assert.ok(answers.f1.kernel.route_hit > before.f1.kernel.route_hit + 1000, 'by kernel routes')
  assert.is(answers.f1.worker.forwarder_adopted_flows, 0, 'no flow was forgotten')
  assert.is(answers.h1.worker.host_asks_sent, 0, 'no mapping was forgotten')
})

lab('the forwarder gains and loses the host role: VIP, sysctls, device and rules follow', async () => {
  const sysctl = (): string => inside('f1', 'cat', '/proc/sys/net/ipv4/conf/all/arp_ignore').trim()
  const clean = addresses('f1')
  await follow({
    roles: { ...START.roles, f1: ['forwarder', 'classifier', 'host'] },
    services: [...START.services, { name: 'api', vip: WEB, port: 81, hosts: ['f1'] }],
  })
  assert.match(addresses('f1'), `${WEB}/32`)
  assert.is(sysctl(), '1')
  assert.is(await greeting(WEB, 81), 'f1', 'its own stack answers')
  assert.match(addresses('f1'), 'shunt0')
  await until('goes on', main, ({ fewest }) => fewest > 3)
  const answers = await follow(START)
  assert.is(addresses('f1'), clean, 'VIP and device are gone')
  assert.is(sysctl(), '0')
  assert.not.match(await greeting(WEB, 81, 0.4), /^f1/)
  const report = await until('goes on', main, ({ fewest }) => fewest > 3)
  assert.ok(report.longestGapMs < 1000, `${report.longestGapMs} ms`)
  assert.is(answers.f1.worker.forwarder_adopted_flows, 0)
})

lab('a host gains and loses the forwarder role, twice: each time with a later epoch', async () => {
  const withForwarder: Cluster = {
    roles: { ...START.roles, h1: ['host', 'forwarder', 'classifier'], h2: ['host'] },
    services: [...START.services, { name: 'other', vip: OTHER, port: 80, hosts: ['h2'] }],
  }
  for (let round = 0; round < 2; round++) {
    const gained = await follow(withForwarder)
    assert.is(gained.h1.epochs.length, round, 'the same epoch given again is not used again')
    assert.match(addresses('h1'), `${TUNNEL.h1}/32`)
    assert.is(await greeting(OTHER, 80), 'h2')
    await follow(START)
    assert.not.match(addresses('h1'), TUNNEL.h1)
    assert.not.match(await greeting(OTHER, 80, 0.4), /^h/)
    await until('goes on', main, ({ fewest }) => fewest > 3)
  }
})

lab('out of the pool: running connections stay while the VIP is kept, new ones go elsewhere', async () => {
  const moved: Cluster = {
    roles: { ...START.roles, h2: ['host'] },
    services: [{ name: 'web', vip: WEB, port: 80, hosts: ['h2'] }],
  }
  const { h1 } = await follow(moved, { keepVips: [WEB] })
  assert.is(h1.hostVips[WEB], CONNECTIONS)
  await until('goes on', main, ({ fewest }) => fewest > 3)
  assert.is(await greeting(WEB, 80), 'h2')
  const roles = { f1: START.roles.f1, h2: ['host'] }
  const left = await follow({ ...moved, roles }, { keepVips: [WEB], leaving: ['h1'] })
  assert.is(left.f1.hostFlows[1], CONNECTIONS, 'flows of a leaving host are kept, under its index')
})

lab('a device that is taken is refused, and traffic goes on by the plan before', async () => {
  await follow(START)
  await until('goes on', main, ({ fewest }) => fewest > 3)
  await ipBatch(places.get('f1')!.name, ['link add shunt0 type bridge'])
  const roles = { ...START.roles, f1: ['forwarder', 'classifier', 'host'] }
  const { error } = await nodes.get('f1')!.ask({ config: configOf('f1', { ...START, roles }) })
  assert.match(error ?? '', 'remove it (ip link delete shunt0)')
  await until('goes on', main, ({ fewest }) => fewest > 3)
  await ipBatch(places.get('f1')!.name, ['link delete shunt0'])
  await follow({ ...START, roles })
  assert.match(addresses('f1'), 'shunt0')
  await follow(START)
})

lab('rules that somebody flushed are made anew by the next change', async () => {
  inside('f1', 'nft', 'flush', 'ruleset')
  await follow({
    ...START,
    services: [...START.services, { name: 'api', vip: WEB, port: 81, hosts: ['h1'] }],
  })
  assert.is(await greeting(WEB, 81), 'h1')
  const { f1 } = await follow(START)
  assert.ok(f1.kernel.slow_vip > 0)
  await until('goes on', main, ({ fewest }) => fewest > 3)
})

lab('the worker probes machines, and says when one is gone', async () => {
  const f1 = nodes.get('f1')!
  const becomes = async (state: string): Promise<void> => {
    const deadlineMs = performance.now() + 5000
    for (;;) {
      const { machines } = await f1.ask({})
      if (machines.h1 === state) return
      assert.ok(performance.now() < deadlineMs, `h1 is ${machines.h1}, not ${state}`)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  await f1.ask({ probe: [{ name: 'h1', ipv4: ipv4Of(NODES.h1) }] })
  await becomes('alive')
  await ipBatch(places.get('switch')!.name, ['link set h1 down'])
  await becomes('dead')
  await ipBatch(places.get('switch')!.name, ['link set h1 up'])
  await becomes('alive')
})

lab('not one packet goes to an inactive host; its connections go on when it is active again', async () => {
  await follow({
    roles: { ...START.roles, h2: ['host'] },
    services: [{ ...START.services[0]!, hosts: ['h1', 'h2'] }],
  })
  const f1 = nodes.get('f1')!
  await until('goes on', main, ({ fewest }) => fewest > 3)
  await f1.ask({ allot: { web: { h1: 'draining', h2: 'active' } } })
  for (let i = 0; i < 4; i++) assert.is(await greeting(WEB, 80), 'h2')
  await until('goes on while its host drains', main, ({ fewest }) => fewest > 3)
  const { drops: before } = await f1.ask({ allot: { web: { h1: 'inactive', h2: 'active' } } })
  const arrived = async (): Promise<number> => {
    const { kernel, worker } = await nodes.get('h1')!.ask({})
    return kernel.decap_hit! + worker.ring_packets!
  }
  // What was on its way when the answer came has arrived when a whole connection after it has come to its end.
  assert.is(await greeting(WEB, 80), 'h2')
  await main.ask({})
  const packets = await arrived()
  const deadlineMs = performance.now() + 10_000
  for (let dropped = 0; dropped < CONNECTIONS; ) {
    dropped = (await f1.ask({})).drops[DROP.INACTIVE]! - before[DROP.INACTIVE]!
    assert.ok(performance.now() < deadlineMs, `only ${dropped} packets were dropped`)
  }
  assert.is(await arrived(), packets)
  await f1.ask({ allot: { web: { h1: 'active', h2: 'active' } }, tokens: 4 })
  await until('goes on', main, ({ fewest }) => fewest > 3)
  const names = await Promise.all(Array.from({ length: 8 }, () => greeting(WEB, 80)))
  assert.equal(names.sort(), [...Array(4).fill('h1'), ...Array(4).fill('h2')], 'a token a connection')
  assert.ok((await f1.ask({})).wanted.length > 0, 'and asked for more')
  await f1.ask({ allot: { web: {} } })
  assert.is(await greeting(WEB, 80, 0.4), 'nothing', 'no rows, no hosts')
  await f1.ask({ allot: { web: { h1: 'active' } } })
  await until('goes on', main, ({ fewest }) => fewest > 3)
})

lab('at the end the kernel is as before', async () => {
  for (const client of clients.splice(0)) await client.end()
  for (const name of Object.keys(NODES) as NodeName[]) {
    await nodes.get(name)!.end()
    nodes.delete(name)
    assert.is(inside(name, 'nft', 'list', 'ruleset').trim(), '')
    assert.not.match(addresses(name), /10\.99|\.20[1-3]|shunt0/)
    assert.equal(readdirSync(join(dir, name)), [])
  }
})

it.run()
