import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { joinLines, oneLine, plain, plainJson } from '../../src/plain-text.ts'

const it = suite('plain-text')

it('keeps words and newlines, and leaves out what moves the cursor', () => {
  assert.is(plain('é ✓ 日本 {a: "b"}\n\nc'), 'é ✓ 日本 {a: "b"}\n\nc')
  assert.is(plain('a\x1b[31mb\x1b]8;;http://x\x07c\x1b]8;;\x07\x9b2Jd'), 'abcd')
  assert.is(plain('a\r\nb\rc\td\x00\x7f\x85e'), 'a\nb c d   e')
  assert.is(plain('a\u202eb\u2066c\u200fd\u061ce\u2028f'), 'abcde f')
  assert.is(oneLine('a\nb\r\nc\u2029d'), 'a b  c d')
  assert.is(joinLines('a\n  b\r\n\nc\n'), 'a; b; c')
})

const hostile = fc.string({
  unit: fc.constantFrom(
    'a',
    ' ',
    '\n',
    '\r',
    '\x1b',
    '[',
    ']',
    '2',
    ';',
    'J',
    '\x07',
    '\x9b',
    '\u202e',
    '\u2067',
    '\u2028',
  ),
})
const ORDERS = /[^\P{Cc}\n]|[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u

it('whatever the text, nothing is left that a terminal obeys', () => {
  fc.assert(
    fc.property(hostile, text => {
      assert.not.match(plain(text), ORDERS)
      for (const one of [oneLine(text), joinLines(text)]) assert.not.match(one, /\p{Cc}/u)
      assert.not.match(oneLine(text), ORDERS)
      const json = plainJson(JSON.stringify({ text }))
      assert.not.match(json, ORDERS)
      assert.is(JSON.parse(json).text, text)
    }),
    { numRuns: 2_000 },
  )
})

it.run()
