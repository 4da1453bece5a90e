import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { helloNonce, nonceMatches } from '../../../src/gossip/hello-nonce.ts'
import { checkNetworkKeys, dialKeyAt } from '../../../src/gossip/network-keys.ts'
import { RateByKey } from '../../../src/gossip/rate-by-key.ts'

const it = suite('gossip nonces, network keys, rates')
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const key = (fill: number) => new Uint8Array(32).fill(fill)

it('golden: 24 random bytes, then 8 of the HMAC', () => {
  const random = Uint8Array.from({ length: 24 }, (_, i) => i)
  const nonce = helloNonce(key(7), random)
  assert.equal(nonce.subarray(0, 24), random)
  // hmac.new(hkdf_sha256(b'\x07' * 32, b'', b'shunt hello 1', 32), bytes(range(24)), 'sha256'), computed apart.
  assert.is(Buffer.from(nonce.subarray(24)).toString('hex'), '2662127ada5ecb85')
})

it('property: matches the key that made it, and no other; nor once a bit is changed, or at another length', () => {
  fc.assert(
    fc.property(bytes(32), bytes(32), bytes(24), fc.nat(255), (mine, other, random, bit) => {
      const nonce = helloNonce(mine, random)
      assert.ok(nonceMatches(mine, nonce))
      if (Buffer.compare(mine, other) !== 0) assert.not(nonceMatches(other, nonce))
      const changed = nonce.slice()
      changed[bit >> 3]! ^= 1 << (bit & 7)
      assert.not(nonceMatches(mine, changed))
      assert.not(nonceMatches(mine, nonce.subarray(0, 31)))
    }),
  )
  assert.throws(() => helloNonce(key(1), new Uint8Array(23)), RangeError)
})

it('network keys: at least one, of 32 bytes; each second failed call tries an earlier one', () => {
  assert.throws(() => checkNetworkKeys([]), /at least one/)
  assert.throws(() => checkNetworkKeys([key(1), new Uint8Array(31)]), /32 bytes, not 31/)
  const keys = [key(0), key(1), key(2)]
  assert.equal(
    [0, 1, 2, 3, 4, 5].map(failures => dialKeyAt(keys, failures)[0]),
    [0, 1, 0, 2, 0, 1],
  )
  assert.is(dialKeyAt([key(9)], 5)[0], 9)
})

it('rates: a burst a key, then the rate; keys do not share; memory is bounded', () => {
  const rate = new RateByKey({ ratePerS: 10, burst: 3 })
  const taken = (name: string, nowMs: number): number => {
    let count = 0
    while (rate.take(name, nowMs)) count++
    return count
  }
  assert.is(taken('a', 0), 3)
  assert.is(taken('b', 0), 3)
  assert.is(taken('a', 99), 0)
  assert.is(taken('a', 100), 1)
  assert.is(taken('a', 10_000), 3, 'no more than a burst is saved up')
  for (let i = 0; i < 10_000; i++) rate.take(`flood ${i}`, 10_000)
  assert.ok(rate.size <= 4096, `${rate.size} keys`)
  rate.take('later', 20_000)
  assert.is(rate.size, 1, 'those that are full again are forgotten')
})

it.run()
