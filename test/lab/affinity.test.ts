/**
 * Clients keep their hosts (R-C2, R-C7): many clients, two forwarders that the router spreads their connections over, hosts that fail, come
 * back and drain, and a forwarder whose agent starts anew, also while connections are opened by way of it.
 */
// test-beside-others
// test-timeout-ms: 240000
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { StatusData, TraceData, VipsData } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import { agreed, applyAt, documentText } from '../support/cluster-orders.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { until, VIP, withLab } from '../support/traffic.ts'

const it = suite('affinity')
const CLIENTS = 8
/** Far above what any step takes; one that is done ends its wait at once. */
const PATIENCE_MS = 30_000
const UNITS = ['f1', 'f2']

/** With percentages hosts take turns where there are no sessions; with hash a client without one has the same host everywhere. */
const documentOf = (scheme: 'percentages' | 'hash'): string =>
  documentText({ web: { h1: 50, h2: 50, h3: 50 } }, [
    {
      ...{ name: 'web', port: 80, pool: 'web', slowStart: 0 },
      choice: { scheme },
      affinity: { by: 'client-address' },
      health: { type: 'http', interval: 300 },
    },
  ])

/** Addresses of one machine. */
const addresses = async (lab: Lab): Promise<string[]> => {
  const { stdout } = await lab.exec('client1', ['ip', '-4', '-o', 'addr', 'show', 'dev', 'eth0'])
  const [, network, prefix] = /inet (\d+\.\d+\.\d+)\.\d+(\/\d+)/.exec(stdout)!
  const made = Array.from({ length: CLIENTS }, (_, i) => `${network}.${150 + i}`)
  for (const address of made) {
    const { code, stderr } = await lab.exec('client1', [
      'ip',
      'addr',
      'add',
      `${address}${prefix}`,
      'dev',
      'eth0',
    ])
    assert.is(code, 0, stderr)
  }
  return made
}

/** Hosts that answer connections of a client, in order. */
const hostsOf = async (lab: Lab, client: string, connections: number): Promise<string[]> => {
  const script = `for i in $(seq ${connections}); do curl -s -m 10 -H 'Connection: close' --interface ${client} http://${VIP}/; done`
  const { stdout } = await lab.exec('client1', ['sh', '-c', script], { timeoutMs: 60_000 })
  return stdout.trim().split('\n')
}
const oneEach = async (lab: Lab, clients: readonly string[]): Promise<Map<string, string>> => {
  const hosts = new Map<string, string>()
  for (const client of clients) hosts.set(client, (await hostsOf(lab, client, 1))[0]!)
  return hosts
}

const vipOf = async (lab: Lab, node: string): Promise<VipsData['vips'][number]> =>
  (await lab.api<VipsData>(node, '/v1/vips')).vips[0]!
const ready = (lab: Lab, count: number, units = UNITS): Promise<unknown> =>
  until(
    `${count} hosts are ready`,
    async () => {
      const vips = await Promise.all(units.map(unit => vipOf(lab, unit)))
      return vips.every(vip => vip.ready === count) ? true : undefined
    },
    PATIENCE_MS,
  )
const ordered = async (lab: Lab, command: 'drain' | 'undrain', host: string): Promise<void> => {
  const { code, stderr } = await lab.shunt('f1', [command, host, '--yes'], { timeoutMs: 60_000 })
  assert.is(code, 0, stderr)
}
const chosen = async (lab: Lab, node: string, client: string): Promise<TraceData['choice']> =>
  (await lab.api<TraceData>(node, `/v1/trace?protocol=tcp&client=${client}:1&vip=${VIP}:80`)).choice

/** Until each forwarder would send a client's next connection where it is said to be. */
const known = (lab: Lab, hosts: ReadonlyMap<string, string>): Promise<unknown> =>
  until(
    'all forwarders know the sessions',
    async () => {
      for (const [client, host] of hosts)
        for (const unit of UNITS) {
          const choice = await chosen(lab, unit, client)
          if (choice?.by !== 'affinity' || choice.host !== host) return
        }
      return true
    },
    PATIENCE_MS,
  )

const keeps = async (lab: Lab, hosts: ReadonlyMap<string, string>, connections: number): Promise<void> => {
  for (const [client, host] of hosts)
    assert.equal([...new Set(await hostsOf(lab, client, connections))], [host], client)
}

testIf(missingRoot(), it, 'by whatever forwarder they come, until their host fails or drains', () =>
  withLab({ mode: 'managed', combine: 'fc', forwarders: 2, hosts: 3 }, async lab => {
    await agreed(lab, await applyAt(lab, 'f1', documentOf('percentages')))
    await ready(lab, 3)
    const clients = await addresses(lab)
    const hosts = await oneEach(lab, clients)
    assert.is(new Set(hosts.values()).size, 3, 'clients are spread')
    await known(lab, hosts)
    await keeps(lab, hosts, 6)
    for (const unit of UNITS) {
      const { counters } = await lab.api<StatusData>(unit, '/v1/status')
      assert.ok(counters.forwarder_new_flows! > 0 && counters.affinity_kept! > 0, `${unit} took connections`)
      assert.is((await vipOf(lab, unit)).affinity?.sessions, CLIENTS)
    }
    const { stdout } = await lab.shunt('f1', ['trace', `${clients[0]}:999`, `${VIP}:80`])
    assert.match(stdout, /affinity/)

    // A host fails: its clients move, once, and nobody else.
    const failed = hosts.get(clients[0]!)!
    lab.killWeb(failed)
    await ready(lab, 2)
    const left = new Map([...hosts].filter(([, host]) => host !== failed))
    const moved = await oneEach(
      lab,
      clients.filter(client => hosts.get(client) === failed),
    )
    assert.not([...moved.values()].includes(failed))
    await known(lab, new Map([...left, ...moved]))
    await keeps(lab, new Map([...left, ...moved]), 3)
    // It is back, and they stay.
    await lab.startWeb(failed)
    await ready(lab, 3)
    await keeps(lab, new Map([...left, ...moved]), 3)

    // An agent that is killed knows nothing any more; its successor hears of all from the others.
    lab.kill('f1', 'SIGKILL')
    await lab.restartAgent('f1')
    await ready(lab, 3)
    await known(lab, new Map([...left, ...moved]))
    await keeps(lab, new Map([...left, ...moved]), 3)

    // A drain: what is new goes elsewhere.
    const drained = [...moved.values()][0]!
    const order = await lab.shunt('f1', ['drain', drained, '--yes'], { timeoutMs: 60_000 })
    assert.is(order.code, 0, order.stderr)
    await ready(lab, 2)
    const now = await oneEach(lab, clients)
    assert.not([...now.values()].includes(drained))
    for (const [client, host] of [...left, ...moved])
      if (host !== drained) assert.is(now.get(client), host, client)
    await known(lab, now)
    await keeps(lab, now, 3)
  }),
)

/** Connections of client1, one after 50 ms whatever becomes of those before: which hosts answered them. */
const opening = (lab: Lab, name: string): { stop(): Promise<string[]> } => {
  const end = join(lab.files('client1').dir, name)
  const one = `curl -s -m 20 -H 'Connection: close' http://${VIP}/`
  const child = lab.spawn('client1', ['sh', '-c', `until [ -e ${end} ]; do ${one} & sleep 0.05; done; wait`])
  const output = text(child.stdout!)
  return {
    stop: async () => {
      writeFileSync(end, '')
      return (await output).trim().split('\n')
    },
  }
}

/** The address of client1 is a client that has been moved: its session is not where a choice for it would send it. */
const moved = async (lab: Lab): Promise<string> => {
  const one = async (): Promise<string> =>
    (await lab.exec('client1', ['curl', '-s', '-m', '10', `http://${VIP}/`])).stdout.trim()
  const first = await one()
  await ordered(lab, 'drain', first)
  await ready(lab, 2, FORWARDERS)
  const host = await one()
  assert.not(host === first)
  await ordered(lab, 'undrain', first)
  await ready(lab, 3, FORWARDERS)
  assert.is(await one(), host)
  return host
}
const FORWARDERS = ['f1', 'f2', 'f3']

testIf(missingRoot(), it, 'while the agent by which they come is killed or upgraded, and starts anew', () =>
  withLab({ mode: 'managed', combine: 'fc', forwarders: 3, hosts: 3, dataplane: 'xdp' }, async lab => {
    await agreed(lab, await applyAt(lab, 'f1', documentOf('hash')))
    await ready(lab, 3, FORWARDERS)
    await lab.setForwarders(VIP, [lab.place('f1').address!])
    const host = await moved(lab)
    const client = lab.place('client1').address!
    const known = (): Promise<unknown> =>
      until(
        'all forwarders know a session',
        async () => {
          const choices = await Promise.all(FORWARDERS.map(unit => chosen(lab, unit, client)))
          return choices.every(choice => choice?.by === 'affinity') ? choices : undefined
        },
        PATIENCE_MS,
      )
    await known()
    for (const signal of ['SIGKILL', 'SIGUSR2', 'SIGKILL', 'SIGUSR2'] as const) {
      const load = opening(lab, `${signal} ${Date.now()}`.replace(' ', '-'))
      lab.kill('f1', signal)
      await until('its end', async () => ((await lab.agentState('f1')) === 'stopped' ? true : undefined))
      await lab.startAgent('f1')
      await ready(lab, 3, FORWARDERS)
      await known()
      const answers = await load.stop()
      assert.ok(answers.length > 10, `${answers.length} connections`)
      assert.equal([...new Set(answers)], [host], `${signal}: the client stays`)
      for (const unit of FORWARDERS) assert.is((await chosen(lab, unit, client))?.host, host, unit)
    }
  }),
)

it.run()
