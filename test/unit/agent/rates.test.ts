import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { sumOfRates, type TrafficCount, TrafficRates } from '../../../src/agent/rates.ts'

const it = suite('agent/rates')
const count = (packets: number, bytes = packets * 100, connections = packets / 10): TrafficCount => ({
  packets,
  bytes,
  connections,
})
const one = (value: TrafficCount): Map<string, TrafficCount> => new Map([['web', value]])

it('two samples make a rate, one makes none', () => {
  const rates = new TrafficRates(5000)
  assert.is(rates.of('web'), null)
  rates.sample(1000, one(count(100)))
  assert.is(rates.of('web'), null)
  rates.sample(3000, one(count(300)))
  assert.equal(rates.of('web'), { packets: 100, bytes: 10_000, connections: 10 })
  assert.is(rates.of('dns'), null)
})

it('is over the window, and no longer', () => {
  const rates = new TrafficRates(5000)
  for (let s = 0; s <= 10; s++) rates.sample(s * 1000, one(count(s <= 5 ? s * 1000 : 5000)))
  // From 5 s on nothing came; 10 s is the newest, 5 s the oldest in the window.
  assert.equal(rates.of('web'), { packets: 0, bytes: 0, connections: 0 })
})

it('a counter that fell began anew', () => {
  const rates = new TrafficRates(5000)
  rates.sample(0, one(count(1_000_000)))
  rates.sample(1000, one(count(10)))
  assert.is(rates.of('web'), null)
  rates.sample(2000, one(count(30)))
  assert.is(rates.of('web')?.packets, 20)
})

it('a service that went and came back tells nothing of the time between', () => {
  const rates = new TrafficRates(5000)
  rates.sample(0, one(count(10)))
  rates.sample(1000, new Map())
  assert.is(rates.of('web'), null)
  rates.sample(2000, one(count(1000)))
  assert.is(rates.of('web'), null)
})

it('a clock that stands still, and many samples at once', () => {
  const rates = new TrafficRates(5000)
  for (let i = 0; i < 100; i++) rates.sample(1000, one(count(i)))
  assert.is(rates.of('web'), null)
  rates.sample(1500, one(count(199)))
  assert.is(rates.of('web')?.packets, 200)
})

it('sums', () => {
  assert.is(sumOfRates([null, null]), null)
  assert.is(sumOfRates([]), null)
  const rate = { packets: 0.1, bytes: 2, connections: 3 }
  assert.equal(sumOfRates([rate, null, { ...rate, packets: 0.2 }]), {
    packets: 0.3,
    bytes: 4,
    connections: 6,
  })
})

it('connections that are not counted have no rate, and are no hindrance to a sum', () => {
  const rates = new TrafficRates()
  const count = (packets: number, connections: number | null) => ({ packets, bytes: 0, connections })
  for (const [atMs, n] of [
    [0, 0],
    [1000, 10],
  ] as const)
    rates.sample(
      atMs,
      new Map([
        ['a', count(n, null)],
        ['b', count(n, n)],
      ]),
    )
  assert.equal(rates.of('a'), { packets: 10, bytes: 0, connections: null })
  assert.equal(sumOfRates([rates.of('a'), rates.of('b')]), { packets: 20, bytes: 0, connections: 10 })
  assert.is(sumOfRates([rates.of('a')])?.connections, null)
})

it.run()
