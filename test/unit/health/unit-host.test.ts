/** A real host and a real unit talk to each other: the directive protocol from end to end (R-B5, R-B6). */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HealthHost, type HostSettings } from '../../../src/health/host/host.ts'
import type { TableVersion } from '../../../src/health/types.ts'
import { UNIT_DEFAULTS } from '../../../src/health/unit/types.ts'
import { HealthUnit } from '../../../src/health/unit/unit.ts'

const it = suite('health/unit and host')

const APP = {
  vip: '10.99.0.1',
  port: 80,
  physical: '10.10.0.71',
  physicalPort: 80,
  protocol: 'tcp' as const,
  specific: '',
}
const KEY = 'tcp/10.99.0.1:80@10.10.0.71:80'

const SETTINGS = {
  host: 7,
  name: 'h1',
  beatMs: 1000,
  leaseBeats: 3,
  forwardEvery: 10,
  dnsName: 'h1.example',
  dnsEvery: 30,
  overload: { drain: 95, resume: 75, forMs: 30_000 },
  load: { everyMs: 15_000, step: 5, jump: 25 },
}

/** Both in one time, with links that take `delayMs`; `applyMs`: how long the data plane takes. */
const pair = (settings: Partial<HostSettings> = {}) => {
  let nowMs = 1000
  let seeds = 0
  const seed = () => new Uint8Array(32).fill(++seeds)
  const host = new HealthHost({ ...SETTINGS, ...settings }, 1, nowMs, seed)
  const unit = new HealthUnit({ ...UNIT_DEFAULTS, name: 'u1' }, nowMs)
  const queue: { atMs: number; run: () => void }[] = []
  const settled: string[] = []
  const world = { isCut: false, applyMs: 5, wrong: 0 }
  let wakeHostMs = nowMs
  let wakeUnitMs = nowMs
  const later = (inMs: number, run: () => void) => queue.push({ atMs: nowMs + inMs, run })
  const toHost = (event: Parameters<HealthHost['step']>[0]) => {
    const { actions, wakeAtMs } = host.step(event, nowMs)
    wakeHostMs = wakeAtMs
    for (const action of actions) {
      if (action.do === 'settled') settled.push(action.state)
      if (action.do === 'send' && action.to === 'u1' && !world.isCut)
        later(3, () => toUnit({ on: 'message', from: 'h1', message: action.message }))
    }
  }
  const applied = (version: TableVersion) => toUnit({ on: 'applied', host: 'h1', version })
  const toUnit = (event: Parameters<HealthUnit['step']>[0]) => {
    const { actions, wakeAtMs } = unit.step(event, nowMs)
    wakeUnitMs = wakeAtMs
    for (const action of actions) {
      assert.is.not(action.do, 'refused')
      if (action.do === 'apply') later(world.applyMs, () => applied(action.version))
      if (action.do === 'send' && action.message.type === 'postulate-wrong') world.wrong++
      if (action.do === 'send' && !world.isCut)
        later(3, () => toHost({ on: 'message', from: 'u1', message: action.message }))
    }
  }
  const run = (forMs: number) => {
    const untilMs = nowMs + forMs
    for (;;) {
      queue.sort((a, b) => a.atMs - b.atMs)
      const atMs = Math.min(queue[0]?.atMs ?? untilMs, wakeHostMs, wakeUnitMs, untilMs)
      nowMs = Math.max(nowMs, atMs)
      if (queue.length > 0 && queue[0]!.atMs <= nowMs) queue.shift()!.run()
      else if (wakeHostMs <= nowMs) toHost({ on: 'tick' })
      else if (wakeUnitMs <= nowMs) toUnit({ on: 'tick' })
      else return
    }
  }
  toHost({ on: 'units', units: ['u1'] })
  toHost({ on: 'leader', leader: null })
  toHost({ on: 'endpoints', endpoints: [{ app: APP, capacity: 50, whenFailing: 'draining' }] })
  toUnit({ on: 'hosts', hosts: [{ name: 'h1', host: 7 }] })
  toHost({ on: 'link', unit: 'u1', up: true })
  toUnit({ on: 'link', host: 'h1', up: true })
  run(1000)
  const cached = () => unit.hosts()[0]!
  return { host, unit, toHost, run, settled, world, cached, now: () => nowMs }
}

it('rows come by snapshot and change, and heartbeats keep their lease', () => {
  const { host, unit, run, cached, now, toHost } = pair()
  assert.equal(cached().rows, host.rows())
  for (let i = 0; i < 100; i++) {
    run(333)
    assert.ok(cached().leaseUntilMs > now() + 900, `${cached().leaseUntilMs - now()}`)
    assert.ok(cached().leaseUntilMs <= now() + 3000)
    if (i % 10 === 0) toHost({ on: 'health', app: KEY, health: i % 20 === 0 ? 'healthy' : 'unknown' })
  }
  run(10)
  assert.equal(cached().rows, host.rows())
  assert.is(cached().dnsName, 'h1.example')
  assert.is(unit.counters.beats_wrong, undefined)
  assert.is(unit.counters.snapshots_unfit, undefined)
  assert.ok(unit.counters.snapshots_asked! <= 6)
})

it('longer than a chain of tokens lasts: no lease is lost', () => {
  const { unit, run, cached, now } = pair()
  for (let i = 0; i < 1100; i++) {
    run(1000)
    assert.ok(cached().leaseUntilMs > now())
  }
  assert.is(unit.counters.leases_over, undefined)
  assert.is(unit.counters.beats_wrong, undefined)
})

it('a chain lasts as many beats as it has links, and the next one begins in time', () => {
  const { host, unit, run, cached, now } = pair({ chainLinks: 4 })
  const { generation } = host.version
  for (let i = 0; i < 40; i++) {
    run(1000)
    assert.ok(cached().leaseUntilMs > now())
  }
  assert.is(host.version.generation, generation + 10)
  assert.is(unit.counters.leases_over, undefined)
  assert.is(unit.counters.beats_wrong, undefined)
})

it('an order settles once the unit holds it and it is in force', () => {
  const { toHost, run, settled, world, cached } = pair()
  world.applyMs = 700
  toHost({ on: 'order', app: KEY, state: 'draining' })
  run(600)
  assert.equal([cached().rows[0]!.target, cached().rows[0]!.current, settled], ['draining', 'active', []])
  run(1500)
  assert.equal([cached().rows[0]!.current, settled], ['draining', ['draining']])
})

it('a unit that cannot be reached holds an order up no longer than its lease, and has stopped by then', () => {
  const { toHost, run, settled, world, cached, now } = pair()
  run(5000)
  world.isCut = true
  toHost({ on: 'order', app: KEY, state: 'inactive' })
  while (settled.length === 0) run(10)
  assert.ok(cached().leaseUntilMs <= now())
  world.isCut = false
  run(20_000)
  assert.equal([cached().rows[0]!.current, cached().leaseUntilMs > now()], ['inactive', true])
})

it.run()
