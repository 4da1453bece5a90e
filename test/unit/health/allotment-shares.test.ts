import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Candidate, sharesOf } from '../../../src/health/allotment/shares.ts'
import { statesOf } from '../../../src/health/allotment/states.ts'
import { divideTokens, TokenTotal } from '../../../src/health/allotment/tokens.ts'
import { UpTimes } from '../../../src/health/allotment/up-times.ts'
import type { Row } from '../../../src/health/types.ts'
import { candidate, row } from '../../support/candidates.ts'

const it = suite('allotment shares')

const NOW = 1000
const weights = (candidates: readonly Candidate[], slowStartMs = 0): Record<string, number> =>
  Object.fromEntries(
    sharesOf(candidates, { slowStartMs }, NOW).shares.map(({ host, weight }) => [host, weight]),
  )
const inactive = { target: 'inactive', current: 'inactive' } as const
const failing = { health: 'failing', cause: 'health', ...inactive } as const

it('shares are what capacity the load has left', () => {
  assert.equal(weights([candidate('a', { load: 60 }), candidate('b', { capacity: 20, load: 50 })]), {
    a: 4,
    b: 10,
  })
  assert.equal(weights([candidate('a', { health: 'unknown' })]), { a: 10 })
})

it('a full host still gets a little', () => {
  assert.equal(weights([candidate('a', { load: 255 }), candidate('b')]), { a: 0.1, b: 10 })
})

it('each thing that rules a row out, alone', () => {
  const ruled: [Partial<Row>, Partial<Candidate>][] = [
    [{ capacity: 0 }, {}],
    [{ target: 'draining' }, {}],
    [{ current: 'draining' }, {}],
    [failing, {}],
    [{ health: 'failing' }, {}],
    [{}, { alive: false }],
    [{}, { leaseUntilMs: NOW }],
  ]
  for (const [change, rest] of ruled) {
    const { shares, panic } = sharesOf(
      [candidate('a'), candidate('b', change, rest)],
      { slowStartMs: 0 },
      NOW,
    )
    assert.equal(
      shares.map(share => share.host),
      ['a'],
      JSON.stringify([change, rest]),
    )
    assert.not(panic)
  }
})

it('all unhealthy: those are used by capacity whose only fault that is', () => {
  const { shares, panic } = sharesOf(
    [
      candidate('a', { ...failing, load: 50 }),
      candidate('b', { ...failing, capacity: 20 }),
      candidate('drained', { ...failing, cause: 'order' }),
      candidate('stopping', { ...failing, cause: 'stopping' }),
      candidate('lost', failing, { leaseUntilMs: NOW }),
      candidate('dead', failing, { alive: false }),
      candidate('none', { ...failing, capacity: 0 }),
    ],
    { slowStartMs: 5000 },
    NOW,
  )
  assert.ok(panic)
  assert.equal(
    shares.map(({ host, weight }) => [host, weight]),
    [
      ['a', 10],
      ['b', 20],
    ],
  )
})

it('nobody that may: no shares, and no panic', () => {
  assert.equal(sharesOf([], { slowStartMs: 0 }, NOW), { shares: [], panic: false, overload: false })
  const drained = candidate('a', { cause: 'order', target: 'draining', current: 'draining' })
  assert.equal(sharesOf([drained], { slowStartMs: 0 }, NOW).shares, [])
})

it('a row on its way back from an order is not used before its host has settled it, even alone', () => {
  const back = candidate('a', { target: 'active', current: 'draining' })
  assert.equal(sharesOf([back], { slowStartMs: 0 }, NOW).shares, [])
})

it('extreme overload: by capacity alone', () => {
  const full = [candidate('a', { load: 100 }), candidate('b', { load: 200, capacity: 20 })]
  assert.equal(sharesOf(full, { slowStartMs: 1000 }, NOW).overload, true)
  assert.equal(weights(full, 1000), { a: 10, b: 20 })
  assert.not(sharesOf([...full, candidate('c', { load: 99 })], { slowStartMs: 0 }, NOW).overload)
})

it('all drain because of overload: they go on by capacity, before any that is unhealthy', () => {
  const drains = { target: 'draining', current: 'draining', cause: 'overload', load: 120 } as const
  const all = [candidate('a', drains), candidate('b', failing)]
  assert.equal(sharesOf(all, { slowStartMs: 0 }, NOW).overload, true)
  assert.equal(weights(all), { a: 10 })
  assert.equal(weights([...all, candidate('c')]), { c: 10 })
})

it('slow start goes from a tenth to all, and a lone host has all the same', () => {
  const at = (upSinceMs: number): number => weights([candidate('a', {}, { upSinceMs })], 1000).a
  assert.equal([at(1000), at(500), at(0), at(-9000), at(2000)], [1, 5.5, 10, 10, 1])
})

it('slow start goes on in extreme overload, and its host comes to its full share in time', () => {
  const share = (loads: number, upSinceMs: number): number => {
    const all = [candidate('old', { load: loads }), candidate('new', { load: loads }, { upSinceMs })]
    const { shares, overload } = sharesOf(all, { slowStartMs: 1000 }, NOW)
    assert.is(overload, loads >= 100)
    return shares[1]!.weight / (shares[0]!.weight + shares[1]!.weight)
  }
  for (const upSinceMs of [1000, 500, 250, 0, -9000])
    assert.ok(Math.abs(share(100, upSinceMs) - share(99, upSinceMs)) < 1e-9, 'no leap as the last host fills')
  assert.ok(share(100, 1000) < 0.1)
  assert.is(share(100, 0), 0.5)
})

it('what only drains for overload, or fails, has no slow start', () => {
  const drains = { target: 'draining', current: 'draining', cause: 'overload', load: 120 } as const
  for (const change of [drains, failing]) {
    const never = { upSinceMs: Number.POSITIVE_INFINITY }
    assert.equal(weights([candidate('a', change, never), candidate('b', change, never)], 1000), {
      a: 10,
      b: 10,
    })
  }
})

it('rows of one host count together', () => {
  assert.equal(weights([candidate('a'), candidate('a', { load: 50 })]), { a: 15 })
})

it('states: the stricter of target and current; whoever has a share is active', () => {
  const candidates = [
    candidate('a'),
    candidate('b', { target: 'inactive' }),
    candidate('c', { current: 'draining' }),
    candidate('d', failing),
    candidate('e', { ...inactive, load: 50 }),
  ]
  assert.equal(
    statesOf(candidates, [{ host: 'd' }]).map(({ host, state, weight }) => [host, state, weight]),
    [
      ['a', 'active', 10],
      ['b', 'inactive', 10],
      ['c', 'draining', 10],
      ['d', 'active', 10],
      ['e', 'inactive', 5],
    ],
  )
})

it('tokens: the example of figure 18, largest remainder, at least one each', () => {
  const divide = (total: number, ...weights: number[]): number[] =>
    divideTokens(
      total,
      weights.map(weight => ({ weight })),
    )
  assert.equal(divide(100, 40, 35, 25), [40, 35, 25])
  assert.equal(divide(10, 1, 1, 1), [4, 3, 3])
  assert.equal(divide(10, 1000, 1, 1), [8, 1, 1])
  assert.equal(divide(2, 1, 5, 4), [0, 1, 1])
  assert.equal(divide(0, 1, 2), [0, 0])
  assert.equal(divide(5), [])
})

it('tokens add up, never starve anybody, and differ from the exact division by less than the smallest ones took', () => {
  const weight = fc.oneof(fc.integer({ min: 1, max: 99 }), fc.double({ min: 0.001, max: 99, noNaN: true }))
  fc.assert(
    fc.property(
      fc.array(weight, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 5000 }),
      (all, total) => {
        const tokens = divideTokens(
          total,
          all.map(weight => ({ weight })),
        )
        assert.is(
          tokens.reduce((a, b) => a + b, 0),
          total,
        )
        const sum = all.reduce((a, b) => a + b, 0)
        tokens.forEach((count, i) => {
          assert.ok(Number.isInteger(count) && count >= (total >= all.length ? 1 : 0))
          assert.ok(count <= Math.ceil((all[i] / sum) * total) + 1)
          assert.ok(count >= Math.floor((all[i] / sum) * total) - all.length)
        })
        all.forEach((weight, i) => {
          all.forEach((other, k) => {
            if (weight > other) assert.ok(tokens[i] >= tokens[k], 'more weight, more tokens')
          })
        })
      },
    ),
  )
})

it('how many tokens are dealt out follows how fast they go', () => {
  const total = new TokenTotal(100)
  assert.is(total.next(true, 0, 1000), 100)
  assert.is(total.next(true, 100, 1000), 200)
  assert.is(total.next(true, 400, 1000), 200)
  assert.is(total.next(true, 1150, 1000), 100)
  assert.is(total.next(false, 1160, 1000), 100, 'shares that change often are no reason for more')
  assert.is(total.next(false, 2900, 1000), 100)
  let nowMs = 3000
  for (let i = 0; i < 40; i++) total.next(true, ++nowMs, 1000)
  assert.is(total.next(true, ++nowMs, 1000), 1_000_000)
  for (let i = 0; i < 40; i++) {
    nowMs += 800
    total.next(true, nowMs, 1000)
  }
  assert.is(total.next(true, nowMs + 800, 1000), 10)
})

it('up times begin when a row comes up, and anew after each break', () => {
  const times = new UpTimes()
  times.update('a', [row({ id: 1 }), row({ id: 2, target: 'draining' })], 5)
  times.update('a', [row({ id: 1, load: 50 }), row({ id: 2 })], 7)
  assert.equal([times.of('a', 1), times.of('a', 2), times.of('b', 1)], [5, 7, Number.POSITIVE_INFINITY])
  times.update('a', [row({ id: 1, health: 'failing' }), row({ id: 2 })], 8)
  times.update('a', [row({ id: 1 }), row({ id: 2 })], 9)
  assert.equal([times.of('a', 1), times.of('a', 2)], [9, 7])
  times.update('a', [], 10)
  assert.is(times.of('a', 2), Number.POSITIVE_INFINITY)
})

it.run()
