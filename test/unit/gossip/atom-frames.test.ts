/** Frames of the atom manager (R-C4): golden bytes, caps, damage. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ShuntError } from '../../../src/errors.ts'
import {
  decodeFrame,
  encodeAtomMember,
  encodeAtoms,
  MAX_ATOMS_BODY_BYTES,
  MAX_FRAME_BYTES,
} from '../../../src/gossip/frames.ts'

const it = suite('gossip atom frames')
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const refused = (content: Uint8Array, pattern: RegExp): void =>
  assert.throws(
    () => decodeFrame(content),
    (error: unknown) =>
      error instanceof ShuntError && error.code === 'SHUNT_ERR_FRAME' && pattern.test(error.message),
  )

it('who a member is, and a message, are these bytes', () => {
  for (const [value, wire] of [
    [{ incarnation: 0xfffffffe, leaving: false }, '00000006 0f fffffffe 00'],
    [{ incarnation: 7, leaving: true }, '00000006 0f 00000007 01'],
  ] as const) {
    assert.is(hex(encodeAtomMember(value)), hex(bytes(wire)))
    assert.equal(decodeFrame(bytes(wire).subarray(4)), { type: 'atom-member', ...value })
  }
  const message = encodeAtoms(bytes('02 00000001'))
  assert.is(hex(message), hex(bytes('00000006 0c 02 00000001')))
  const body = bytes('02 00000001')
  assert.equal(decodeFrame(message.subarray(4)), { type: 'atoms', body })
})

it('a later version may say more of a member, and set other flags', () => {
  const later = decodeFrame(bytes('0f 00000007 fe 01020304'))
  assert.equal(later, { type: 'atom-member', incarnation: 7, leaving: false })
})

it('caps and damage', () => {
  const largest = new Uint8Array(MAX_ATOMS_BODY_BYTES).fill(7)
  const frame = encodeAtoms(largest)
  assert.ok(frame.length <= 4 + MAX_FRAME_BYTES)
  const decoded = decodeFrame(frame.subarray(4))
  assert.is(decoded?.type === 'atoms' && decoded.body.length, MAX_ATOMS_BODY_BYTES)
  for (const length of [0, MAX_ATOMS_BODY_BYTES + 1]) {
    assert.throws(() => encodeAtoms(new Uint8Array(length)), RangeError)
    const content = new Uint8Array(1 + length)
    content[0] = 12
    refused(content, new RegExp(`atoms of ${length} bytes`))
  }
  assert.throws(() => encodeAtomMember({ incarnation: 2 ** 32, leaving: false }), /u32/)
  for (const cut of ['0f', '0f 00000007', '0f 000007']) refused(bytes(cut), /ATOM_MEMBER cut short/)
})

it('whatever comes is a value or a refusal', () => {
  fc.assert(
    fc.property(fc.constantFrom(12, 15), fc.uint8Array({ maxLength: 40 }), (type, body) => {
      try {
        const frame = decodeFrame(Uint8Array.of(type, ...body))
        if (frame?.type === 'atoms') assert.is(hex(frame.body), hex(body))
        else assert.ok(frame?.type === 'atom-member' && body.length >= 5)
      } catch (error) {
        if (!(error instanceof ShuntError)) throw error
      }
    }),
  )
})

it.run()
