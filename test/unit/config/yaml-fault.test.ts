/** Texts that are no YAML: where, and what to do, in words of ours. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseDocument } from '../../../src/config/document.ts'
import { ShuntError } from '../../../src/errors.ts'

const it = suite('config/yaml-fault')

const errorsOf = (text: string): string[] => {
  try {
    parseDocument(text, 'c.yaml')
  } catch (error) {
    assert.instance(error, ShuntError)
    return (error as ShuntError).message.split('\n')
  }
  return []
}

it('each mistake is told with its place and a remedy', () => {
  const cases: [string, RegExp][] = [
    ['a: b: c', /^c\.yaml:1:4 not valid YAML: a second colon in one line; begin a new line/],
    ['a:\n  b: 1\n c: 2', /:3:1 .*this line is not indented as the others/],
    ['a: [1\nb: 2', /:2:1 .*a \{ or \[ before this is not closed/],
    ['- a\nb: 1', /:2:1 .*the value has ended before this/],
    ["a: 'x' y", /:1:8 .*the value has ended before this; put all of it into quotation marks/],
    ['a:\n\tb: 1', /:2:1 .*a tab indents this line; use spaces/],
    ['a: 1\n---\nb: 1', /:2:1 .*a second document begins here/],
    ['a: @x', /:1:4 .*a value cannot begin with this character/],
    ['a: "\\q"', /:1:5 .*no such escape/],
    ['a: *nope', /^c\.yaml:1:1 not usable YAML: there is no &nope before \*nope/],
    ['foo\nbar: 1', /:1:1 .*a key stands on one line/],
    ['a: {b: 1 c: 2}', /:1:8 .*need commas between them/],
    ['a: [1, 2]]', /:1:10 .*a closing \] or \} too many/],
    ['a: |x\n b', /:1:5 .*may follow \| or >/],
    ['a: 1\nb\nc: 2', /:2:1 .*this key has no colon/],
    [`a: ${'['.repeat(100_000)}`, /^c\.yaml:1:\d+ not valid YAML: .*nested too deep here/],
  ]
  for (const [text, expected] of cases)
    assert.match(errorsOf(text)[0] ?? 'no error', expected, text.slice(0, 40))
})

it('a text that is cut off anywhere is said to be, at its end, wherever it is no YAML by that', () => {
  const whole = `version: 1
pools:
  - name: web
    hosts: [{ name: h1, capacity: 60 }, { name: "h2" }]
services:
  - { name: http, vip: 10.99.0.1, port: 80, protocol: tcp, pool: web }
`
  assert.equal(errorsOf(whole), [])
  let cut = 0
  for (let length = 1; length < whole.length; length++) {
    const text = whole.slice(0, length)
    const wrong = errorsOf(text).filter(line => line.includes('YAML'))
    for (const line of wrong) {
      assert.match(line, /^c\.yaml:\d+:\d+ not valid YAML: .*is the file cut off\?/, text)
      assert.is(Number(line.split(':')[1]), text.split('\n').length, text)
    }
    cut += wrong.length
  }
  assert.ok(cut > 50)
})

it('what the library says reaches nobody', () => {
  for (const text of [
    'a: %x',
    'a: b: c',
    '{a: 1}}',
    'a: [- x]',
    'x: }{',
    '? [',
    '&a &b c',
    '!a !b c',
    '%YAML 9\n---\na',
    'a: "\\x"',
  ])
    for (const line of errorsOf(text).filter(each => each.includes('YAML')))
      assert.not.match(line, /token|implicit|flow|block|scalar|node/i, text)
})

it.run()
