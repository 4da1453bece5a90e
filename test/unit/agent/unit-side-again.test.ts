/** Allotments that are given again: asked for, refused by the data plane, or without the lease they stood on. */
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { UnitSide } from '../../../src/agent/health/unit-side.ts'
import type { NodeConfig } from '../../../src/config/schema.ts'
import type { Allotment } from '../../../src/health/allotment/handler.ts'
import type { Row } from '../../../src/health/types.ts'

const it = suite('unit side: given again')

const service = (name: string, port: number) => ({
  ...{ name, vip: '10.99.0.1', port, protocol: 'tcp', choice: { scheme: 'tokens' } },
  hosts: ['h1', 'h2'].map(host => ({ name: host, capacity: 50 })),
})
const SERVICES = [service('web', 80), service('mail', 25)]
const row = (port: number): Row => ({
  ...{ id: port, health: 'healthy', load: 0, capacity: 50, target: 'active', current: 'active' },
  cause: 'default',
  app: { vip: '10.99.0.1', port, physical: '10.0.0.1', physicalPort: port, protocol: 'tcp', specific: '' },
})
interface Sent {
  allotments: ReadonlyMap<string, Allotment>
  complete: boolean
}

let running: UnitSide | null = null
it.after.each(() => running?.stop())

const setUp = () => {
  const sent: Sent[] = []
  const refused: Sent[] = []
  const leases: Record<string, number>[] = []
  const troubles: string[] = []
  const applied: string[] = []
  const dataplane = { fails: false, takesMs: 0, inFlight: 0, most: 0 }
  const on = { look: () => {}, applied: () => {} }
  const unit = new UnitSide({ services: SERVICES } as unknown as NodeConfig, {
    allot: async (allotments, complete) => {
      ;(dataplane.fails ? refused : sent).push({ allotments, complete })
      dataplane.most = Math.max(dataplane.most, ++dataplane.inFlight)
      if (dataplane.takesMs > 0) await delay(dataplane.takesMs)
      dataplane.inFlight--
      if (dataplane.fails) throw new Error('the data plane did not answer')
    },
    leases: untilMs => leases.push(Object.fromEntries(untilMs)),
    lookAtClocks: () => on.look(),
    followed: () => {},
    applied: host => {
      applied.push(host)
      on.applied()
    },
    alive: () => true,
    silent: () => [],
    trouble: text => troubles.push(text),
  })
  running = unit
  const begin = async () => {
    for (const host of ['h1', 'h2']) {
      unit.apply(host, { instance: 1, generation: 1 }, [row(80), row(25)])
      unit.lease(host, performance.now() + 60_000)
    }
    await settled()
    sent.length = applied.length = 0
  }
  const hostsIn = ({ allotments }: Sent, name: string): string[] =>
    (allotments.get(name)?.shares ?? []).map(({ host }) => host)
  return { unit, sent, refused, leases, troubles, applied, dataplane, on, begin, hostsIn }
}
const settled = () => delay(5)
const until = async (what: string, isSo: () => boolean): Promise<void> => {
  for (let i = 0; i < 500 && !isSo(); i++) await delay(10)
  assert.ok(isSo(), what)
}

it('what a classifier has used up is given again, of that service alone', async () => {
  const t = setUp()
  t.unit.wanted('web')
  await settled()
  assert.equal(t.sent, [], 'nothing is given out beside the beginning')
  await t.begin()
  const before = t.unit.handler.allotments().get('web')!
  t.unit.wanted('web')
  await settled()
  assert.equal(
    t.sent.map(({ allotments, complete }) => [[...allotments.keys()], complete]),
    [[['web'], false]],
  )
  const again = t.sent[0]!.allotments.get('web')!
  assert.ok(again.number > before.number, 'tokens of an earlier one are used up')
  assert.ok(again.shares.length === 2 && again.shares.every(({ tokens }) => tokens > 0))
  t.unit.wanted('of an earlier document')
  await settled()
  assert.is(t.sent.length, 1)
})

it('what the data plane did not take is given again with everything else, and nothing beside it', async () => {
  const t = setUp()
  await t.begin()
  t.dataplane.fails = true
  t.unit.wanted('web')
  await settled()
  assert.is(t.refused.length, 1)
  assert.equal(t.troubles, ['the data plane did not answer'])
  t.unit.wanted('mail')
  await settled()
  assert.is(t.refused.length, 1, 'whether they are in force is not known: nothing is asked for again yet')
  t.dataplane.fails = false
  await until('given again', () => t.sent.length > 0)
  assert.is(t.sent[0]!.complete, true)
  for (const name of ['web', 'mail']) assert.equal(t.hostsIn(t.sent[0]!, name), ['h1', 'h2'])
  await settled()
  assert.equal(t.applied.toSorted(), ['h1', 'h2'])
  t.unit.wanted('mail')
  await settled()
  assert.equal([...t.sent.at(-1)!.allotments.keys()], ['mail'])
})

it('it goes on to be given until it is taken', async () => {
  const t = setUp()
  await t.begin()
  t.dataplane.fails = true
  t.unit.wanted('web')
  await until('three times', () => t.refused.length >= 3)
  assert.ok(t.refused.slice(1).every(({ complete }) => complete))
  assert.equal(t.applied, [], 'nothing is said to be in force meanwhile')
  t.dataplane.fails = false
  await until('taken', () => t.applied.length > 0)
})

it('a lease that is over while everything is to be given again changes what is given', async () => {
  const t = setUp()
  await t.begin()
  t.dataplane.fails = true
  t.unit.wanted('web')
  await settled()
  t.dataplane.fails = false
  t.unit.lease('h1', 0)
  await until('given again', () => t.sent.length > 0)
  assert.is(t.sent[0]!.complete, true, 'nothing is given out beside the beginning')
  for (const name of ['web', 'mail']) assert.equal(t.hostsIn(t.sent[0]!, name), ['h2'])
})

it('a lease that is over before its time is told at once, and the host is chosen no more', async () => {
  const t = setUp()
  await t.begin()
  assert.equal(t.leases, [], 'renewals are gathered for a while')
  t.unit.lease('h1', 0)
  for (let i = 0; i < 20 && t.leases.length === 0; i++) await settled()
  assert.is(t.leases[0]?.h1, 0)
  await settled()
  assert.equal(t.hostsIn(t.sent.at(-1)!, 'web'), ['h2'])
})

it('nothing is made of leases before the clocks are looked at: they may be over', async () => {
  for (const occasion of ['wanted', 'update'] as const) {
    const t = setUp()
    await t.begin()
    t.on.look = () => {
      t.on.look = () => {}
      t.unit.lease('h1', 0)
    }
    if (occasion === 'wanted') t.unit.wanted('web')
    else t.unit.update()
    await settled()
    assert.ok(t.sent.length > 0)
    for (const each of t.sent) assert.not(t.hostsIn(each, 'web').includes('h1'), occasion)
    t.unit.stop()
  }
})

it('what is applied may lead to more at once, which waits for its turn', async () => {
  const t = setUp()
  await t.begin()
  t.on.applied = () => {
    t.on.applied = () => {}
    t.unit.drop('h2')
  }
  Object.assign(t.dataplane, { most: 0, takesMs: 1 })
  t.unit.update()
  t.unit.drop('h1')
  await until('both are gone', () => t.sent.length > 0 && t.hostsIn(t.sent.at(-1)!, 'web').length === 0)
  assert.is(t.dataplane.most, 1, 'one after the other')
})

it('where going through all services takes long, hosts that change without end do not take all the time', async () => {
  let passes = 0
  let last = 0
  const unit = new UnitSide({ services: [] } as unknown as NodeConfig, {
    ...{ allot: async () => {}, leases: () => {}, lookAtClocks: () => {}, followed: () => {} },
    ...{ alive: () => true, trouble: () => {} },
    applied: (_, { generation }) => (last = generation),
    silent: () => {
      passes++
      const before = process.threadCpuUsage()
      const took = (): number => process.threadCpuUsage(before).user + process.threadCpuUsage(before).system
      while (took() < 20_000);
      return []
    },
  })
  for (let generation = 1; generation <= 60; generation++) {
    unit.apply('h1', { instance: 1, generation }, [])
    await new Promise(setImmediate)
  }
  assert.ok(passes <= 40, `${passes} for 60 changes`)
  for (let i = 0; i < 1000 && last < 60; i++) await delay(5)
  assert.is(last, 60, 'the last change is put into force')
  unit.stop()
})

it.run()
