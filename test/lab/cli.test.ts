/** `shunt status|hosts|vips|flows|drops` against agents that run: text, --json, --watch, exit codes (shunt(1)). */
// test-beside-others
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type {
  DropsData,
  Envelope,
  FlowsData,
  HostsData,
  StatusData,
  VipsData,
} from '../../src/control/types.ts'
import { SCHEMAS } from '../../src/control/types.ts'
import { Lab } from '../../src/lab/lab.ts'
import { isAlive } from '../../src/lab/processes.ts'
import { SHUNT } from '../support/cli.ts'
import { labName, leftovers } from '../support/lab.ts'
import { missingRoot, skip } from '../support/skip.ts'
import { assertWhole, load, until, VIP } from '../support/traffic.ts'

const it = suite('cli')
const NOUNS = ['status', 'hosts', 'vips', 'flows', 'drops'] as const
const HEADS: Record<(typeof NOUNS)[number], RegExp> = {
  status:
    /^node +f1\nstate +running\nroles +forwarder\n(?:.*\n)*PEER +ROLES +ADDRESS +STATE +HEARD +RTT\n(?:.*\n)*TABLE +USED/,
  hosts: /^HOST +ADDRESS +STATE +CAPACITY +FLOWS +CONNECTIONS +PKT\/S +BYTE\/S +CONN\/S +SERVICES\n/,
  vips: /^SERVICE +VIP +PORT +PROTOCOL +HOLDER +HOSTS +LIVE +READY +CLIENTS +FLOWS +CONNECTIONS +PKT\/S +BYTE\/S +CONN\/S\n/,
  flows: /^PROTOCOL +CLIENT +VIP +HOST +IDENTIFIER +STATE +PLUMBED +ORIGIN +SLOW +IDLE\n/,
  drops: /^NUMBER +WHERE +COUNT +REASON +HINT\n/,
}
const REQUESTS = 60

let lab: Lab
const ask = async <T>(node: string, ...argv: string[]): Promise<{ code: number; envelope: Envelope<T> }> => {
  const { code, stdout } = await lab.shunt(node, [...argv, '--json'])
  return { code, envelope: JSON.parse(stdout) as Envelope<T> }
}

it.before(async () => {
  lab = await Lab.up({ name: labName(), forwarders: 1, hosts: 2, capacities: [30, 60] })
  const jobs = [{ kind: 'small', count: REQUESTS } as const]
  assertWhole(lab, await load(lab, lab.client(), { concurrency: 5, jobs }))
  // Nobody serves this port; the packet is dropped and counted.
  const refused = await lab.exec(lab.client(), ['curl', '-sS', '--max-time', '0.3', `http://${VIP}:81/`])
  assert.is.not(refused.code, 0)
})

it.after(async () => {
  await lab.down(0)
  assert.equal(leftovers(lab.name), [])
})

for (const noun of NOUNS) {
  it(`${noun}: text on standard output, nothing else but where to look too, 0`, async () => {
    const { code, stdout, stderr } = await lab.shunt('f1', [noun])
    assert.match(stderr, noun === 'drops' ? /^f1 is no classifier: .*--node c1\n$/ : /^$/)
    assert.is(code, 0)
    assert.match(stdout, HEADS[noun])
    assert.not.match(stdout, /undefined|NaN|\[object/)
    assert.not.match(stdout, '\x1b', 'colour off a terminal')
    assert.not.match(stdout, / \n/, 'spaces at the end of a line')
  })

  it(`${noun} --json: an envelope of schema ${SCHEMAS[noun]}`, async () => {
    const { code, envelope } = await ask('f1', noun)
    assert.is(code, 0)
    assert.equal(Object.keys(envelope), ['schema', 'node', 'time', 'data'])
    assert.is(envelope.schema, SCHEMAS[noun])
    assert.is(envelope.node, 'f1')
    assert.ok(Math.abs(Date.now() - Date.parse(envelope.time)) < 10_000, envelope.time)
  })

  it(`${noun} --watch: again and again until SIGINT, then 130; --json has a line each`, async () => {
    const child = lab.spawn('f1', [...SHUNT, noun, '--watch', '--interval', '100', '--json'])
    const ended = once(child, 'exit') as Promise<[number | null]>
    let said = ''
    child.stderr!.on('data', chunk => {
      said += chunk
    })
    const times: string[] = []
    for await (const line of createInterface(child.stdout!)) {
      const envelope = JSON.parse(line) as Envelope
      assert.is(envelope.schema, SCHEMAS[noun])
      times.push(envelope.time)
      if (times.length === 2) child.kill('SIGINT')
    }
    assert.is((await ended)[0], 130)
    assert.ok(times[1]! > times[0]!)
    assert.match(said, 'the agent goes on')
    assert.ok(isAlive(lab.process('f1')!))
  })
}

it('the numbers are those of the traffic', async () => {
  const status = (await ask<StatusData>('f1', 'status')).envelope.data
  assert.is(status.pid, lab.process('f1')!.pid)
  assert.equal(status.roles, ['forwarder'])
  assert.equal(
    status.peers.map(p => [p.name, p.state]),
    [
      ['c1', 'alive'],
      ['h1', 'alive'],
      ['h2', 'alive'],
    ],
  )
  assert.ok(status.peers.every(p => p.lastHeardMs !== null && p.lastHeardMs < 5_000))
  assert.ok(status.counters.forwarder_new_flows! >= REQUESTS)
  for (const limit of status.limits) assert.ok(limit.used <= limit.capacity, limit.name)
  assert.is((await ask<StatusData>('c1', 'status')).envelope.data.epoch, null)

  const { hosts } = (await ask<HostsData>('f1', 'hosts')).envelope.data
  assert.equal(
    hosts.map(h => [h.name, h.capacity, h.state, h.services]),
    [
      ['h1', 30, 'alive', ['web']],
      ['h2', 60, 'alive', ['web']],
    ],
  )
  const { vips } = (await ask<VipsData>('f1', 'vips')).envelope.data
  const [web] = vips
  assert.equal(
    [vips.length, web!.vip, web!.port, web!.protocol, web!.hosts, web!.live],
    [1, VIP, 80, 'tcp', 2, 2],
  )
  const connections = hosts.reduce((sum, h) => sum + h.connections!, 0)
  assert.is(connections, web!.connections)
  assert.ok(connections >= REQUESTS && connections < REQUESTS + 10, `${connections} connections`)

  const { drops } = (await ask<DropsData>('f1', 'drops')).envelope.data
  const [refused] = drops
  assert.equal([drops.length, refused!.number, refused!.where], [1, 9, 'kernel'])
  assert.ok(refused!.count >= 1 && refused!.reason !== '' && refused!.hint !== '')
})

it('flows can be limited and filtered', async () => {
  const flows = async (...argv: string[]): Promise<FlowsData> =>
    (await ask<FlowsData>('f1', 'flows', ...argv)).envelope.data
  const all = await flows('--limit', '1000')
  assert.is(all.flows.length, all.shown)
  assert.ok(all.shown >= REQUESTS)
  const address = lab.place(lab.client()).address!
  for (const flow of all.flows) {
    assert.ok(flow.client.startsWith(`${address}:`))
    assert.is(flow.vip, `${VIP}:80`)
    assert.match(flow.host, /^h[12]$/)
    assert.match(flow.identifier, /^[0-9a-f]{8}$/)
  }
  const [one] = all.flows
  assert.equal(
    (await flows('--client', one!.client)).flows.map(f => f.identifier),
    [one!.identifier],
  )
  const h1 = await flows('--host', 'h1', '--limit', '1000')
  assert.is(h1.shown, all.flows.filter(f => f.host === 'h1').length)
  assert.ok(h1.flows.every(f => f.host === 'h1') && h1.shown > 0)
  assert.is((await flows('--service', 'web', '--limit', '1000')).shown, all.shown)
  assert.is((await flows('--client', '10.20.0.99')).shown, 0)
  const limited = await lab.shunt('f1', ['flows', '--limit', '3'])
  assert.is(limited.stdout.trimEnd().split('\n').length, 4)
  assert.match(limited.stderr, /^3 of \d+ flows; --limit shows more\n$/)
})

it('a wrong command line is refused with 2, and says how it is right', async () => {
  for (const [argv, message] of [
    [['stauts'], /did you mean "status"/],
    [['status', '--nonsense'], /--nonsense/],
    [['flows', '--limit', '0'], /limit/],
    [['flows', '--service', 'nope'], /there is no service nope; there are: web/],
    [['flows', '--host', 'h9'], /there is no host h9; there are: h1, h2/],
    [['hosts', 'extra'], /extra/],
  ] as const) {
    const { code, stdout, stderr } = await lab.shunt('f1', [...argv])
    assert.is(code, 2, `${argv.join(' ')}: ${stderr}`)
    assert.is(stdout, '')
    assert.match(stderr, message)
    assert.match(stderr, 'code: SHUNT_ERR_USAGE')
  }
})

it('no agent: 4, with and without a socket; --json has the error too', async () => {
  for (const noun of NOUNS) {
    const { code, stdout, stderr } = await lab.shunt('f1', [
      noun,
      '--socket',
      '/nonexistent/control.sock',
      '--json',
    ])
    assert.is(code, 4)
    assert.is(JSON.parse(stdout).schema, 'shunt.error/1')
    assert.is(JSON.parse(stdout).error.code, 'SHUNT_ERR_CONTROL_UNREACHABLE')
    assert.match(stderr, 'is the agent running?')
  }
  const agent = lab.process('c1')!
  lab.kill('c1', 'SIGKILL') // its socket stays
  await until('the end of c1', () => (isAlive(agent) ? undefined : true))
  assert.is((await lab.shunt('c1', ['status'])).code, 4)
  await lab.startAgent('c1')
  assert.is((await lab.shunt('c1', ['status'])).code, 0)
})

it('answered, but not all is well: 3, and what it is', async () => {
  lab.kill('h2', 'SIGKILL')
  const stateOf = async (name: string) =>
    (await lab.api<HostsData>('f1', '/v1/hosts')).hosts.find(h => h.name === name)!.state
  await until('h2 dead', async () => ((await stateOf('h2')) === 'dead' ? true : undefined))
  const status = await lab.shunt('f1', ['status'])
  assert.is(status.code, 3)
  assert.match(status.stderr, /^warning: peer h2 \(10\.10\.0\.72\) is dead\n$/)
  assert.match(status.stdout, HEADS.status)
  const hosts = await ask<HostsData>('f1', 'hosts')
  assert.is(hosts.code, 3)
  assert.is(hosts.envelope.data.hosts[1]!.state, 'dead')
  assert.is((await lab.shunt('f1', ['vips'])).code, 0) // one host still serves it
  lab.kill('h1', 'SIGKILL')
  await until('h1 dead', async () => ((await stateOf('h1')) === 'dead' ? true : undefined))
  const vips = await lab.shunt('f1', ['vips'])
  assert.is(vips.code, 3)
  assert.match(vips.stderr, 'no host of service web is alive')
})

if (missingRoot() === undefined) it.run()
else skip('cli', missingRoot()!)
