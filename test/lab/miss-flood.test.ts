/**
 * A flood of packets that no route is for, on XDP: what the agent cannot take is dropped at its ring, and counted; flows that have a route go
 * by, for XDP sees them first.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { DropsData } from '../../src/control/types.ts'
import type { Lab } from '../../src/lab/lab.ts'
import { missingRoot, testIf } from '../support/skip.ts'
import { assertWhole, counters, grown, load, program, VIP, webFile, withLab } from '../support/traffic.ts'

const it = suite('miss-flood')
const SECONDS = 4

const ringDrops = async (lab: Lab): Promise<number> => {
  const { drops } = await lab.api<DropsData>('f1', '/v1/drops')
  return drops.find(({ reason }) => reason === 'the packet ring overflowed')?.count ?? 0
}

testIf(missingRoot(), it, 'misses are bounded and counted, and mapped flows go on', () =>
  withLab({ combine: 'fc', forwarders: 1, hosts: 1, clients: 2, dataplane: 'xdp' }, async lab => {
    const { path, sha256 } = webFile(lab, '/10m')
    const bulk = (tag: string): ReturnType<typeof load> =>
      load(lab, 'client1', {
        tag,
        concurrency: 1,
        jobs: [
          { kind: 'get', count: 2, path, sha256 },
          { kind: 'put', count: 2, bytes: 10 * 1024 * 1024 },
        ],
      })
    const before = await counters(lab)
    const dropsBefore = await ringDrops(lab)
    const startMs = performance.now()
    assertWhole(lab, await bulk('before'))
    const quietMs = performance.now() - startMs

    const flood = lab.spawn('client2', [...program('flood-process.ts'), VIP, '80', String(SECONDS)])
    const lines = createInterface({ input: flood.stdout! })[Symbol.asyncIterator]()
    assert.is((await lines.next()).value, 'begun')
    const floodMs = performance.now()
    assertWhole(lab, await bulk('beside'))
    const underMs = performance.now() - floodMs
    const sent = Number((await lines.next()).value)
    if (flood.exitCode === null) await once(flood, 'close')

    const after = await counters(lab)
    const dropped = (await ringDrops(lab)) - dropsBefore
    const slow = grown(before, after, 'kernel_slow_vip', ['f1'])
    const taken = grown(before, after, 'ring_packets', ['f1'])
    process.stdout.write(
      `${sent} sent, ${slow} came, ${taken} to the agent (${Math.round(taken / SECONDS)}/s), ${dropped} dropped at its ring; 40 MB took ${Math.round(quietMs)} ms, ${Math.round(underMs)} in the flood\n`,
    )
    assert.ok(sent > 2000 && slow > 2000, `${sent} sent, ${slow} came`)
    // Those that came to the slow path and those that it dropped are all.
    assert.ok(Math.abs(slow - taken - dropped) <= slow / 1000, `${slow} is not ${taken} and ${dropped}`)
    const routed = grown(before, after, 'xdp_sent_back', ['f1'])
    assert.ok(routed > 10_000, `${routed} packets by XDP`)
  }),
)

it.run()
