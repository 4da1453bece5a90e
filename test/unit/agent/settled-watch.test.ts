/** Directives that are followed, as events: few of them whatever flaps, and the last word is never lost. */
import { setTimeout as delay } from 'node:timers/promises'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EventLog } from '../../../src/agent/events.ts'
import { type SettledRates, SettledWatch } from '../../../src/agent/health/settled-watch.ts'

const it = suite('agent/health/settled-watch')

const setUp = (rates?: SettledRates) => {
  const events = new EventLog(1000, Date.now)
  const looks: number[] = []
  const watch = new SettledWatch(events, services => void looks.push(services.size), rates)
  const add = (services: readonly (string | undefined)[], what: string): void =>
    watch.add(services.map(service => ({ service, host: 'h1', what })))
  const said = () => events.query({ after: 0, limit: 1000 }).events.map(({ text }) => text)
  return { watch, add, said, looks }
}
const many = Array.from({ length: 1024 }, (_, i) => `s${i}`)

it('what settles together is one sentence and one look at all endpoints, a few are one each', () => {
  const { watch, add, said, looks } = setUp()
  add(many, 'draining')
  assert.equal(said(), ['every unit has the applications of s0, s1, s2 and 1021 more on h1 draining'])
  assert.equal(looks, [1024])
  add(['s0', undefined], 'active')
  assert.equal(said().slice(1), [
    'every unit has the application of s0 on h1 active',
    'every unit has the application of a former service on h1 active',
  ])
  watch.stop()
})

it('one that flaps is told of a few times, and others all the same', () => {
  const { watch, add, said } = setUp()
  for (let i = 0; i < 500; i++) add(['web'], i % 2 === 0 ? 'draining: it fails' : 'active')
  assert.is(said().length, 6)
  add(['dns'], 'draining')
  assert.is(said().at(-1), 'every unit has the application of dns on h1 draining')
  watch.stop()
})

it('many that flap do not fill the ring', () => {
  const { watch, add, said } = setUp()
  for (const service of many) add([service], 'draining: it fails')
  assert.ok(said().length <= 25, `${said().length}`)
  watch.stop()
})

it('what waited is told as it then is', async () => {
  const rates = { each: { ratePerS: 20, burst: 2 }, all: { ratePerS: 100, burst: 9 }, retryMs: 10 }
  const { watch, add, said } = setUp(rates)
  try {
    for (const what of ['draining', 'active', 'draining', 'active', 'inactive']) add(['web'], what)
    const of = (what: string) => `every unit has the application of web on h1 ${what}`
    assert.equal(said(), [of('draining'), of('active')])
    for (let i = 0; i < 1000 && said().length < 3; i++) await delay(5)
    assert.equal(said(), [of('draining'), of('active'), of('inactive')])
  } finally {
    watch.stop()
  }
})

it.run()
