/** The length of leases outlives the agent: longer ones at once, shorter ones when the longer are over (R-B6). */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mock } from 'node:test'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { LeaseRecord } from '../../../src/agent/health/lease-record.ts'

const it = suite('agent/health/lease-record')

const dir = mkdtempSync(join(tmpdir(), 'shunt-lease-'))
it.before(() => mock.timers.enable({ apis: ['setTimeout'] }))
it.after(() => {
  mock.timers.reset()
  rmSync(dir, { recursive: true })
})
const again = (): number => new LeaseRecord(dir).beats

it('keeps the longest that a unit may have', () => {
  const record = new LeaseRecord(dir)
  assert.is(record.beats, 0)
  record.follow(13)
  assert.is(again(), 13)
  record.follow(3)
  mock.timers.tick(13_000)
  record.follow(3)
  assert.is(again(), 13)
  mock.timers.tick(500)
  assert.is(again(), 3)
  record.follow(13)
  record.follow(3)
  record.follow(13)
  mock.timers.tick(20_000)
  assert.is(again(), 13)
  assert.equal(readdirSync(dir), ['lease-beats'])
})

it('an agent that ends before the longer ones are over leaves them to the next', () => {
  const record = new LeaseRecord(dir)
  record.follow(3)
  mock.timers.tick(13_000)
  record.stop()
  mock.timers.tick(20_000)
  const next = new LeaseRecord(dir)
  assert.is(next.beats, 13)
  next.follow(3)
  mock.timers.tick(13_500)
  assert.is(again(), 3)
})

it('what cannot be read may have been the longest; a directory that cannot be made is an error', () => {
  for (const text of ['', 'x', '-3', '1e9', '2.5', '0x3', '61', '9'.repeat(400), '\0'.repeat(100_000)]) {
    writeFileSync(join(dir, 'lease-beats'), text)
    assert.is(again(), 60, text.slice(0, 9))
  }
  const record = new LeaseRecord(dir)
  record.follow(3)
  mock.timers.tick(60_500)
  assert.is(again(), 3)
  assert.throws(() => new LeaseRecord(join(dir, 'lease-beats', 'x')).follow(3))
})

it('a longer one that could not be written down is tried again', () => {
  const state = join(dir, 'state')
  writeFileSync(state, '')
  const record = new LeaseRecord(state)
  assert.throws(() => record.follow(13))
  assert.throws(() => record.follow(13))
  rmSync(state)
  record.follow(13)
  assert.is(new LeaseRecord(state).beats, 13)
})

it.run()
