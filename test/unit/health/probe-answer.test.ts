import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bodyFits } from '../../../src/agent/health/body-fits.ts'
import { bodyRule, statusFits, statusRanges } from '../../../src/health/probe/answer.ts'
import { MatchBudget } from '../../../src/health/probe/match-budget.ts'

const it = suite('health/probe-answer')

it('statuses: one, a range, a list', () => {
  assert.equal(statusRanges(204), [[204, 204]])
  assert.equal(statusRanges('200-399'), [[200, 399]])
  assert.equal(statusRanges([200, '301-302']), [
    [200, 200],
    [301, 302],
  ])
  for (const bad of [0, 99, 600, 200.5, '', '200-', '399-200', '200,204', '2xx', []])
    assert.is(statusRanges(bad), null, JSON.stringify(bad))
})

it('a status fits when it lies in one of the ranges', () => {
  const status = fc.integer({ min: 100, max: 599 })
  fc.assert(
    fc.property(fc.array(fc.tuple(status, status), { minLength: 1, maxLength: 5 }), status, (pairs, code) => {
      const sorted = pairs.map(([a, b]) => [Math.min(a, b), Math.max(a, b)])
      const ranges = statusRanges(sorted.map(([from, to]) => `${from}-${to}`))!
      assert.is(
        statusFits(ranges, code),
        sorted.some(([from, to]) => from! <= code && code <= to!),
      )
    }),
  )
})

const never = new AbortController().signal
const fits = (rule: string, body: string): Promise<string> =>
  bodyFits(rule, bodyRule(rule), body, never, new MatchBudget())
const EVIL = '/^(a+)+$/'
const EVIL_BODY = `${'a'.repeat(60_000)}b`

it('bodies: a text, or an expression between slashes', async () => {
  assert.is(await fits('rea.y', 'all ready'), 'differs')
  assert.is(await fits('rea.y', 'all rea.y'), 'fits')
  assert.is(await fits('/rea.y$/', 'all ready'), 'fits')
  assert.is(await fits('/READY/i', 'all ready'), 'fits')
  assert.is(await fits('/READY/', 'all ready'), 'differs')
  assert.is(await fits('/', 'a/b'), 'fits')
  assert.throws(() => bodyRule('/(/'), SyntaxError)
  assert.throws(() => bodyRule('/a/g'), /the flag g is none of/)
})

it('an expression that would take for ever is given up', async () => {
  // On a machine that is busy with other things it may have used up the time of all before it is known to be slow.
  assert.match(await fits(EVIL, EVIL_BODY), /^(slow|no-time)$/)
  assert.is(await fits('/^a+$/', 'a'.repeat(65_536)), 'fits')
})

it('many slow ones together soon get no more time, and the others do', async () => {
  const budget = new MatchBudget()
  const told: string[] = []
  for (let i = 0; i < 40; i++) told.push(await bodyFits(`evil${i}`, bodyRule(EVIL), EVIL_BODY, never, budget))
  assert.ok(
    told.every(answer => answer === 'slow' || answer === 'no-time'),
    told.join(),
  )
  assert.ok(told.includes('no-time'), told.join())
  assert.is(await bodyFits('good', bodyRule('/b$/'), EVIL_BODY, never, budget), 'fits')
})

it('whoever waits for its turn stops when its time is over', async () => {
  const budget = new MatchBudget()
  budget.took('evil', 1_000, performance.now())
  const over = AbortSignal.timeout(20)
  const waiting = bodyFits('good', bodyRule('/b$/'), 'b', over, budget)
  await waiting.then(
    () => assert.unreachable('it had no turn'),
    error => assert.is(error.name, 'AbortError'),
  )
})

it.run()
