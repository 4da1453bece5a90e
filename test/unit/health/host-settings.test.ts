/** What the cluster document says of overload and leases changes while a host runs (R-B5, R-B6). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { HostPolicy } from '../../../src/health/host/events.ts'
import { Hold } from '../../../src/health/host/hold.ts'
import { Overload } from '../../../src/health/host/overload.ts'
import { MARGIN_MS } from '../../../src/health/types.ts'
import { endpointOf, HOST_SETTINGS, HostRig, keyOf } from '../../support/health-host.ts'

const it = suite('health host: settings that change')

const { overload: OVERLOAD } = HOST_SETTINGS
const change = (rig: HostRig, settings: Partial<HostPolicy>, instance = 10) => {
  const { leaseBeats, forwardEvery, overload } = HOST_SETTINGS
  return rig.step({ on: 'settings', settings: { leaseBeats, forwardEvery, overload, ...settings }, instance })
}
const settledAfter = (rig: HostRig, limitMs: number): number => {
  rig.actions = []
  for (let ms = 0; ms <= limitMs; ms += 50) {
    if (rig.actions.some(action => action.do === 'settled')) return ms
    rig.pass(50)
  }
  return Number.POSITIVE_INFINITY
}
const listening = (settings = {}): HostRig => {
  const rig = new HostRig(settings)
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80)] })
  rig.pass(1000)
  return rig
}

it('a load is judged by new thresholds at once, both ways', () => {
  const rig = listening()
  for (let n = 0; n < 40; n++) {
    rig.step({ on: 'load', app: keyOf(80), percent: 60 })
    rig.pass(1000)
  }
  assert.is(rig.row(80).cause, 'default')
  change(rig, { overload: { drain: 50, resume: 40, forMs: 0 } })
  assert.equal([rig.row(80).target, rig.row(80).cause], ['draining', 'overload'])
  change(rig, { overload: OVERLOAD })
  assert.equal([rig.row(80).target, rig.row(80).cause], ['active', 'default'])
  change(rig, { overload: { drain: 50, resume: 40, forMs: 5000 } })
  assert.is(rig.row(80).target, 'active')
  rig.pass(5000)
  assert.is(rig.row(80).target, 'draining')
})

it('an endpoint that comes later is judged by the new thresholds as well', () => {
  const rig = listening()
  change(rig, { overload: { drain: 50, resume: 40, forMs: 0 } })
  rig.step({ on: 'endpoints', endpoints: [endpointOf(80), endpointOf(81)] })
  rig.step({ on: 'load', app: keyOf(81), percent: 60 })
  assert.is(rig.row(81).cause, 'overload')
})

it('the time that an overload has lasted counts for a new duration; above resume only a higher drain ends one', () => {
  const overload = new Overload({ drain: 90, resume: 50, forMs: 30_000 })
  overload.update(95, 0)
  assert.is(overload.follow({ drain: 90, resume: 50, forMs: 10_000 }, 95, 10_000), true)
  assert.is(overload.isOverloaded, true)
  assert.is(overload.follow({ drain: 90, resume: 60, forMs: 10_000 }, 80, 11_000), false)
  assert.is(overload.isOverloaded, true)
  assert.is(overload.follow({ drain: 95, resume: 60, forMs: 10_000 }, 80, 12_000), true)
  assert.is(overload.isOverloaded, false)
  assert.is(overload.dueMs, Number.POSITIVE_INFINITY)
})

it('leases of another length begin with another table, which has the same rows', () => {
  const rig = listening()
  const { instance, generation } = rig.host.version
  rig.take('row-change')
  change(rig, { forwardEvery: 1 })
  assert.equal(rig.host.version, { instance, generation })
  change(rig, { leaseBeats: 13 })
  assert.is(rig.host.version.instance, 10)
  assert.equal(
    rig.take('row-change').map(({ to, message }) => [to, message.version.instance]),
    [
      ['u1', 10],
      ['u2', 10],
    ],
  )
  rig.step({ on: 'message', from: 'u1', message: { type: 'get-snapshot', host: 77, request: 1, chunks: [] } })
  assert.equal(
    rig.take('send-snapshot').map(({ message }) => message.leaseBeats),
    [13],
  )
  assert.is(rig.row(80).app.port, 80)
})

it('a unit that says nothing is waited for as long as its lease may last, by what it was told of', () => {
  const rig = listening()
  change(rig, { leaseBeats: 13 })
  rig.step({ on: 'order', app: keyOf(80), state: 'draining' })
  const longMs = settledAfter(rig, 20_000)
  assert.ok(longMs >= 13_500 && longMs < 14_000, `${longMs}`)
  // Shorter ones: units that have not heard of it may have longer ones, as of the change.
  change(rig, { leaseBeats: 3 }, 11)
  rig.pass(2000)
  rig.step({ on: 'order', app: keyOf(80), state: 'inactive' })
  const leftMs = settledAfter(rig, 20_000)
  assert.ok(leftMs >= 11_500 && leftMs < 12_000, `${leftMs}`)
  rig.step({ on: 'order', app: keyOf(80), state: null })
  rig.pass(20_000)
  rig.step({ on: 'order', app: keyOf(80), state: 'inactive' })
  const shortMs = settledAfter(rig, 20_000)
  assert.ok(shortMs >= 3500 && shortMs < 4000, `${shortMs}`)
})

it('the end of leases of several lengths is the latest of them', () => {
  const hold = new Hold(13_000)
  assert.is(hold.change(13_000, 0), false)
  assert.is(hold.change(3000, 1000), true)
  hold.change(5000, 2000)
  assert.is(hold.untilMs(2000), 14_000 + MARGIN_MS)
  assert.is(hold.untilMs(12_000), 17_000 + MARGIN_MS)
})

it.run()
