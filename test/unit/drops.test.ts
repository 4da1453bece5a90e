import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { DROP, DROP_TEXT, DropCounters } from '../../src/agent/dataplane/drops.ts'

const it = suite('drops')

it('numbers are 0, 1, 2 ... without gap or repetition, and each has a text and a hint', () => {
  const numbers = Object.values(DROP).sort((a, b) => a - b)
  assert.equal(numbers, [...numbers.keys()])
  assert.is(DROP_TEXT.length, numbers.length)
  for (const number of numbers.slice(1)) {
    assert.ok(DROP_TEXT[number].reason.length > 5, `reason of ${number}`)
    assert.ok(DROP_TEXT[number].hint.length > 5, `hint of ${number}`)
  }
  assert.is(new Set(DROP_TEXT.map(text => text.reason)).size, numbers.length)
})

it('the table is append-only: these numbers are published', () => {
  assert.is(DROP.NONE, 0)
  assert.is(DROP.TRUNCATED, 1)
  assert.is(DROP.TTL_EXPIRED, 8)
  assert.is(DROP.UNKNOWN_IDENTIFIER, 16)
  assert.is(DROP.MAPPING_BAD_TAG, 23)
  assert.is(DROP.EVICTED_EMBRYONIC, 32)
  assert.is(DROP.TOO_BIG, 36)
  assert.is(DROP.INACTIVE, 37)
})

it('counts, and shows what was counted', () => {
  const drops = new DropCounters()
  assert.equal(drops.snapshot(), [])
  drops.add(DROP.NO_HOST)
  drops.add(DROP.TRUNCATED)
  drops.add(DROP.NO_HOST)
  drops.add(DROP.NONE)
  const rows = drops.snapshot()
  assert.equal(
    rows.map(row => [row.number, row.count]),
    [
      [DROP.TRUNCATED, 1],
      [DROP.NO_HOST, 2],
    ],
  )
  assert.is(rows[1].reason, DROP_TEXT[DROP.NO_HOST].reason)
  assert.is(rows[1].hint, DROP_TEXT[DROP.NO_HOST].hint)
})

it('refuses a counter array that is too small', () => {
  assert.throws(() => new DropCounters(new Float64Array(3)), /drop counters need/)
})

it.run()
