import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { GenerationClock } from '../../../src/dam/clock.ts'
import { nextGeneration, timeOf } from '../../../src/dam/order.ts'

const it = suite('the time by which versions are numbered')
const WALL_MS = 1_700_000_000_000
const MOST_MS = 300_000
const generation = (ms: number): number => nextGeneration(0, WALL_MS + ms)

it('is the own clock, while nobody is ahead of it', () => {
  const clock = new GenerationClock(MOST_MS)
  assert.is(clock.at(WALL_MS, 5), WALL_MS)
  clock.saw(generation(-60_000))
  assert.is(clock.at(WALL_MS + 10, 15), WALL_MS + 10)
})

it('goes on from what another one with a clock ahead has given', () => {
  const clock = new GenerationClock(MOST_MS)
  clock.at(WALL_MS, 0)
  clock.saw(generation(240_000))
  assert.is(clock.at(WALL_MS + 1_000, 1_000), WALL_MS + 241_000)
  assert.ok(nextGeneration(0, clock.at(WALL_MS + 1_001, 1_001)) > generation(240_000))
  clock.saw(generation(100_000))
  assert.is(clock.at(WALL_MS + 2_000, 2_000), WALL_MS + 242_000)
})

it('follows nobody further than it may, so that others still believe it', () => {
  const clock = new GenerationClock(MOST_MS)
  clock.at(WALL_MS, 0)
  clock.saw(generation(600_000))
  for (let ms = 0; ms < 10_000; ms += 1_000) {
    clock.saw(generation(600_000 + ms))
    assert.is(clock.at(WALL_MS + ms, ms), WALL_MS + ms + MOST_MS)
  }
})

it('does not go back when the own clock is set back, but for more than that', () => {
  const clock = new GenerationClock(MOST_MS)
  assert.is(clock.at(WALL_MS, 0), WALL_MS)
  assert.is(clock.at(WALL_MS - 60_000, 1_000), WALL_MS + 1_000)
  assert.is(clock.at(WALL_MS - 3_600_000, 2_000), WALL_MS - 3_600_000 + MOST_MS)
})

it('the time of a generation is that of the one who gave it', () => {
  assert.is(timeOf(generation(7)), WALL_MS + 7)
  assert.is(timeOf(nextGeneration(generation(7), 0)), WALL_MS + 7)
})

it.run()
