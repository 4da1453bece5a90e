import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { bodyFits } from '../../../src/agent/health/body-fits.ts'
import { bodyRule, statusFits, statusRanges } from '../../../src/health/probe/answer.ts'

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

it('bodies: a text, or an expression between slashes', () => {
  assert.is(bodyFits(bodyRule('rea.y'), 'all ready'), false)
  assert.is(bodyFits(bodyRule('rea.y'), 'all rea.y'), true)
  assert.is(bodyFits(bodyRule('/rea.y$/'), 'all ready'), true)
  assert.is(bodyFits(bodyRule('/READY/i'), 'all ready'), true)
  assert.is(bodyFits(bodyRule('/READY/'), 'all ready'), false)
  assert.is(bodyFits(bodyRule('/'), 'a/b'), true)
  assert.throws(() => bodyRule('/(/'), SyntaxError)
  assert.throws(() => bodyRule('/a/g'), /the flag g is none of/)
})

it('an expression that would take for ever is given up', () => {
  assert.is(bodyFits(bodyRule('/^(a+)+$/'), `${'a'.repeat(60_000)}b`), null)
  assert.is(bodyFits(bodyRule('/^a+$/'), 'a'.repeat(65_536)), true)
})

it.run()
