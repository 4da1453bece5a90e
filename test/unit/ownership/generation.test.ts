import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { isAbove, MAX_GENERATION, nextGeneration } from '../../../src/ownership/generation.ts'
import { seeded } from '../../support/random.ts'

const it = suite('ownership/generation')
const HALF = (MAX_GENERATION + 1) / 2

it('of two generations one is above the other, whoever compares; any is above none', () => {
  const random = seeded(1)
  const some = [1, 2, HALF - 1, HALF, HALF + 1, HALF + 2, MAX_GENERATION - 1, MAX_GENERATION]
  for (let i = 0; i < 200; i++) some.push(1 + Math.floor(random() * MAX_GENERATION))
  for (const a of some) {
    assert.ok(isAbove(a, 0) && !isAbove(0, a) && !isAbove(a, a))
    for (const b of some) if (a !== b) assert.is(isAbove(a, b), !isAbove(b, a), `${a} ${b}`)
  }
  assert.ok(isAbove(3, 2) && isAbove(1, MAX_GENERATION) && isAbove(5, MAX_GENERATION - 5))
})

it('none is the last', () => {
  assert.equal(
    [nextGeneration(0), nextGeneration(7), nextGeneration(7, 9), nextGeneration(9, 7)],
    [1, 8, 10, 10],
  )
  for (const last of [1, HALF, MAX_GENERATION - 1, MAX_GENERATION]) {
    const next = nextGeneration(last)
    assert.ok(isAbove(next, last) && next >= 1 && next <= MAX_GENERATION, `${last}`)
  }
  assert.is(nextGeneration(MAX_GENERATION, 3), 4)
})

it.run()
