import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { Deal } from '../../src/agent/classify/deal.ts'
import type { ServiceAllotment } from '../../src/agent/classify/update.ts'

const it = suite('deal: an allotment used up (R-B10, figure 18)')

type Given = ServiceAllotment['allotment']
const given = (
  change: Partial<Given>,
  ...shares: [host: number, weight: number, tokens?: number][]
): Given => ({
  number: 1,
  scheme: 'tokens',
  strategy: 'round-robin',
  untilMs: 5000,
  panic: false,
  shares: shares.map(([host, weight, tokens = 0]) => ({ host, weight, tokens })),
  ...change,
})
const all = (): boolean => true
const take = (deal: Deal, times: number, usable: (host: number) => boolean = all): number[] =>
  Array.from({ length: times }, () => deal.byToken(usable))
const record = (deal: Deal, times: number, usable: (host: number) => boolean = all): number[] =>
  Array.from({ length: times }, () => deal.byRecord(usable))
const count = (chosen: readonly number[]): Record<number, number> =>
  Object.fromEntries([...new Set(chosen)].sort().map(host => [host, chosen.filter(h => h === host).length]))

const SHARES: [number, number, number][] = [
  [1, 40, 3],
  [2, 35, 2],
  [3, 25, 1],
]

it('round-robin: one host after the other while they have tokens', () => {
  assert.equal(take(new Deal(given({}, ...SHARES), 0), 7), [1, 2, 3, 1, 2, 1, 0])
})

it('linear: all tokens of a host before those of the next', () => {
  assert.equal(take(new Deal(given({ strategy: 'linear' }, ...SHARES), 0), 7), [1, 1, 1, 2, 2, 3, 0])
})

it('most tokens first', () => {
  const deal = new Deal(given({ strategy: 'most-tokens-first' }, ...SHARES), 0)
  assert.equal(take(deal, 7), [1, 1, 2, 1, 2, 3, 0])
})

it('every strategy takes exactly the tokens that were dealt out', () => {
  for (const strategy of ['round-robin', 'linear', 'most-tokens-first'] as const) {
    const deal = new Deal(given({ strategy }, [1, 40, 40], [2, 35, 35], [3, 25, 25]), 0)
    assert.equal(count(take(deal, 100)), { 1: 40, 2: 35, 3: 25 }, strategy)
    assert.is(deal.byToken(all), 0)
  }
})

it('a host that cannot be used keeps its tokens', () => {
  for (const strategy of ['round-robin', 'linear', 'most-tokens-first'] as const) {
    const deal = new Deal(given({ strategy }, ...SHARES), 0)
    assert.equal(count(take(deal, 4, host => host !== 1)), { 0: 1, 2: 2, 3: 1 }, strategy)
    assert.equal(take(deal, 4), [1, 1, 1, 0])
  }
})

it('is low when a quarter of the tokens is left; other schemes never are', () => {
  const deal = new Deal(given({}, [1, 1, 4], [2, 1, 4]), 0)
  take(deal, 5)
  assert.not(deal.isLow)
  take(deal, 1)
  assert.ok(deal.isLow)
  assert.not(new Deal(given({ scheme: 'hash' }, [1, 1]), 0).isLow)
})

it('percentages: at no moment is a host further than a connection from its share', () => {
  const shares: [number, number][] = [
    [1, 40],
    [2, 35],
    [3, 25],
  ]
  const chosen = record(new Deal(given({ scheme: 'percentages' }, ...shares), 0), 1000)
  assert.equal(count(chosen), { 1: 400, 2: 350, 3: 250 })
  for (let n = 1; n <= 1000; n++) {
    const counts = count(chosen.slice(0, n))
    for (const [host, percent] of shares)
      assert.ok(Math.abs((counts[host] ?? 0) - (n * percent) / 100) < 1.01, `host ${host} after ${n}`)
  }
})

it('percentages: without a host the others keep their proportions, and it owes nobody anything afterwards', () => {
  const deal = new Deal(given({ scheme: 'percentages' }, [1, 50], [2, 25], [3, 25]), 0)
  assert.equal(count(record(deal, 100, host => host !== 3)), { 1: 67, 2: 33 })
  const after = count(record(deal, 100))
  assert.ok(after[3]! >= 24 && after[3]! <= 26, `host 3 got ${after[3]}`)
  assert.is(
    deal.byRecord(() => false),
    0,
  )
})

it('the running record goes on from one allotment to the next', () => {
  let deal = new Deal(given({ scheme: 'percentages' }, [1, 90], [2, 10]), 0)
  const chosen: number[] = []
  for (let number = 2; number < 102; number++) {
    chosen.push(deal.byRecord(all))
    deal = new Deal(given({ scheme: 'percentages', number }, [1, 180], [2, 20]), 0, deal)
  }
  assert.equal(count(chosen), { 1: 90, 2: 10 })
})

it('asks ahead of its end: a quarter of the time, at most a second', () => {
  assert.is(new Deal(given({ untilMs: 7000 }), 2000).renewAtMs, 6000)
  assert.is(new Deal(given({ untilMs: 2400 }), 2000).renewAtMs, 2300)
  assert.is(new Deal(given({ untilMs: 1000 }), 2000).renewAtMs, 1000)
})

it('no shares: nobody', () => {
  const deal = new Deal(given({}), 0)
  assert.equal([deal.byToken(all), deal.byRecord(all), deal.has(1)], [0, 0, false])
})

it.run()
