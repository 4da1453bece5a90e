import * as fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { EXIT, errorCodeOf, exitCodeOf } from '../../../src/cli/exit-codes.ts'
import { bytes, count, duration, percent } from '../../../src/cli/format.ts'
import { resolve, wantsJson } from '../../../src/cli/resolve.ts'
import { pairs, table } from '../../../src/cli/table.ts'
import { didYouMean, nearest } from '../../../src/config/suggest.ts'
import { ShuntError } from '../../../src/errors.ts'

const it = suite('cli/format')

it('durations, bytes, shares, counts', () => {
  const times: [number | null, string | null][] = [
    [null, null],
    [0, '0ms'],
    [0.44, '0.4ms'],
    [999, '999ms'],
    [1000, '1.0s'],
    [9949, '9.9s'],
    [59_999, '59s'],
    [200_000, '3m 20s'],
    [7_500_000, '2h 5m'],
    [349_200_000, '4d 1h'],
  ]
  for (const [ms, text] of times) assert.is(duration(ms), text)
  assert.equal([bytes(0), bytes(999), bytes(1000), bytes(92_100_000)], ['0 B', '999 B', '1.0 kB', '92.1 MB'])
  assert.equal([percent(0, 0), percent(1, 3), percent(3, 3)], ['-', '33%', '100%'])
  assert.equal(
    [count(0, 'peer'), count(1, 'peer'), count(2, 'proxy', 'proxies')],
    ['0 peers', '1 peer', '2 proxies'],
  )
})

it('tables: no trailing space, - for empty, only a head without rows', () => {
  const columns = [
    { head: 'A', cell: (r: [string | null, number]) => r[0] },
    { head: 'LONG', cell: (r: [string | null, number]) => r[1], right: true },
    { head: 'END', cell: (r: [string | null, number]) => r[1] > 5 },
  ]
  assert.is(
    table(columns, [
      ['abc', 5],
      [null, 12345],
      ['', 6],
    ]),
    'A     LONG  END\nabc      5  no\n-    12345  yes\n-        6  yes\n',
  )
  assert.is(table(columns, []), 'A  LONG  END\n')
  assert.is(
    pairs([
      ['a', null],
      ['long', true],
    ]),
    'a     -\nlong  yes\n',
  )
})

it('suggestions only for near words', () => {
  assert.is(nearest('nmae', ['name', 'file']), 'name')
  assert.is(nearest('FORWADER', ['forwarder']), 'forwarder')
  assert.is(nearest('xyz', ['name']), undefined)
  assert.is(nearest('a'.repeat(100), ['a'.repeat(99)]), undefined)
  assert.is(didYouMean('h2', ['h1']), ' (did you mean "h1"?)')
  assert.is(didYouMean('icmp', ['tcp', 'udp']), '')
})

/** Straight from the definition. */
const edits = (a: string, b: string): number => {
  const rows: number[][] = []
  for (let i = 0; i <= a.length; i++) {
    rows.push([])
    for (let j = 0; j <= b.length; j++) {
      const near = [i + j]
      if (i > 0) near.push(rows[i - 1]![j]! + 1)
      if (j > 0) near.push(rows[i]![j - 1]! + 1)
      if (i > 0 && j > 0) near.push(rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        near.push(rows[i - 2]![j - 2]! + 1)
      rows[i]!.push(Math.min(...near))
    }
  }
  return rows[a.length]![b.length]!
}

it('a suggestion is the nearest of all, within the bound', () => {
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(word, fc.array(word, { maxLength: 8 }), (wrong, words) => {
      const max = wrong.length <= 4 ? 1 : wrong.length <= 8 ? 2 : 3
      const near = words.map(w => ({ w, d: edits(wrong, w) })).filter(({ w, d }) => d <= max && d < w.length)
      const least = Math.min(...near.map(({ d }) => d))
      assert.is(nearest(wrong, words), near.find(({ d }) => d === least)?.w)
    }),
    { numRuns: 2_000 },
  )
})

it('what a command line asks for', () => {
  const ids = ['status', 'config:check', 'lab:exec']
  const ask = (text: string) => resolve(text.split(' ').filter(Boolean), ids)
  assert.equal(ask(''), { kind: 'help', subject: '' })
  assert.equal(ask('-h'), { kind: 'help', subject: '' })
  assert.equal(ask('help config check'), { kind: 'help', subject: 'config:check' })
  assert.equal(ask('config'), { kind: 'help', subject: 'config' })
  assert.equal(ask('status --json -h'), { kind: 'help', subject: 'status' })
  assert.equal(ask('lab exec h1 -- curl --help'), {
    kind: 'command',
    id: 'lab:exec',
    argv: ['h1', '--', 'curl', '--help'],
  })
  assert.equal(ask('--version'), { kind: 'version' })
  assert.throws(() => ask('config x'), /there are: check/)
  assert.throws(() => ask('nothing'), /no command "nothing"; shunt --help/)
  assert.throws(() => ask('constructor'), /no command/)
  assert.is(wantsJson(['a', '--json']), true)
  assert.is(wantsJson(['a', '--', '--json']), false)
})

it('exit codes', () => {
  const of = (code: ConstructorParameters<typeof ShuntError>[0]) => exitCodeOf(new ShuntError(code, 'x'))
  assert.equal(
    [
      of('SHUNT_ERR_CONFIG'),
      of('SHUNT_ERR_USAGE'),
      of('SHUNT_ERR_CONTROL_UNREACHABLE'),
      of('SHUNT_ERR_GUARD'),
      of('SHUNT_ERR_TIMEOUT'),
    ],
    [EXIT.FAILED, EXIT.USAGE, EXIT.UNREACHABLE, EXIT.GUARD, EXIT.TIMEOUT],
  )
  assert.is(exitCodeOf(Object.assign(new Error('EEXIT'), { code: 'EEXIT', oclif: { exit: 7 } })), 7)
  assert.is(errorCodeOf(new TypeError('x')), 'SHUNT_ERR_INTERNAL')
  assert.is(exitCodeOf(new TypeError('x')), EXIT.FAILED)
})

it.run()
