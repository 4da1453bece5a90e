import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { SeenLately } from '../../src/agent/dataplane/seen-lately.ts'

const it = suite('keys that have come lately')
const key = (i: number): Uint32Array => Uint32Array.of(i, 7)
const seen = (): SeenLately => new SeenLately(2, 1_000, 1, 2)

it('the second time within a period, or two, is told from the first', () => {
  const lately = seen()
  assert.not(lately.see(key(1), 0))
  assert.ok(lately.see(key(1), 900))
  assert.ok(lately.see(key(1), 1_900))
  assert.not(lately.see(key(1), 4_000))
})

it('a flood makes it take hardly any for one that has come, and forget few', () => {
  const lately = seen()
  let taken = 0
  for (let i = 0; i < 300_000; i++) if (lately.see(key(i), i / 300)) taken++
  assert.ok(taken < 100, `${taken} taken for others`)
  let known = 0
  for (let i = 290_000; i < 300_000; i++) if (lately.see(key(i), 1_001)) known++
  assert.ok(known > 9_000, `${known} of 10,000 known`)
})

it.run()
