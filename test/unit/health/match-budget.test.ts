/** What matching bodies may take of the agent's main thread, whoever chooses the bodies. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  MATCH_BURST_MS,
  MATCH_SHARE,
  MAX_MATCH_MS,
  MatchBudget,
  QUICK_MATCH_MS,
  QUICK_MS,
} from '../../../src/health/probe/match-budget.ts'

const it = suite('health/match budget')

const limit = (budget: MatchBudget, check: string, nowMs: number): number => {
  const answer = budget.ask(check, nowMs)
  return answer !== 'refused' && 'limitMs' in answer ? answer.limitMs : 0
}

it('whatever all checks need and whenever they ask, they get their share and what was saved up', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: 40 }), fc.nat({ max: 100 }), fc.nat({ max: 30 })), {
        minLength: 200,
        maxLength: 400,
      }),
      asks => {
        const budget = new MatchBudget()
        let nowMs = 0
        let spentMs = 0
        for (const [check, needsMs, gapMs] of asks) {
          nowMs += gapMs
          const tookMs = Math.min(needsMs, limit(budget, `c${check}`, nowMs))
          if (tookMs === 0) continue
          nowMs += tookMs
          spentMs += tookMs
          budget.took(`c${check}`, tookMs, nowMs)
        }
        assert.ok(spentMs <= MATCH_BURST_MS + MAX_MATCH_MS + nowMs * MATCH_SHARE, `${spentMs} of ${nowMs} ms`)
      },
    ),
    { includeErrorInReport: true },
  )
})

it('a hundred that always take all they get leave quick ones their turns', () => {
  const budget = new MatchBudget()
  let [turns, late] = [0, 0]
  for (let nowMs = 0; nowMs < 120_000; nowMs += 100) {
    for (let i = 0; i < 100; i++) {
      const tookMs = limit(budget, `evil${i}`, nowMs)
      if (tookMs > 0) budget.took(`evil${i}`, tookMs, nowMs)
    }
    const answer = budget.ask('good', nowMs)
    turns++
    if (answer === 'refused') throw new Error('a quick one was refused')
    if ('waitMs' in answer) {
      late++
      assert.ok(answer.waitMs <= 10 * (QUICK_MATCH_MS + 1), `${answer.waitMs} ms`)
    } else budget.took('good', 0.1, nowMs)
  }
  // Only while all the slow ones are not yet known, or are forgotten and tried again.
  assert.ok(late < turns / 5, `${late} of ${turns} turns had to wait`)
})

it('one that was slow is given more time than a quick one, and is taken for quick again a minute later', () => {
  const budget = new MatchBudget()
  assert.is(limit(budget, 'a', 0), QUICK_MATCH_MS)
  budget.took('a', QUICK_MS, 0)
  assert.is(limit(budget, 'a', 1), MAX_MATCH_MS)
  budget.took('b', 150, 1)
  assert.is(budget.ask('a', 2), 'refused')
  assert.is(limit(budget, 'c', 2), QUICK_MATCH_MS)
  assert.is(limit(budget, 'a', 59_000), MAX_MATCH_MS)
  assert.is(limit(budget, 'a', 60_000), QUICK_MATCH_MS)
})

it.run()
