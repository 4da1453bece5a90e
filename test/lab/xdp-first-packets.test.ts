/** New connections that the kernel gives to hosts by itself (R-G3): the agent hears of them, and does everything else. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { HostsData, StatusData } from '../../src/control/types.ts'
import type { Lab, LabOptions } from '../../src/lab/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import {
  accessLog,
  assertWhole,
  counters,
  flowsOf,
  grown,
  load,
  until,
  VIP,
  withLab,
} from '../support/traffic.ts'

const it = suite('xdp-first-packets')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)
const CAPACITIES = [20, 30, 50]
const CONNECTIONS = 2_000
const GRACE_MS = 6_000
/** An end whose event got lost is found by a sweep: a pass takes 15 s at most. */
const SWEEP_MS = 30_000

const limitOf = async (lab: Lab, name: string): Promise<number> =>
  (await lab.api<StatusData>('f1', '/v1/status')).limits.find(limit => limit.name === name)!.used
const own = async (lab: Lab): Promise<Record<string, Record<string, number>>> => ({
  f1: (await lab.api<StatusData>('f1', '/v1/status')).counters,
})
const requests = (lab: Lab): number[] => lab.hosts.map(({ name }) => accessLog(lab, name).length)

const VIP6 = 'fd10:99::1'
const OF_IPV6: Partial<LabOptions> = {
  ipv6: true,
  services: [
    { name: 'web', vip: VIP, port: 80, protocol: 'tcp' },
    { name: 'web6', vip: VIP6, port: 80, protocol: 'tcp' },
  ],
}

const manyConnections = (vip: string, more: Partial<LabOptions>): Promise<void> =>
  withLab(
    { combine: 'fc', forwarders: 1, hosts: 3, capacities: CAPACITIES, dataplane: 'xdp', ...more },
    async lab => {
      // What the first connections meet, neighbours that are not known yet, is not what is counted here.
      assertWhole(
        lab,
        await load(lab, lab.client(), { vip, concurrency: 3, jobs: [{ kind: 'small', count: 30 }] }),
      )
      const warm = requests(lab)
      const before = await counters(lab)
      const result = await load(lab, lab.client(), {
        vip,
        concurrency: 50,
        jobs: [{ kind: 'small', count: CONNECTIONS }],
      })
      assertWhole(lab, result)
      const after = await counters(lab)
      const of = (counter: string): number => grown(before, after, counter, ['f1'])
      // A SYN on the ports of a connection before is the agent's, which counts it.
      const firsts = of('xdp_classified') + of('forwarder_reused_flows')
      assert.ok(firsts >= CONNECTIONS * 0.99, `${firsts} first packets`)
      assert.ok(of('xdp_classified') >= CONNECTIONS * 0.9, `${of('xdp_classified')} by the kernel`)
      // A FIN that is faster than its host's acknowledgement is the agent's, more of them on a busy machine.
      const packets = of('xdp_sent_back') + of('xdp_classified') + of('xdp_with_mapping')
      const slow = of('forwarder_slow_packets')
      assert.ok(slow < packets / 50, `${slow} of ${packets} packets`)
      const others = slow - of('xdp_tcp_control')
      assert.ok(others < CONNECTIONS / 50, `${others} packets that are no FIN`)
      assert.ok(Math.abs(of('forwarder_new_flows') + of('forwarder_reused_flows') - CONNECTIONS) < 20)
      const { hosts } = await lab.api<HostsData>('f1', '/v1/hosts')
      const all = requests(lab)
      const got = all.map((count, i) => count - warm[i]!)
      CAPACITIES.forEach((capacity, i) => {
        const p = capacity / 100
        const bound = 5 * Math.sqrt(CONNECTIONS * p * (1 - p))
        assert.ok(Math.abs(got[i]! - CONNECTIONS * p) < bound, `${lab.hosts[i]!.name} got ${got[i]}`)
        const shown = hosts.find(({ name }) => name === lab.hosts[i]!.name)!.connections!
        assert.ok(Math.abs(shown - all[i]!) < 20, `${shown} connections shown, ${all[i]} requests`)
      })
      assert.ok((await limitOf(lab, 'flows')) >= CONNECTIONS * 0.95)
      // Each one has ended, which the agent knows.
      await until(
        'the end of all flows',
        async () => ((await flowsOf(lab, 'f1')).every(({ state }) => state === 'closing') ? true : undefined),
        SWEEP_MS,
      )
    },
  )

test('2,000 connections: none fails, shares are right, the slow path sees hardly any packet', () =>
  manyConnections(VIP, {}))

test('the same by IPv6', () => manyConnections(VIP6, OF_IPV6))

test('a host that dies or drains gets nothing new; with the agent held up, connections go on for as long as it was said', () =>
  withLab(
    {
      ...{ combine: 'fc', forwarders: 1, hosts: 3, dataplane: 'xdp' },
      configure: config => {
        config.timeouts = { ...config.timeouts, unattended: GRACE_MS }
      },
    },
    async lab => {
      // Each on ports that none had before: one on the ports of a connection before waits for the agent.
      const address = lab.place(lab.client()).address!
      let nextPort = 20_000
      const small = (count: number, timeoutMs?: number): ReturnType<typeof load> => {
        const concurrency = Math.min(10, count)
        // Were one lane to take them all.
        const locals = Array.from({ length: count * concurrency }, () => ({ address, port: nextPort++ }))
        return load(lab, lab.client(), { jobs: [{ kind: 'small', count }], concurrency, locals, timeoutMs })
      }
      assertWhole(lab, await small(100))
      lab.kill('h1', 'SIGTERM')
      await until('the end of h1', async () =>
        (await lab.agentState('h1')) === 'stopped' ? true : undefined,
      )
      const { failed, byHost } = await small(200)
      assert.equal([failed, byHost.h1 ?? 0], [0, 0])

      const before = await own(lab)
      lab.kill('f1', 'SIGSTOP')
      try {
        const stoppedAtMs = performance.now()
        const alone = await small(300)
        // On a machine that is busy enough the grace may be over by then.
        if (performance.now() - stoppedAtMs < GRACE_MS - 1000) assertWhole(lab, alone)
        await until(
          'the end of the grace',
          async () => {
            const { failed } = await small(1, 1_000)
            return failed === 1 ? true : undefined
          },
          4 * GRACE_MS,
        )
        assert.ok(performance.now() - stoppedAtMs > GRACE_MS - 1000, 'not before its end')
      } finally {
        lab.kill('f1', 'SIGCONT')
      }
      await until('an agent', async () => ((await lab.agentState('f1')) === 'running' ? true : undefined))
      await until(
        'new connections',
        async () => {
          const { failed } = await small(20, 3_000)
          return failed === 0 ? true : undefined
        },
        30_000,
      )
      const after = await own(lab)
      assert.ok(grown(before, after, 'xdp_classified', ['f1']) >= 300)
      assert.ok(grown(before, after, 'kernel_opened', ['f1']) >= 300, 'the agent knows of them')
      assert.ok(grown(before, after, 'xdp_grace_over', ['f1']) > 0)
    },
  ))

it.run()
