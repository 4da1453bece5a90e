import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { type Bucket, takeTokens } from '../../../src/gossip/bucket.ts'
import { refusalOf } from '../../../src/gossip/greeting.ts'
import { roleMask, rolesOf, sameRoles } from '../../../src/gossip/roles.ts'

const it = suite('gossip bounds and greeting')
const settings = { ratePerS: 1000, burst: 500 }

it('bucket: a burst, then debt, then a wait that pays it', () => {
  const full: Bucket = { tokens: 500, atMs: 0 }
  const first = takeTokens(full, 500, 0, settings)
  assert.is(first.waitMs, 0)
  const second = takeTokens(first.bucket, 250, 0, settings)
  assert.is(second.waitMs, 250)
  assert.is(takeTokens(second.bucket, 0, 250, settings).waitMs, 0)
  assert.is(takeTokens(full, 0, 1e9, settings).bucket.tokens, 500, 'no more than a burst is saved up')
  assert.is(
    takeTokens(second.bucket, 0, -1000, settings).bucket.tokens,
    -250,
    'time that runs back earns nothing',
  )
})

it('property: one that waits when told takes at most burst + rate * time + its last cost', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 50 }), costs => {
      let bucket: Bucket = { tokens: settings.burst, atMs: 0 }
      let nowMs = 0
      let taken = 0
      for (const cost of costs) {
        assert.ok(taken <= settings.burst + (nowMs * settings.ratePerS) / 1000)
        const answer = takeTokens(bucket, cost, nowMs, settings)
        bucket = answer.bucket
        taken += cost
        nowMs += answer.waitMs
      }
    }),
  )
})

it('roles: bits both ways; bits of later versions are ignored', () => {
  assert.is(roleMask(['host', 'forwarder', 'host']), 5)
  assert.equal(rolesOf(0xffff), ['forwarder', 'classifier', 'host'])
  assert.ok(sameRoles(1 | 8, 1))
  assert.not(sameRoles(1 | 2, 1))
})

it('greeting: what does not fit is refused with what to do', () => {
  const peer = { name: 'h1', roles: ['host' as const] }
  const hello = { minVersion: 1, maxVersion: 1, name: 'h1', roles: 4, epoch: 0 }
  assert.is(refusalOf(hello, peer), undefined)
  assert.is(
    refusalOf({ ...hello, maxVersion: 9, roles: 4 | 32 }, peer),
    undefined,
    'newer, but it speaks ours too',
  )
  assert.match(refusalOf({ ...hello, minVersion: 50, maxVersion: 60 }, peer)!, /versions 50 to 60.*upgrade/)
  assert.match(refusalOf({ ...hello, minVersion: 0, maxVersion: 0 }, peer)!, /upgrade/)
  assert.match(refusalOf({ ...hello, name: 'h2' }, peer)!, /calls itself h2: correct/)
  assert.match(
    refusalOf({ ...hello, roles: 6 }, peer)!,
    /classifier, host, but is configured here with host: correct/,
  )
  assert.match(refusalOf({ ...hello, roles: 0 }, peer)!, /roles none/)
})

it.run()
