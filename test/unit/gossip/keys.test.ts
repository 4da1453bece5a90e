import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ShuntError } from '../../../src/errors.ts'
import { choiceKey, mappingKey, networkKey } from '../../../src/gossip/keys.ts'

const it = suite('gossip keys')
const secret = Uint8Array.from({ length: 32 }, (_, i) => i)
const other = Uint8Array.from(secret, byte => byte ^ 1)
const address = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 10, 1, 11])
const host = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 10, 0, 71])
const refused = (error: unknown) => error instanceof ShuntError && error.code === 'SHUNT_ERR_IDENTITY'

// The vectors were computed by another implementation of RFC 5869 (Python's hmac, by the RFC's two steps).
it('network key: fixed vector', () => {
  const key = networkKey(secret)
  assert.is(
    Buffer.from(key).toString('hex'),
    'efe3d8bb51d716da67ce7885841a379ab6a9519918bbebc7420bd8202251b953',
  )
  assert.is.not(Buffer.from(networkKey(other)).toString('hex'), Buffer.from(key).toString('hex'))
})

it('mapping key: fixed vector', () => {
  assert.equal(
    mappingKey(secret, address, host),
    Uint32Array.of(0xb29dd27a, 0x3ed46114, 0xe28e9f57, 0x6f9acc2b),
  )
})

it('mapping key: another key for another secret, tunnel address or recipient', () => {
  const keys = [
    mappingKey(secret, address, host),
    mappingKey(other, address, host),
    mappingKey(secret, address.with(15, 12), host),
    mappingKey(secret, address, host.with(15, 72)),
    mappingKey(secret, host, address),
  ]
  assert.is(new Set(keys.map(key => key.join())).size, keys.length)
})

it('choice key: fixed vector', () => {
  assert.equal(choiceKey(secret), [0x952fc437, 0x18e618c8])
})

it('sizes are checked', () => {
  for (const length of [0, 31, 33]) {
    assert.throws(() => networkKey(new Uint8Array(length)), refused)
    assert.throws(() => mappingKey(new Uint8Array(length), address, host), refused)
    assert.throws(() => choiceKey(new Uint8Array(length)), refused)
  }
  for (const length of [4, 15, 17]) {
    assert.throws(() => mappingKey(secret, new Uint8Array(length), host), RangeError)
    assert.throws(() => mappingKey(secret, address, new Uint8Array(length)), RangeError)
  }
})

it.run()
