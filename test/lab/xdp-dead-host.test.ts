/**
 * A host whose agent stops, and is killed: its kernel takes in new connections and acknowledges their mappings, so that full-size segments,
 * which do not fit behind a mapping header, get there too (bpf/learn-answer.h).
 */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { missingRoot, testIf } from '../support/skip.ts'
import { assertWhole, counters, grown, load, until, VIP, webFile, withLab } from '../support/traffic.ts'

const it = suite('xdp-dead-host')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)
const EACH = 20
const ATTEMPTS = 5

test('uploads and downloads begun while the host has no agent at work: all whole, none reset', () =>
  withLab({ hosts: 3, combine: 'all', dataplane: 'xdp' }, async lab => {
    const client = lab.client()
    // All by one forwarder, which goes on: of n3 only the host is used.
    const only = ['ip', 'route', 'replace', VIP, 'via', lab.place('n1').address!]
    assert.is((await lab.exec('router', only)).code, 0)
    assertWhole(lab, await load(lab, client, { concurrency: 4, jobs: [{ kind: 'small', count: 60 }] }))
    const { path, sha256 } = webFile(lab, '/1m')

    // A killed agent is seen at once, by its closed connections, and its host gets nothing new; one that stands still when its health's lease is
    // over. On a slow machine that may be before a connection came.
    const attempt = async (tag: string): Promise<boolean> => {
      const before = await counters(lab)
      assert.ok(lab.kill('n3', 'SIGSTOP'))
      const loading = load(lab, client, {
        ...{ tag, concurrency: 2 * EACH, timeoutMs: 30_000 },
        jobs: [
          { kind: 'put', count: EACH, bytes: 2_000_000 },
          { kind: 'get', count: EACH, path, sha256 },
        ],
      })
      const opened = async (): Promise<true | undefined> =>
        grown(
          before,
          { n1: (await lab.api<{ counters: Record<string, number> }>('n1', '/v1/status')).counters },
          'kernel_opened',
          ['n1'],
        ) >=
        2 * EACH
          ? true
          : undefined
      await until('all connections', opened, 30_000)
      assert.ok(lab.kill('n3', 'SIGKILL'))
      const result = await loading
      assertWhole(lab, result)
      assert.is(result.done, 2 * EACH)
      assert.is(await lab.agentState('n3'), 'stopped')
      await lab.startAgent('n3')
      const puts = result.uploads.filter(({ host }) => host === 'n3').length
      const answered = (await counters(lab)).n3.xdp_mapping_answered ?? 0
      return puts > 0 && (result.byHost.n3 ?? 0) > puts && answered >= puts
    }
    for (let attempts = 1; !(await attempt(`try${attempts}-`)); attempts++) {
      assert.ok(attempts < ATTEMPTS, `no connections of both kinds in ${ATTEMPTS} attempts`)
      await until('the host is used again', async () => {
        const { byHost } = await load(lab, client, {
          concurrency: 4,
          jobs: [{ kind: 'small', count: 30 }],
        })
        return (byHost.n3 ?? 0) > 0 ? true : undefined
      })
    }
  }))

it.run()
