/** Messages of the atom manager on the wire: they come back as they were, and hostile bytes are refused. */
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeDam, encodeDam } from '../../../src/dam/codec.ts'
import { ATOM_KIND, type DamMessage, type Origin } from '../../../src/dam/types.ts'
import { HealthError } from '../../../src/health/codec-error.ts'
import { damMessage } from '../../support/dam-messages.ts'

const it = suite('atom messages')
const sender: Origin = { member: 'f1', incarnation: 7 }

/** The message, or undefined for a HealthError; all else goes on to the test. */
const decoded = (bytes: Uint8Array): DamMessage | undefined => {
  try {
    return decodeDam(bytes, sender)
  } catch (error) {
    if (error instanceof HealthError) return undefined
    throw error
  }
}

it('property: every message comes back as it was', () => {
  fc.assert(
    fc.property(damMessage(sender), message => {
      assert.equal(decodeDam(encodeDam(message, sender), sender), message)
    }),
    { numRuns: 2_000 },
  )
})

it('property: a message that was cut short is refused', () => {
  fc.assert(
    fc.property(damMessage(sender), fc.nat(10_000), (message, cut) => {
      const bytes = encodeDam(message, sender)
      assert.is(decoded(bytes.subarray(0, cut % bytes.length)), undefined)
    }),
    { numRuns: 1_000 },
  )
})

it('property: a message with more behind it is refused', () => {
  fc.assert(
    fc.property(damMessage(sender), message => {
      assert.is(decoded(Uint8Array.of(...encodeDam(message, sender), 0)), undefined)
    }),
    { numRuns: 300 },
  )
})

it('property: damaged bytes are refused, or a message that has an encoding', () => {
  let taken = 0
  fc.assert(
    fc.property(damMessage(sender), fc.nat(10_000), fc.integer({ min: 1, max: 255 }), (message, at, flip) => {
      const bytes = encodeDam(message, sender)
      bytes[at % bytes.length] ^= flip
      const other = decoded(bytes)
      if (other === undefined) return
      taken++
      assert.equal(decoded(encodeDam(other, sender)), other)
    }),
    { numRuns: 3_000 },
  )
  assert.ok(taken > 100, `only ${taken} were taken`)
})

it('property: random bytes are refused, or a message that has an encoding', () => {
  fc.assert(
    fc.property(fc.nat(20), fc.uint8Array({ maxLength: 200 }), (type, body) => {
      const message = decoded(Uint8Array.of(type, ...body.map(byte => byte & 7)))
      if (message !== undefined) assert.equal(decoded(encodeDam(message, sender)), message)
    }),
    { numRuns: 5_000 },
  )
})

it('an atom of an IPv4 flow takes 25 bytes of a batch beside its operation', () => {
  const key = Uint32Array.of(
    0,
    0,
    0xffff,
    0x0a000001,
    0,
    0,
    0xffff,
    0x0a630001,
    80,
    (ATOM_KIND.flow << 24) | 6,
  )
  const atom = { key, host: 1, generation: 1, zombie: false, level: 1, owner: sender, home: sender }
  const bytes = (count: number): number =>
    encodeDam(
      {
        type: 'batch',
        sequence: 1,
        ops: Array.from({ length: count }, () => ({ op: 'add' as const, atom })),
      },
      sender,
    ).length
  assert.is((bytes(101) - bytes(1)) / 100, 26)
})

it.run()
