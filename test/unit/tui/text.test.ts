import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { clean, fit, short, sparkline, wrap } from '../../../src/tui/text.ts'

const it = suite('tui/text')

it('short numbers have at most five cells', () => {
  const cases: [number, string][] = [
    [0, '0'],
    [0.25, '0.3'],
    [7, '7'],
    [9999, '9999'],
    [9999.4, '9999'],
    [10_000, '10.0k'],
    [123_456, '123k'],
    [999_400, '999k'],
    [999_500, '1.0M'],
    [4_500_000, '4.5M'],
  ]
  for (const [value, text] of cases) assert.is(short(value), text)
  fc.assert(fc.property(fc.double({ min: 0, max: 9e13, noNaN: true }), value => short(value).length <= 5))
})

it('fit is exactly as wide as asked and marks what it cut', () => {
  assert.is(fit('abc', 5), 'abc  ')
  assert.is(fit('abc', 5, true), '  abc')
  assert.is(fit('abcdef', 4), 'abc~')
  fc.assert(
    fc.property(fc.string(), fc.nat(50), fc.boolean(), (text, width, right) => {
      assert.is(fit(text, width, right).length, width)
    }),
  )
})

it('nothing that another machine sends moves the cursor', () => {
  assert.is(clean('\x1b[2Jh1\x07\r\nh2'), 'h1? h2')
  assert.is(clean('a\u202eb'), 'a?b')
  assert.is(clean('世界'), '??')
  fc.assert(fc.property(fc.string({ unit: 'binary' }), text => !/[\p{Cc}\p{M}]/u.test(clean(text))))
})

it('sparklines scale to the largest value and never draw something as nothing', () => {
  assert.is(sparkline([0, 1, 4, 8], 4, true), '▁▂▄█')
  assert.is(sparkline([0, 1, 4, 8], 4, false), '_.:#')
  assert.is(sparkline([1, 1000, 0], 6, true), '   ▂█▁')
  assert.is(sparkline([5, 0, 0], 2, true), '▁▁')
  assert.is(sparkline([], 3, true), '   ')
  assert.is(sparkline([3], 0, true), '')
})

it('wrap keeps every word', () => {
  assert.equal(wrap('one two three', 7), ['one two', 'three'])
  assert.equal(wrap('abcdefgh', 3), ['abc', 'def', 'gh'])
  fc.assert(
    fc.property(
      fc.array(fc.stringMatching(/^[a-z]{1,12}$/)),
      fc.integer({ min: 3, max: 40 }),
      (words, width) => {
        const lines = wrap(words.join(' '), width)
        assert.ok(lines.every(line => line.length <= width))
        assert.is(lines.join('').replaceAll(' ', ''), words.join(''))
      },
    ),
  )
})

it.run()
