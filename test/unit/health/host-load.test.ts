import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Overload } from '../../../src/health/host/overload.ts'
import { LoadReport } from '../../../src/health/smoothing.ts'
import type { Row } from '../../../src/health/types.ts'
import { endpointOf, HOST_SETTINGS, HostRig, keyOf } from '../../support/health-host.ts'

const it = suite('health host: load')

const { load: LOAD, overload: OVERLOAD } = HOST_SETTINGS

/** Samples once a second for so long; answers the loads that were told, and when. */
const told = (report: LoadReport, fromMs: number, seconds: number, percent: (second: number) => number) => {
  const all: { atMs: number; load: number }[] = []
  let last = report.tell(fromMs)
  for (let second = 0; second < seconds; second++) {
    const atMs = fromMs + second * 1000
    report.sample(percent(second), atMs)
    const load = report.tell(atMs)
    if (load !== last) all.push({ atMs, load })
    last = load
  }
  return all
}

it('takes the first sample as it is, later ones over time', () => {
  const report = new LoadReport(LOAD)
  report.sample(40, 0)
  assert.is(report.value, 40)
  report.sample(100, 0)
  assert.is(report.value, 40, 'no time has passed')
  report.sample(100, 10_000)
  assert.ok(Math.abs(report.value - (100 - 60 / Math.E)) < 1e-9)
})

it('smooths the same however often it is sampled', () => {
  const often = new LoadReport(LOAD)
  const seldom = new LoadReport(LOAD)
  for (const report of [often, seldom]) report.sample(10, 0)
  for (let atMs = 100; atMs <= 8000; atMs += 100) often.sample(90, atMs)
  seldom.sample(90, 8000)
  assert.ok(Math.abs(often.value - seldom.value) < 1e-6)
})

it('does not tell a spike, tells a lasting change at once if it is large', () => {
  const report = new LoadReport(LOAD)
  report.sample(20, 0)
  assert.is(report.tell(0), 20)
  assert.equal(
    told(report, 1000, 14, second => (second === 3 ? 120 : 20)),
    [],
  )
  const jumps = told(report, 15_000, 10, () => 90)
  assert.ok(
    jumps.some(({ atMs, load }) => atMs > 15_000 && atMs < 22_000 && load >= 45),
    JSON.stringify(jumps),
  )
})

it('tells multiples of the step, and does not flap between two', () => {
  const report = new LoadReport(LOAD)
  report.sample(20, 0)
  report.tell(0)
  assert.equal(
    told(report, 1000, 600, second => (second % 60 < 30 ? 21.5 : 23.5)),
    [],
  )
  for (const { load } of told(report, 700_000, 600, second => (second * 7) % 200)) assert.is(load % 5, 0)
})

it('arrives at full and at nothing', () => {
  const report = new LoadReport(LOAD)
  report.sample(0, 0)
  assert.is(told(report, 1000, 120, () => 100).at(-1)!.load, 100)
  assert.is(told(report, 121_000, 120, () => 0).at(-1)!.load, 0)
  assert.is(told(report, 300_000, 120, () => Number.POSITIVE_INFINITY).at(-1)!.load, 255)
})

it('ignores what is no number, and cuts what is out of range', () => {
  const report = new LoadReport(LOAD)
  report.sample(Number.NaN, 0)
  assert.is(report.value, 0)
  report.sample(-5, 0)
  assert.is(report.value, 0)
  report.sample(1000, 60_000)
  assert.ok(report.value <= 255)
})

it('is told at most four times a minute, but for jumps', () => {
  const samples = fc.array(
    fc.record({ percent: fc.integer({ min: 0, max: 255 }), afterMs: fc.integer({ min: 50, max: 5000 }) }),
    {
      minLength: 50,
      maxLength: 200,
    },
  )
  fc.assert(
    fc.property(samples, samples => {
      const rig = new HostRig({}, ['u1'])
      rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
      rig.pass(100)
      rig.sent = []
      let before: Row = rig.row(80)
      const calm: number[] = []
      for (const { percent, afterMs } of samples) {
        rig.step({ on: 'load', app: keyOf(80), percent })
        rig.pass(afterMs)
        for (const { atMs, message } of rig.take('row-change')) {
          const [operation] = message.operations
          assert.is(operation?.operation, 'update')
          if (operation?.operation !== 'update') continue
          if (operation.row.load !== before.load) {
            assert.is(operation.row.load % 5, 0)
            // Half a step of rounding.
            if (Math.abs(operation.row.load - before.load) < LOAD.jump - 2.5) calm.push(atMs)
          }
          before = { ...before, ...operation.row }
        }
      }
      calm.forEach((atMs, i) => {
        const inMinute = calm.filter(other => other >= atMs && other < atMs + 58_000).length
        assert.ok(inMinute <= 4, `${inMinute} from ${i}`)
      })
    }),
    { numRuns: 30 },
  )
})

it('tells the loads of many applications together, with a beat', () => {
  const rig = new HostRig({}, ['u1'])
  const ports = Array.from({ length: 50 }, (_, i) => i + 1)
  rig.step({ on: 'endpoints', endpoints: ports.map(port => endpointOf(port)) })
  rig.pass(1200)
  rig.sent = []
  for (const port of ports) {
    rig.step({ on: 'load', app: keyOf(port), percent: 20 })
    rig.pass(10)
  }
  rig.pass(1000)
  const changes = rig.take('row-change')
  assert.equal(
    changes.map(({ message }) => message.operations.length),
    [50],
  )
  assert.ok(rig.host.rows().every(({ load }) => load === 20))
})

it('overloads after a while, and resumes well below', () => {
  const overload = new Overload(OVERLOAD)
  assert.not.ok(overload.update(99, 0))
  assert.is(overload.dueMs, 30_000)
  overload.update(80, 10_000)
  assert.is(overload.dueMs, Number.POSITIVE_INFINITY, 'it must last')
  overload.update(96, 11_000)
  assert.not.ok(overload.update(94.6, 40_999), '94.6 is as good as 95')
  assert.ok(overload.update(96, 41_000))
  assert.ok(overload.isOverloaded)
  overload.update(75, 42_000)
  assert.ok(overload.isOverloaded)
  assert.ok(overload.update(74, 43_000))
  assert.not.ok(overload.isOverloaded)
  overload.update(99, 43_001)
  assert.is(overload.dueMs, 73_001, 'the whole time again')
})

it('drains an overloaded application by itself, without another sample', () => {
  const rig = new HostRig({}, [])
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'load', app: keyOf(80), percent: 110 })
  rig.pass(29_999)
  assert.is(rig.row(80).target, 'active')
  rig.pass(1)
  assert.equal([rig.row(80).target, rig.row(80).cause], ['draining', 'overload'])
  rig.step({ on: 'load', app: keyOf(80), percent: 0 })
  rig.pass(100)
  assert.equal([rig.row(80).target, rig.row(80).cause], ['active', 'default'])
})

it('forgets the load of an application that stopped', () => {
  const rig = new HostRig()
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.step({ on: 'load', app: keyOf(80), percent: 110 })
  rig.step({ on: 'endpoints', endpoints: [] })
  rig.pass(60_000)
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  assert.equal([rig.row(80).load, rig.row(80).target], [0, 'active'])
})

it.run()
