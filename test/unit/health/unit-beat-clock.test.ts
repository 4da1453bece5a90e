/** A host's beats by the clock of a unit: never later than they are. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { BeatClock } from '../../../src/health/unit/beat-clock.ts'

const it = suite('health/unit beat clock')
const BEAT_MS = 1000
const SETTINGS = { askAgainMs: 1000, retieMs: 300_000 }

const drifts = fc.double({ min: -4e-4, max: 4e-4, noNaN: true })

it('a beat counts as no later than it was, with clocks that drift, and not much earlier after some questions', () => {
  fc.assert(
    fc.property(fc.nat({ max: 999 }), drifts, fc.nat({ max: 30 }), (phase, drift, tripMs) => {
      const clock = new BeatClock(BEAT_MS, 3 * BEAT_MS)
      const toHost = (nowMs: number) => phase + nowMs * (1 + drift)
      const happened = (beat: number) => ((beat - 1) * BEAT_MS - phase) / (1 + drift)
      let nowMs = 0
      let asked = 0
      for (; nowMs < 900_000; asked++) {
        const beat = Math.ceil(toHost(nowMs + tripMs) / BEAT_MS) + 1
        clock.answered(nowMs, beat, nowMs + 2 * tripMs, SETTINGS)
        const nextMs = clock.askAtMs
        assert.ok(nextMs >= nowMs + 1000)
        for (const atMs of [nowMs + 2 * tripMs + 1, nextMs - 1]) {
          const last = Math.floor(toHost(atMs) / BEAT_MS) + 1
          assert.not(clock.isAhead(last, atMs))
          assert.ok(clock.timeOf(last, atMs) <= happened(last) + 1e-3)
          if (asked > 4) assert.ok(clock.timeOf(last, atMs) > happened(last) - 600)
        }
        nowMs = nextMs
      }
      assert.ok(asked <= 16, `${asked} questions`)
    }),
    { numRuns: 200, includeErrorInReport: true },
  )
})

it('a question comes at the middle between the bounds; heard beats move the upper one, and may make it needless', () => {
  const clock = new BeatClock(BEAT_MS, 3 * BEAT_MS)
  // Beat 5 is between 10_000 and 11_000.
  clock.answered(10_000, 5, 10_000, SETTINGS)
  assert.is(clock.askAtMs, 11_500)
  clock.heard(5, 10_200)
  clock.answered(11_500, 7, 11_500, SETTINGS)
  assert.is(clock.askAtMs, 311_500)
  assert.ok(Math.abs(clock.timeOf(7, 12_500) - 12_000) < 2)
  assert.ok(clock.isAhead(7, 11_400))
  assert.not(clock.isAhead(7, 11_600))
})

it('a lost answer is asked for again', () => {
  const clock = new BeatClock(BEAT_MS, 3 * BEAT_MS)
  assert.is(clock.askAtMs, Number.POSITIVE_INFINITY)
  clock.asked(1000)
  assert.is(clock.askAtMs, 9000)
})

it.run()
