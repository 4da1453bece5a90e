import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DropRates, type DropRow } from '../../../src/cli/drop-rates.ts'
import type { DropStatus } from '../../../src/control/types.ts'

const it = suite('cli/drop-rates')

const drop = (number: number, count: number, where: DropStatus['where'] = 'kernel'): DropStatus => ({
  ...{ number, count, where },
  reason: `reason ${number}`,
  hint: '-',
})
const short = (rows: readonly DropRow[]): unknown[] =>
  rows.map(({ node, number, perSecond }) => [node, number, perSecond])

it('the first look has no rates; then those that drop most come first', () => {
  const rates = new DropRates()
  const first = rates.look([{ node: 'f1', drops: [drop(1, 5), drop(9, 100)] }], 1000)
  assert.equal(short(first), [
    ['f1', 9, null],
    ['f1', 1, null],
  ])
  const next = rates.look([{ node: 'f1', drops: [drop(1, 45), drop(9, 101), drop(3, 10)] }], 3000)
  assert.equal(short(next), [
    ['f1', 1, 20],
    ['f1', 3, 5],
    ['f1', 9, 0.5],
  ])
})

it('kernel and agent, and each node, by itself', () => {
  const rates = new DropRates()
  const drops = (n: number) => [drop(9, n), drop(9, 2 * n, 'agent')]
  rates.look(
    [
      { node: 'f1', drops: drops(0) },
      { node: 'c1', drops: drops(10) },
    ],
    0,
  )
  const rows = rates.look(
    [
      { node: 'f1', drops: drops(10) },
      { node: 'c1', drops: drops(10) },
    ],
    1000,
  )
  assert.equal(
    rows.map(({ node, where, perSecond }) => [node, where, perSecond]),
    [
      ['f1', 'agent', 20],
      ['f1', 'kernel', 10],
      ['c1', 'agent', 0],
      ['c1', 'kernel', 0],
    ],
  )
})

it('a new agent, one that was away, and a clock that stands still make no rates', () => {
  const rates = new DropRates()
  rates.look([{ node: 'f1', drops: [drop(1, 500)] }], 0)
  assert.is(rates.look([{ node: 'f1', drops: [drop(1, 3)] }], 1000)[0]?.perSecond, null)
  assert.equal(rates.look([{ node: 'f1', drops: null, error: 'gone' }], 2000), [])
  assert.is(rates.look([{ node: 'f1', drops: [drop(1, 900)] }], 3000)[0]?.perSecond, null)
  assert.is(rates.look([{ node: 'f1', drops: [drop(1, 901)] }], 3000)[0]?.perSecond, null)
  assert.is(rates.look([{ node: 'f1', drops: [drop(1, 902)] }], 4000)[0]?.perSecond, 1)
})

it.run()
