/** Changes of a group's leader as events: few of them, and the last word is never lost. */
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EventLog } from '../../../src/agent/events.ts'
import { GroupWatch } from '../../../src/agent/health/group-watch.ts'
import type { HealthGroup } from '../../../src/health/group/group.ts'

const it = suite('agent/health/group-watch')

it('tells who leads, not that nobody does between two; what comes too fast is told once, as it then is', async () => {
  const names = Array.from({ length: 10 }, (_, i) => `h${i + 1}`)
  const group = { index: 0, names, leader: null as string | null, generation: 1 }
  const events = new EventLog(100, Date.now)
  const watch = new GroupWatch(events, () => group as unknown as HealthGroup, { ratePerS: 20, burst: 2 })
  const said = () => events.query({ after: 0, limit: 100 }).events.map(({ subject }) => subject)
  const lead = (leader: string | null): void => {
    group.leader = leader
    watch.changed()
  }
  try {
    for (const leader of ['h1', null, 'h1', 'h2', 'h3', null, 'h4', 'h5']) lead(leader)
    assert.equal(said(), ['h1', 'h2'])
    for (let i = 0; i < 1000 && said().length < 3; i++) await delay(5)
    assert.equal(said(), ['h1', 'h2', 'h5'])
    const [{ kind, severity, text }] = events.query({ after: 0, limit: 100 }).events as [never]
    assert.equal(
      [kind, severity, text],
      ['group.leader', 'info', 'h1 leads the group of h1, h2, h3, h4, h5, h6, h7, h8 and 2 more'],
    )
  } finally {
    watch.stop()
  }
})

it('says since when there is this leader, and nothing where there is no group', () => {
  const group = { index: null as number | null, names: ['h1'], leader: 'h1', generation: 4 }
  const watch = new GroupWatch(new EventLog(9, Date.now), () => group as unknown as HealthGroup)
  assert.is(watch.view(), null)
  group.index = 2
  const { sinceMs, ...rest } = watch.view()!
  assert.equal(rest, { index: 2, members: ['h1'], leader: 'h1', generation: 4 })
  assert.ok(sinceMs >= 0)
  watch.stop()
})

it.run()
