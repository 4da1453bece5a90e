/**
 * A host whose agent was killed: its kernel takes in new connections and acknowledges their mappings, so that full-size segments, which do not
 * fit behind a mapping header, get there too (bpf/learn-answer.h).
 */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { missingRoot, testIf } from '../support/skip.ts'
import { assertWhole, counters, load, until, webFile, withLab } from '../support/traffic.ts'

const it = suite('xdp-dead-host')
const test = (name: string, body: () => Promise<void>): void => testIf(missingRoot(), it, name, body)
const PUTS = 40
const GETS = 40

test('uploads and downloads begun while the host has no agent: all whole, none reset', () =>
  withLab({ hosts: 3, combine: 'all', dataplane: 'xdp' }, async lab => {
    const client = lab.client()
    // All by one forwarder, which goes on: the one that is killed is a host only.
    const { code, stderr } = await lab.exec('router', ['ip', 'route', 'replace', '10.99.0.0/24', 'via', '10.10.0.151'])
    assert.is(code, 0, stderr)
    assertWhole(lab, await load(lab, client, { concurrency: 4, jobs: [{ kind: 'small', count: 60 }] }))
    const { path, sha256 } = webFile(lab, '/100k.bin')

    // Once the lease of its health is over new connections go to the others; a slow machine may need several attempts to be there in time.
    const attempt = async (): Promise<boolean> => {
      const before = (await counters(lab)).n3
      assert.ok(lab.kill('n3', 'SIGKILL'))
      const result = await load(lab, client, {
        ...{ concurrency: 20, timeoutMs: 20_000 },
        jobs: [
          { kind: 'put', count: PUTS, bytes: 100_000 },
          { kind: 'get', count: GETS, path, sha256 },
        ],
      })
      assertWhole(lab, result)
      assert.is(result.done, PUTS + GETS)
      assert.is(await lab.agentState('n3'), 'stopped')
      await lab.startAgent('n3')
      const after = (await counters(lab)).n3
      const puts = result.uploads.filter(({ host }) => host === 'n3').length
      console.log(result.byHost, puts, after.xdp_mapping_answered, before.xdp_mapping_answered, result.ms)
      return puts > 0 && result.byHost.n3 > puts && after.xdp_mapping_answered > (before.xdp_mapping_answered ?? 0)
    }
    let attempts = 1
    while (!(await attempt())) {
      assert.ok(++attempts <= 5, 'it had no new connections of both kinds in five attempts')
      await until('the host is used again', async () => {
        const { byHost } = await load(lab, client, { concurrency: 4, jobs: [{ kind: 'small', count: 30 }] })
        return byHost.n3 > 0 ? true : undefined
      })
    }
  }))

it.run()
