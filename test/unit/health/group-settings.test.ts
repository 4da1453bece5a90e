/** Groups that are cut anew while they have leaders (R-B7). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type GroupAction, type GroupEvent, HealthGroup } from '../../../src/health/group/group.ts'
import type { GroupHost } from '../../../src/health/group/groups.ts'

const it = suite('groups that are cut anew (R-B7)')

const HOSTS: GroupHost[] = ['h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'h10'].map((name, i) => ({
  name,
  id: `${i}`,
  host: i + 1,
}))

class Leader {
  readonly group: HealthGroup
  #wakeAtMs = 0
  constructor(name: string) {
    this.group = new HealthGroup({ name, beatMs: 1000, mode: 'full', directHosts: 3 }, 0)
    this.do({ on: 'hosts', hosts: HOSTS }, 0)
    this.do({ on: 'units', units: ['u'] }, 0)
    for (const { name: other } of HOSTS)
      if (other !== name) this.do({ on: 'alive', host: other, alive: true }, 0)
  }
  do(event: GroupEvent, nowMs: number): GroupAction[] {
    const { actions, wakeAtMs } = this.group.step(event, nowMs)
    this.#wakeAtMs = wakeAtMs
    return actions
  }
  until(nowMs: number): GroupAction[] {
    const actions: GroupAction[] = []
    while (this.#wakeAtMs <= nowMs) actions.push(...this.do({ on: 'tick' }, this.#wakeAtMs))
    return actions
  }
}
const resigned = (actions: GroupAction[]): string[] =>
  actions.flatMap(a =>
    a.do === 'send' && a.message.type === 'claim' && a.message.generation === 0 ? [a.to] : [],
  )
const settings = (
  more: Partial<{ mode: 'full' | 'changes'; directHosts: number; size: number }>,
): GroupEvent => ({
  on: 'settings',
  settings: { mode: 'full', directHosts: 3, size: 32, ...more },
})

it('a leader tells those that are of its group no more, and leads on', () => {
  const one = new Leader('h1')
  one.until(2000)
  assert.is(one.group.leader, 'h1')
  assert.equal(one.group.names, ['h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'h10'])
  assert.equal(resigned(one.do(settings({ size: 4 }), 2100)), ['h4', 'h5', 'h6', 'h10'])
  assert.equal(one.group.names, ['h1', 'h2', 'h3'])
  assert.is(one.group.leader, 'h1')
  assert.equal(resigned(one.do(settings({ size: 4 }), 2200)), [])
})

it('a leader of a cluster that is small enough now says so to all, and its heartbeats go straight to the units', () => {
  const one = new Leader('h1')
  one.until(2000)
  const actions = one.do(settings({ directHosts: 7 }), 2100)
  assert.equal(resigned(actions), ['h2', 'h3', 'h4', 'h5', 'h6', 'h10'])
  assert.equal(actions.at(-1), { do: 'leader', leader: null })
  assert.equal([one.group.index, one.group.names], [null, []])
  one.do(settings({ directHosts: 6 }), 2200)
  one.until(5000)
  assert.is(one.group.leader, 'h1')
})

it('a leader passes on as the new mode wants it from the next beat on', () => {
  const one = new Leader('h1')
  one.until(2000)
  const entry = { host: 1, token: 'ab'.repeat(8), hello: false, forward: false, dnsName: '' }
  const passed = (fromMs: number, beat: number): number => {
    const message = { type: 'heartbeat' as const, leader: 0, entries: [{ ...entry, beat }], gone: [] }
    for (const { name, host } of HOSTS)
      one.do(
        { on: 'message', from: name, message: { ...message, entries: [{ ...entry, host, beat }] } },
        fromMs,
      )
    return one
      .until(fromMs + 990)
      .flatMap(a => (a.do === 'send' && a.message.type === 'heartbeat' ? a.message.entries : [])).length
  }
  passed(2010, 5)
  assert.is(passed(3010, 6), 7)
  one.do(settings({ mode: 'changes' }), 4005)
  assert.is(passed(4010, 7), 0)
  one.do(settings({}), 5005)
  assert.is(passed(5010, 8), 7)
})

it.run()
