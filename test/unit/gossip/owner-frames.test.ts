/** Frames by which hosts are asked who owns a socket (R-G7): golden bytes, caps, damage. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ShuntError } from '../../../src/errors.ts'
import { decodeFrame, encodeOwned, encodeWhoOwns, MAX_OWNER_KEYS } from '../../../src/gossip/frames.ts'

const it = suite('gossip owner frames')
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const content = (text: string): Uint8Array => bytes(text).subarray(4)
const refused = (text: string, pattern: RegExp): void =>
  assert.throws(
    () => decodeFrame(bytes(text)),
    (error: unknown) =>
      error instanceof ShuntError && error.code === 'SHUNT_ERR_FRAME' && pattern.test(error.message),
  )

const four = Uint32Array.from([0, 0, 0xffff, 0x0a630105, 0, 0, 0xffff, 0x0a630001, 0xc0010050, 6])
const six = Uint32Array.from([0x20010db8, 0, 0, 5, 0x20010db8, 1, 2, 3, 0xc0010035, 17])
const v4Wire = '00 0a630105 0a630001 c0010050 06'
const v6Wire = '01 20010db8000000000000000000000005 20010db8000000010000000200000003 c0010035 11'
const QUESTION = `0000003b 0d fffffffe 0002 ${v4Wire} ${v6Wire}`
const ANSWER = '00000009 0e 00000007 0009 8080'
const owned = [true, false, false, false, false, false, false, false, true]

it('question and answer are these bytes', () => {
  assert.is(hex(encodeWhoOwns(0xfffffffe, [four, six])), hex(bytes(QUESTION)))
  assert.equal(decodeFrame(content(QUESTION)), { type: 'who-owns', id: 0xfffffffe, keys: [four, six] })
  assert.is(hex(encodeOwned(7, owned)), hex(bytes(ANSWER)))
  assert.equal(decodeFrame(content(ANSWER)), { type: 'owned', id: 7, owned })
})

it('caps: 1 to 256 keys, both ways', () => {
  const keys = (count: number): Uint32Array[] => Array.from({ length: count }, () => six)
  const bits = (count: number): boolean[] => Array.from({ length: count }, (_, i) => i % 3 === 0)
  for (const count of [1, 7, 8, MAX_OWNER_KEYS]) {
    const question = decodeFrame(encodeWhoOwns(1, keys(count)).subarray(4))
    assert.equal(question, { type: 'who-owns', id: 1, keys: keys(count) })
    assert.equal(decodeFrame(encodeOwned(1, bits(count)).subarray(4)), {
      type: 'owned',
      id: 1,
      owned: bits(count),
    })
  }
  for (const count of [0, MAX_OWNER_KEYS + 1]) {
    assert.throws(() => encodeWhoOwns(1, keys(count)), /1 to 256 keys/)
    assert.throws(() => encodeOwned(1, bits(count)), /1 to 256 keys/)
  }
  assert.throws(() => encodeOwned(2 ** 32, [true]), /u32/)
  refused('0d 00000001 0000', /who-owns of 0 keys/)
  refused(`0d 00000001 0101 ${v4Wire.repeat(257)}`, /who-owns of 257 keys/)
  refused('0e 00000001 0000', /owned of 0 keys/)
  refused(`0e 00000001 0101 ${'00'.repeat(33)}`, /owned of 257 keys/)
})

it('damage: cut short, too long, impossible records, bits that belong to nothing', () => {
  refused('0d 00000001 00', /who-owns cut short/)
  refused(`0d 00000001 0002 ${v4Wire}`, /cut short/)
  refused(`0d 00000001 0001 ${v4Wire} 00`, /1 bytes too many/)
  refused(`0d 00000001 0001 04 0a630105 0a630001 c0010050 06 0a0a001f`, /a host where none belongs/)
  refused('0e 00000001 00', /owned cut short/)
  refused('0e 00000001 0009 80', /9 keys in 7 bytes/)
  refused('0e 00000001 0001 8000', /1 keys in 8 bytes/)
  refused('0e 00000001 0001 c0', /bits for keys that nobody asked about/)
})

it('whatever comes is a value or a refusal', () => {
  fc.assert(
    fc.property(fc.constantFrom(13, 14), fc.uint8Array({ maxLength: 200 }), (type, body) => {
      try {
        const frame = decodeFrame(Uint8Array.of(type, ...body))
        assert.ok(frame?.type === 'who-owns' || frame?.type === 'owned')
        // What is believed has one encoding: it is these bytes again.
        const again =
          frame.type === 'owned' ? encodeOwned(frame.id, frame.owned) : encodeWhoOwns(frame.id, frame.keys)
        if (frame.type === 'owned') assert.is(hex(again.subarray(5)), hex(body))
      } catch (error) {
        if (!(error instanceof ShuntError)) throw error
      }
    }),
  )
})

it.run()
