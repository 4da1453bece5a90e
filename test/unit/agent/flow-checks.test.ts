import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { FlowChecks } from '../../../src/agent/dam/flow-checks.ts'
import type { Ownership } from '../../../src/agent/dam/owner-questions.ts'
import type { DamPolicy } from '../../../src/agent/dam/policy.ts'
import type { Resolved } from '../../../src/agent/dam/words.ts'
import { RESOLVE_WORDS, RESOLVED } from '../../../src/agent/dataplane/messages.ts'

const it = suite('checks of flows with the hosts')

/** Service `i % 3`; that of 2 has gone. */
const wordsOf = (count: number): Uint32Array => {
  const words = new Uint32Array(count * RESOLVE_WORDS)
  for (let i = 0; i < count; i++) {
    words[i * RESOLVE_WORDS + 3] = i
    words[i * RESOLVE_WORDS + 11] = i % 3
  }
  return words
}

const setUp = (says: ((i: number) => Ownership) | null) => {
  const answers: Resolved[] = []
  const asked: string[] = []
  const policy = {
    serviceAt: (index: number) => (index === 2 ? undefined : { name: `s${index}` }),
    hostAddress: (name: string) => (name === 'h1' ? 7 : undefined),
  } as unknown as DamPolicy
  const checks = new FlowChecks({
    policy: () => policy,
    owners: () => ({
      ask: async (service, keys) => {
        asked.push(`${service} ${keys.map(key => key[3]).join()}`)
        if (says === null) throw new Error('no links')
        return keys.map(key => says(key[3]!))
      },
    }),
    answer: records => answers.push(...records),
  })
  return { checks, answers, asked }
}

it('each service’s flows together; what is sure is said, what nobody knows is not', async () => {
  const said: Ownership[] = [
    { host: 'h1', certain: true },
    { host: null, certain: true },
    { host: null, certain: true },
    { host: null, certain: false },
    { host: 'gone', certain: true },
  ]
  const t = setUp(i => said[i]!)
  await t.checks.verify(wordsOf(5))
  assert.equal(t.asked, ['s0 0,3', 's1 1,4'])
  assert.equal(
    t.answers.map(({ flow, host, how }) => [flow[3], host, how]),
    [
      [0, 7, RESOLVED.host],
      [1, 0, RESOLVED.nobody],
    ],
  )
  assert.equal(t.checks.counters, { asked: 4, open: 1, over: 1, unknown: 2 })
})

it('hosts that cannot be asked say nothing', async () => {
  const t = setUp(null)
  await t.checks.verify(wordsOf(1))
  assert.equal([t.answers, t.checks.counters.unknown], [[], 1])
})

it.run()
