import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { parseDuration } from '../../../src/cli/duration.ts'

const it = suite('cli/duration')

it('reads every unit', () => {
  for (const [text, ms] of Object.entries({ '5ms': 5, '5s': 5e3, '5m': 3e5, '5h': 1.8e7, '5d': 4.32e8 }))
    assert.is(parseDuration(text, '--duration', 1, 1e9), ms, text)
})

it('a time out of range: the range is said in units that need no fraction', () => {
  const said = (min: number, max: number): string => {
    try {
      parseDuration('9d', '--duration', min, max)
    } catch (error) {
      return (error as Error).message
    }
    return ''
  }
  assert.match(said(1000, 600_000), /--duration 9d is out of range: 1s to 10m$/)
  assert.match(said(500, 90_000), /500ms to 90s$/)
  assert.match(said(60_000, 86_400_000), /1m to 1d$/)
})

it('anything else is no time', () => {
  for (const text of ['', '5', '5 s', '-5s', '1.5h', '5w', '9999999999s'])
    assert.throws(() => parseDuration(text, '--duration', 1, 1e9), /is not a time/, text)
})

it.run()
