import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { NONCE_BYTES } from '../../../src/gossip/hello-nonce.ts'
import { directionCipher } from '../../../src/gossip/protector.ts'

const it = suite('private network cipher')
const key = Uint8Array.from({ length: 95 }, (_, i) => i)
const a = new Uint8Array(NONCE_BYTES).fill(1)
const b = new Uint8Array(NONCE_BYTES).fill(2)
const text = Buffer.from('a stranger learns nothing, '.repeat(50))

it('what one side writes in pieces the other reads in other pieces', () => {
  const out = directionCipher(key, a, b)
  const sent = Buffer.concat(
    [1, 63, 64, 700, 2000].map((end, i, all) => out.update(text.subarray(all[i - 1] ?? 0, end))),
  )
  assert.not.equal(sent.subarray(0, 64), text.subarray(0, 64))
  const back = directionCipher(key, a, b)
  assert.equal(Buffer.concat([back.update(sent.subarray(0, 100)), back.update(sent.subarray(100))]), text)
})

it('another key, another connection and the other direction have other key streams', () => {
  const zeros = new Uint8Array(64)
  const streams = [
    directionCipher(key, a, b),
    directionCipher(key, b, a),
    directionCipher(key.with(0, 9), a, b),
    directionCipher(key, a.with(0, 9), b),
    directionCipher(key, a, b.with(31, 9)),
  ].map(cipher => cipher.update(zeros).toString('hex'))
  assert.is(new Set(streams).size, streams.length)
})

it.run()
