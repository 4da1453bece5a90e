/** Agents whose packets go by XDP, and those whose packets go by nftables, in one cluster; how an agent comes to the one or the other. */
// test-beside-others
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { AtomsData, DropsData, StatusData } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import { attachXdp } from '../../src/os/bpf/link.ts'
import { link } from '../../src/os/netlink/route.ts'
import { loadProbe } from '../support/bpf.ts'
import { inNetns } from '../support/netns.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import {
  assertWhole,
  counters,
  flowsOf,
  grown,
  load,
  until,
  VIP,
  webFile,
  withLab,
} from '../support/traffic.ts'

const it = suite('xdp-agents')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)
const BIG = 10 * 1024 * 1024

const saidBy = async (lab: Lab, node: string): Promise<string> =>
  (await lab.api<StatusData>(node, '/v1/status')).dataplane
const names = (nodes: readonly { name: string }[]): string[] => nodes.map(({ name }) => name)

/** Small and large, both ways; most packets stay in the kernel, and nothing is dropped. */
const carries = async (lab: Lab, count = 3): Promise<(counter: string, nodes: string[]) => number> => {
  const { path, sha256 } = webFile(lab, '/10m')
  const before = await counters(lab)
  const result = await load(lab, lab.client(), {
    concurrency: 10,
    jobs: [
      { kind: 'small', count: 50 },
      { kind: 'get', count, path, sha256 },
      { kind: 'put', count, bytes: BIG },
    ],
  })
  assertWhole(lab, result)
  const after = await counters(lab)
  const grew = (counter: string, nodes: string[]): number => grown(before, after, counter, nodes)
  // An upload of 10 MB is some 7,240 full segments.
  const least = count * 6_500
  assert.ok(grew('kernel_route_hit', names(lab.forwarders)) > least)
  assert.ok(grew('kernel_decap_hit', names(lab.hosts)) > least)
  for (const { name } of lab.nodes)
    assert.equal((await lab.api<DropsData>(name, '/v1/drops')).drops, [], name)
  return grew
}

const program = async (lab: Lab, node: string): Promise<string> =>
  /xdp\S*/.exec((await lab.exec(node, ['ip', 'link', 'show', 'eth0'])).stdout)?.[0] ?? 'none'
const forwarding = async (lab: Lab, node: string): Promise<string> =>
  (await lab.exec(node, ['sysctl', '-n', 'net.ipv4.conf.lo.forwarding'])).stdout.trim()

for (const role of ['forwarder', 'host'] as const)
  test(`only the ${role} goes by XDP: bytes are right, and each counts for itself`, () =>
    withLab(
      {
        ...{ forwarders: 1, hosts: 1 },
        dataplane: ({ roles }) => (roles.includes(role) ? 'xdp' : 'nftables'),
      },
      async lab => {
        const grew = await carries(lab)
        const [forwarders, hosts] = [names(lab.forwarders), names(lab.hosts)]
        const [sent, restored] = [grew('xdp_sent_back', forwarders), grew('xdp_restored', hosts)]
        if (role === 'forwarder') assert.ok(sent > 10_000 && restored === 0, `${sent}, ${restored}`)
        else assert.ok(restored > 10_000 && sent === 0, `${sent}, ${restored}`)
        assert.is(await saidBy(lab, role === 'forwarder' ? 'h1' : 'f1'), 'nftables')
        assert.match(await saidBy(lab, role === 'forwarder' ? 'f1' : 'h1'), /^xdp (native|generic) on eth0$/)
      },
    ))

test('each interface has the program that it can have; a stopped agent leaves nothing behind (R-G6)', () =>
  withLab({ forwarders: 1, hosts: 1, dataplane: 'xdp' }, async lab => {
    // A veth loses what native XDP sends.
    assert.is(await saidBy(lab, 'f1'), 'xdp generic on eth0')
    assert.match(readFileSync(lab.files('f1').agentLog, 'utf8'), /takes no frames from native XDP/)
    assert.is(await saidBy(lab, 'h1'), 'xdp native on eth0')
    const { stdout } = await lab.shunt('f1', ['status'])
    assert.match(stdout, /data plane +xdp generic on eth0/)
    await carries(lab)
    assert.equal([await program(lab, 'f1'), await program(lab, 'h1')], ['xdpgeneric', 'xdp'])
    assert.is(await forwarding(lab, 'f1'), '1')

    for (const node of ['f1', 'h1']) {
      lab.kill(node, 'SIGTERM')
      await until('its end', async () => ((await lab.agentState(node)) === 'stopped' ? true : undefined))
      assert.is(await program(lab, node), 'none')
    }
    assert.is(await forwarding(lab, 'f1'), '0')
  }))

/** What has ended is forgotten after so long. */
const quick = (config: { timeouts?: object }): void => {
  config.timeouts = { linger: 1_000, routeLease: 2_000 }
}
/** Connections that carry some requests and are then kept; `up` when all have been answered. */
const KEEP = (count: number): string => `
  const { connect } = require('node:net')
  let answered = 0
  for (let i = 0; i < ${count}; i++) {
    const socket = connect(80, '${VIP}')
    const ask = () => socket.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
    ask()
    let left = 6
    socket.on('data', () => (--left > 0 ? ask() : ++answered === ${count} && console.log('up')))
    socket.on('error', error => (console.error(error), process.exit(1)))
  }`

test('connections that ended while an agent was dead are over for the next one, and their atoms are', () =>
  withLab({ forwarders: 2, hosts: 1, combine: 'fc', dataplane: 'xdp', configure: quick }, async lab => {
    const kept = lab.spawn(lab.client(), [process.execPath, '-e', KEEP(60)])
    const [line] = (await once(kept.stdout!, 'data')) as [Buffer]
    assert.is(String(line).trim(), 'up')
    const open = async (node: string): Promise<number> =>
      (await flowsOf(lab, node)).filter(({ state }) => state === 'established').length
    const own = async (node: string): Promise<number> =>
      (await lab.api<AtomsData>(node, '/v1/atoms')).places.own
    // What the kernel says of a flow may get lost, and is found by a sweep of 15 s.
    await until('atoms', async () => ((await own('f1')) + (await own('f2')) >= 60 ? true : undefined), 30_000)
    assert.ok((await open('f2')) > 5)

    assert.ok(lab.kill('f2', 'SIGKILL'))
    await until('its end', async () => ((await lab.agentState('f2')) === 'stopped' ? true : undefined))
    kept.kill('SIGKILL')
    await until('no connection', async () => {
      const { stdout } = await lab.exec('h1', ['ss', '-tnH', 'state', 'established', 'sport', '=', ':80'])
      return stdout.trim() === '' ? true : undefined
    })
    await lab.startAgent('f2')
    for (const node of ['f1', 'f2'])
      await until(
        `${node} has none`,
        async () => ((await open(node)) + (await own(node)) === 0 ? true : undefined),
        30_000,
      )
  }))

test('auto leaves a veth to nftables and says why; what is asked for by name and cannot be ends the start', () =>
  withLab({ combine: 'all', hosts: 1 }, async lab => {
    assert.match(
      await saidBy(lab, 'n1'),
      /^nftables: eth0 is a veth, whose packets may come without checksums/,
    )
    assert.is(await program(lab, 'n1'), 'none')
    lab.configure('n1', config => {
      config.dataplane = 'xdp'
    })
    using probe = loadProbe()
    const eth0 = (): number => link('eth0').index
    using _taken = inNetns(lab.netns('n1'), () => attachXdp(probe.program('probe'), eth0(), 'generic').link)
    await lab.restartAgent('n1').then(
      () => assert.unreachable('it started'),
      () => {},
    )
    assert.is(await lab.agentState('n1'), 'stopped')
    assert.match(readFileSync(lab.files('n1').agentLog, 'utf8'), /another XDP program is on it/)
  }))

it.run()
