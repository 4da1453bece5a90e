/**
 * Agents are killed, restarted and replaced while thousands of connections go through them (R-G4): none is lost, and what the kernel knows
 * goes on without any agent.
 */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { EventsData, NodesData } from '../../src/control/cluster-types.ts'
import type { StatusData } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import type { HeldReport } from '../support/held-many.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { assertWhole, program, startLoad, until, VIP, webFile } from '../support/traffic.ts'

const it = suite('xdp-restart')
const noRoot = missingRoot()
const test = (name: string, body: () => Promise<void>): void => testIf(noRoot, it, name, body)
const PORT = 5300
const HELD = 5000

let lab: Lab
let load: ReturnType<typeof startLoad>
/** Sends a message on every held connection. */
let round: () => Promise<HeldReport>

const lines = (child: ChildProcess): (() => Promise<string>) => {
  let complaint = ''
  child.stderr!.on('data', text => {
    complaint += text
  })
  const iterator = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return async () => {
    const { value, done } = await iterator.next()
    if (done) throw new Error(`it ended: ${complaint}`)
    return value
  }
}

const status = (node: string): Promise<StatusData> => lab.api<StatusData>(node, '/v1/status')
const counter = async (node: string, name: string): Promise<number> =>
  (await status(node)).counters[name] ?? 0

const allGood = async (what: string): Promise<void> => {
  assert.equal(await round(), { good: HELD, errors: [] } satisfies HeldReport, what)
}

it.before(async () => {
  if (noRoot !== undefined) return
  lab = await Lab.up({
    ...{ name: labName(), forwarders: 1, hosts: 2, combine: 'fc', dataplane: 'xdp' },
    // Not one of the lab's own, for which its web servers would listen.
    configure: ({ services }) => services!.push({ ...services![0], name: 'held', port: PORT }),
  })
  for (const { name } of lab.hosts)
    assert.is(await lines(lab.spawn(name, [...program('held-server.ts'), String(PORT)]))(), 'ready')
  const client = lab.spawn(lab.client(), [...program('held-many.ts'), VIP, String(PORT), String(HELD)])
  const answer = lines(client)
  assert.is(await answer(), 'up')
  round = async () => {
    client.stdin!.write('\n')
    return JSON.parse(await answer()) as HeldReport
  }
  // Enough packets that the kernel has all of them.
  for (let n = 0; n < 5; n++) await allGood(`round ${n}`)
  const { path, sha256 } = webFile(lab, '/10m')
  load = startLoad(lab, lab.client(), {
    ...{ concurrency: 3, gapMs: 100 },
    jobs: [
      { kind: 'get', count: 2, path, sha256 },
      { kind: 'put', count: 1, bytes: 4 * 1024 * 1024 },
    ],
  })
})
it.after(async () => {
  if (noRoot !== undefined) return
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

/** It ends in that way; the kernel goes on; another agent goes on with it. */
const replaced = async (node: string, signal: 'SIGKILL' | 'SIGUSR2'): Promise<StatusData> => {
  const before = await status(node)
  const carried = node.startsWith('f') ? 'xdp_sent_back' : 'xdp_restored'
  assert.ok(lab.kill(node, signal))
  await until('its end', async () => ((await lab.agentState(node)) === 'stopped' ? true : undefined))
  await allGood(`${node}: nobody is there`)
  await lab.startAgent(node)
  const after = await status(node)
  assert.ok(after.counters[carried] >= before.counters[carried] + HELD / 10, 'counters go on')
  assert.match(
    after.adopted ?? '',
    /^went on with [\d,]+ (flows|mappings) \([\d,]+ in the kernel all the time\)/,
  )
  const { events } = await lab.api<EventsData>(node, '/v1/events')
  assert.ok(events.some(({ kind, text }) => kind === 'agent.adopted' && text === after.adopted))
  await allGood(`${node}: the next one`)
  return after
}

test('a forwarder: killed, and another goes on with each flow in the same epoch', async () => {
  const { epoch } = await status('f1')
  const after = await replaced('f1', 'SIGKILL')
  assert.is(after.epoch, epoch)
  const [, flows, inKernel] = /with ([\d,]+) flows \(([\d,]+)/.exec(after.adopted!)!
  const number = (text: string): number => Number(text.replaceAll(',', ''))
  assert.ok(number(flows) >= HELD, flows)
  assert.ok(number(inKernel) >= HELD * 0.95, inKernel)
  assert.match((await lab.shunt('f1', ['status'])).stdout, /taken over +went on with/)
})

test('a machine whose agent is dead is alive to the others', async () => {
  assert.ok(lab.kill('f1', 'SIGKILL'))
  await until('word of it', async () => {
    const { nodes } = await lab.api<NodesData>('h1', '/v1/nodes')
    const row = nodes.find(({ name }) => name === 'f1')!
    assert.is(row.node, 'alive')
    return row.agent === 'alive' ? undefined : true
  })
  await allGood('for as long as nobody comes')
  await lab.startAgent('f1')
})

test('a host: killed, and another goes on with each mapping', async () => {
  const asked = await counter('f1', 'forwarder_asks_answered')
  await replaced('h1', 'SIGKILL')
  assert.ok((await counter('f1', 'forwarder_asks_answered')) - asked < HELD / 20, 'it did not have to ask')
})

test('each of them ends for an upgrade (SIGUSR2): the same', async () => {
  await replaced('f1', 'SIGUSR2')
  await replaced('h2', 'SIGUSR2')
})

test('by nftables and back: the flows go on, and XDP leaves nothing there meanwhile', async () => {
  const program = async (): Promise<string> =>
    /xdp\S*/.exec((await lab.exec('f1', ['ip', 'link', 'show', 'eth0'])).stdout)?.[0] ?? 'none'
  for (const [dataplane, attached] of [
    ['nftables', 'none'],
    ['xdp', 'xdpgeneric'],
  ] as const) {
    lab.kill('f1', 'SIGUSR2')
    await until('its end', async () => ((await lab.agentState('f1')) === 'stopped' ? true : undefined))
    lab.configure('f1', config => {
      config.dataplane = dataplane
    })
    await lab.startAgent('f1')
    assert.is(await program(), attached)
    await allGood(dataplane)
  }
})

test('every byte of the downloads and uploads meanwhile was right', async () => {
  const result = await load.stop()
  assertWhole(lab, result)
  assert.ok(result.done > 4, `${result.done}`)
})

test('shunt agent --flush: not while it runs; then nothing is left, and it says what was', async () => {
  const flush = (): ReturnType<Lab['shunt']> =>
    lab.shunt('h1', ['agent', '--flush', '--config', lab.files('h1').config])
  const refused = await flush()
  assert.is(refused.code, 5, refused.stderr)
  assert.match(refused.stderr, /the agent of h1 runs: stop it first/)
  await allGood('it was refused')

  assert.ok(lab.kill('h1', 'SIGKILL'))
  await until('its end', async () => ((await lab.agentState('h1')) === 'stopped' ? true : undefined))
  const { stdout, stderr, code } = await flush()
  assert.is(code, 0, stderr)
  for (const what of [
    /1 XDP program taken off/,
    /\d+ pinned maps/,
    /flows and mappings that were kept/,
    /nftables table netdev shunt_h1/,
    /nftables table inet shunt_h1/,
    /address 10\.99\.0\.1\/32 of lo/,
    /setting net\/ipv4\/conf\/all\/arp_ignore is back/,
  ])
    assert.match(stdout, what)
  const shown = await lab.exec('h1', [
    'sh',
    '-c',
    'ip address; nft list tables; sysctl net.ipv4.conf.all.arp_ignore',
  ])
  assert.not.match(shown.stdout, /xdp|10\.99\.0\.1|shunt|arp_ignore = 1/)
  assert.match((await flush()).stderr, /nothing was left of an agent/)
})

it.run()
