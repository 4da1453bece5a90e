/** First packets and last ones of connections go past a host's agent: its kernel learns the mappings, the agent follows (bpf/learn.h). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { DropsData } from '../../src/control/types.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { assertWhole, counters, grown, load, until, withLab } from '../support/traffic.ts'

const it = suite('xdp-learn-agents')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)
const CONNECTIONS = 2000

for (const forwarders of ['nftables', 'xdp'] as const)
  test(`${CONNECTIONS} connections by ${forwarders} at the forwarder cost a host's agent no packets`, () =>
    withLab(
      {
        ...{ forwarders: 1, hosts: 1 },
        dataplane: ({ roles }) => (roles.includes('host') ? 'xdp' : forwarders),
      },
      async lab => {
        const before = await counters(lab)
        const result = await load(lab, lab.client(), {
          concurrency: 16,
          jobs: [{ kind: 'small', count: CONNECTIONS }],
        })
        assertWhole(lab, result)
        assert.is(result.done, CONNECTIONS)
        // FIN from the client, of each; the agent hears of it a moment later.
        const after = await until('the ends of all', async () => {
          const now = await counters(lab)
          return grown(before, now, 'host_closed', ['h1']) >= CONNECTIONS ? now : undefined
        })
        const grew = (counter: string): number => grown(before, after, counter, ['h1'])
        const told = JSON.stringify(
          ['host_injected', 'host_slow_packets', 'xdp_learnt', 'xdp_learnt_again', 'xdp_restored'].map(
            counter => [counter, grew(counter)],
          ),
        )
        // Only what came before the agent had seen the forwarder's epoch.
        assert.ok(grew('host_injected') < CONNECTIONS / 10, told)
        assert.ok(grew('host_slow_packets') < CONNECTIONS / 10, told)
        assert.ok(grew('xdp_learnt') > CONNECTIONS * 0.9, told)
        assert.is(grew('host_maps_learnt'), grew('xdp_learnt') + grew('xdp_learnt_again'), told)
        assert.is(grew('xdp_learnt_events_lost'), 0)
        assert.equal((await lab.api<DropsData>('h1', '/v1/drops')).drops, [])
      },
    ))

test("a host's agent that stands still: the kernel goes on taking in connections", () =>
  withLab({ forwarders: 1, hosts: 1, dataplane: 'xdp' }, async lab => {
    const client = lab.client()
    // So that the forwarder is known.
    assertWhole(lab, await load(lab, client, { concurrency: 2, jobs: [{ kind: 'small', count: 20 }] }))
    // Within the lease of its health: after that it gets no new ones, and a slow machine may need several attempts.
    const attempt = async (): Promise<boolean> => {
      const before = await counters(lab)
      assert.ok(lab.kill('h1', 'SIGSTOP'))
      const plan = { concurrency: 20, timeoutMs: 2500, jobs: [{ kind: 'small' as const, count: 20 }] }
      const { failed } = await load(lab, client, plan).finally(() => lab.kill('h1', 'SIGCONT'))
      if (failed > 0) return false
      // What the agent missed it catches up with.
      await until('the mappings', async () => {
        const now = await counters(lab)
        return grown(before, now, 'host_maps_learnt', ['h1']) >= 20 ? now : undefined
      })
      return true
    }
    const attempts = [await attempt()]
    while (!attempts.includes(true) && attempts.length < 5) {
      assertWhole(lab, await load(lab, client, { concurrency: 2, jobs: [{ kind: 'small', count: 20 }] }))
      attempts.push(await attempt())
    }
    assert.ok(attempts.includes(true))
    assertWhole(lab, await load(lab, client, { concurrency: 2, jobs: [{ kind: 'small', count: 20 }] }))
  }))

it.run()
