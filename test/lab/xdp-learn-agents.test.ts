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
        const after = await counters(lab)
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
        // FIN from the client, of each.
        assert.ok(grew('host_closed') > CONNECTIONS * 0.9, told)
        assert.is(grew('xdp_learnt_events_lost'), 0)
        assert.equal((await lab.api<DropsData>('h1', '/v1/drops')).drops, [])
      },
    ))

test("a host's agent that stands still: the kernel goes on taking in connections", () =>
  withLab({ forwarders: 1, hosts: 1, dataplane: 'xdp' }, async lab => {
    const client = lab.client()
    // So that the forwarder is known.
    assertWhole(lab, await load(lab, client, { concurrency: 2, jobs: [{ kind: 'small', count: 20 }] }))
    const before = (await counters(lab)).f1
    assert.ok(lab.kill('h1', 'SIGSTOP'))
    try {
      const result = await load(lab, client, {
        concurrency: 8,
        timeoutMs: 3000,
        jobs: [{ kind: 'small', count: 100 }],
      })
      assertWhole(lab, result)
    } finally {
      lab.kill('h1', 'SIGCONT')
    }
    // What the agent missed it catches up with.
    const host = await until('100 mappings', async () => {
      const now = (await counters(lab)).h1
      return now.host_maps_learnt > 100 ? now : undefined
    })
    assert.ok(host.xdp_learnt >= 100, JSON.stringify(host))
    assert.ok(before !== undefined)
    assertWhole(lab, await load(lab, client, { concurrency: 2, jobs: [{ kind: 'small', count: 20 }] }))
  }))

it.run()
