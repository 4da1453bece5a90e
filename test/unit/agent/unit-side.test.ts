import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { UnitSide } from '../../../src/agent/health/unit-side.ts'
import type { NodeConfig } from '../../../src/config/schema.ts'
import type { Allotment } from '../../../src/health/allotment/handler.ts'
import type { Row } from '../../../src/health/types.ts'

const it = suite('unit side: allotments into force')

const SERVICE = { name: 'web', vip: '10.99.0.1', port: 80, protocol: 'tcp' as const }
const config = (hosts: Record<string, number>): NodeConfig =>
  ({
    services: [{ ...SERVICE, hosts: Object.entries(hosts).map(([name, capacity]) => ({ name, capacity })) }],
  }) as unknown as NodeConfig
const row = (more: Partial<Row> = {}): Row => ({
  ...{
    id: 7,
    health: 'healthy',
    load: 0,
    capacity: 50,
    target: 'active',
    current: 'active',
    cause: 'default',
  },
  app: { vip: SERVICE.vip, port: 80, physical: '10.0.0.1', physicalPort: 80, protocol: 'tcp', specific: '' },
  ...more,
})
const setUp = (hosts: Record<string, number>) => {
  const sent: { allotment: Allotment | undefined; complete: boolean }[] = []
  const applied: string[] = []
  const troubles: string[] = []
  const dead = new Set<string>()
  const silent: string[] = []
  const parts = { fails: 0, followed: 0 }
  const unit = new UnitSide(config(hosts), {
    allot: async (allotments, complete) => {
      if (parts.fails-- > 0) throw new Error('not now')
      sent.push({ allotment: allotments.get('web'), complete })
    },
    leases: () => {},
    lookAtClocks: () => {},
    followed: () => parts.followed++,
    applied: (host, { generation }) => applied.push(`${host} ${generation}`),
    alive: host => !dead.has(host),
    silent: () => silent,
    trouble: text => troubles.push(text),
  })
  const version = (generation: number) => ({ instance: 1, generation })
  const shares = (): Record<string, number> =>
    Object.fromEntries((sent.at(-1)!.allotment?.shares ?? []).map(({ host, weight }) => [host, weight]))
  return { unit, sent, applied, troubles, dead, silent, parts, version, shares }
}
const far = (): number => performance.now() + 60_000
const settled = () => delay(5)

it('the first word is complete, also without any host: nobody is chosen by capacity alone', async () => {
  const t = setUp({ h1: 50 })
  t.unit.update()
  await settled()
  assert.is(t.sent[0]!.complete, true)
  assert.equal(t.shares(), {})
  t.unit.stop()
})

it('a table is applied once the data plane has it, and counts by lease and by the capacity of the document', async () => {
  const t = setUp({ h1: 50, h2: 20 })
  t.unit.apply('h1', t.version(1), [row()])
  t.unit.apply('h2', t.version(3), [row({ capacity: 99 })])
  t.unit.apply('stranger', t.version(1), [row({ capacity: 99 })])
  await settled()
  assert.equal(t.applied.slice(-3), ['h1 1', 'h2 3', 'stranger 1'])
  assert.equal(t.shares(), {}, 'no lease yet')
  for (const host of ['h1', 'h2', 'stranger']) t.unit.lease(host, far())
  await settled()
  assert.equal(t.shares(), { h1: 50, h2: 20 })
  const { followed } = t.parts
  t.dead.add('h1')
  t.unit.update()
  await settled()
  assert.equal(t.shares(), { h2: 20 })
  assert.is(t.parts.followed, followed + 1, 'it is said that something has changed')
  t.unit.drop('h2')
  await settled()
  assert.equal(t.shares(), {})
  t.unit.stop()
})

it('what the data plane refused is not said to be applied, and is tried again', async () => {
  const t = setUp({ h1: 50 })
  t.parts.fails = 1
  t.unit.apply('h1', t.version(1), [row()])
  await settled()
  assert.equal(t.applied, [])
  assert.equal(t.troubles, ['not now'])
  for (let i = 0; i < 300 && t.applied.length === 0; i++) await delay(10)
  assert.equal(t.applied, ['h1 1'])
  assert.ok(t.sent.at(-1)!.complete, 'everything anew')
  t.unit.stop()
})

it('a host of an earlier version is chosen by its capacity', async () => {
  const t = setUp({ h1: 50, old: 30 })
  t.silent.push('old')
  t.unit.apply('h1', t.version(1), [row({ load: 50 })])
  t.unit.lease('h1', far())
  await settled()
  assert.equal(t.shares(), { h1: 25, old: 30 })
  assert.ok(t.unit.isSilent('old'))
  t.unit.stop()
})

it.run()
