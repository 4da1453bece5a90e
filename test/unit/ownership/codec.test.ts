import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeOwnership, encodeOwnership } from '../../../src/ownership/codec.ts'
import { type Claim, MOST_CLAIMS, type OwnershipMessage } from '../../../src/ownership/types.ts'
import { seeded } from '../../support/random.ts'

const it = suite('ownership/codec')

const claim: Claim = {
  ...{ vip: '10.99.0.1', generation: 7, holder: 'f1', ordered: true, death: false, support: 3 },
}
const MESSAGES: [OwnershipMessage, string][] = [
  [
    {
      ...{ type: 'standing', weight: 50, ready: true, leaving: false },
      ...{ sees: ['f2', 'f3'], digest: '00112233aabbccdd' },
    },
    '01' + '32' + '01' + '00112233aabbccdd' + '0002' + '026632' + '026633',
  ],
  [
    {
      ...{ type: 'standing', weight: 50, ready: false, leaving: true, readsBrief: true },
      ...{ sees: [], digest: '00112233aabbccdd' },
    },
    '01' + '32' + '06' + '00112233aabbccdd' + '0000',
  ],
  [
    { type: 'claims', claims: [{ ...claim, brief: true }] },
    '02' + '0001' + '0931302e39392e302e31' + '0000000000000007' + '026631' + '05' + '0003',
  ],
  [
    {
      type: 'claims',
      claims: [claim, { ...claim, vip: 'fd00::1', holder: '', ordered: false, death: true }],
    },
    '02' +
      '0002' +
      '0931302e39392e302e31' +
      '0000000000000007' +
      '026631' +
      '01' +
      '0003' +
      '07666430303a3a31' +
      '0000000000000007' +
      '00' +
      '02' +
      '0003',
  ],
  [
    { type: 'take', vip: '10.99.0.1', generation: 7, ordered: true },
    '03' + '0931302e39392e302e31' + '0000000000000007' + '01',
  ],
]

it('each message has its golden bytes, and nothing but all of them is one', () => {
  for (const [message, golden] of MESSAGES) {
    const bytes = encodeOwnership(message)
    assert.is(Buffer.from(bytes).toString('hex'), golden)
    assert.equal(decodeOwnership(bytes), message)
    for (let length = 0; length < bytes.length; length++)
      assert.throws(
        () => decodeOwnership(bytes.subarray(0, length)),
        undefined,
        `${message.type} of ${length}`,
      )
    assert.throws(() => decodeOwnership(Buffer.concat([bytes, Buffer.alloc(1)])), /too many/)
  }
})

it('refuses what no forwarder says', () => {
  const bad = (hex: string, text: RegExp): void =>
    assert.throws(() => decodeOwnership(Buffer.from(hex.replaceAll(' ', ''), 'hex')), text)
  bad('00', /unknown type/)
  bad('04', /unknown type/)
  bad('01 64 01 0011223344556677 0000', /weight of 100/)
  bad('01 32 01 0011223344556677 0001 024631', /impossible name/)
  bad('02 0401', /list of 1025/)
  bad('02 0001 036e6f74', /no address/)
  bad('02 0001 0931302e39392e302e31 0000000000000000 026631 00 0001', /generation 0/)
  bad('02 0001 0931302e39392e302e31 0000000000000001 024621 00 0001', /impossible holder/)
  bad('02 0001 0931302e39392e302e31 ffffffffffffffff 026631 00 0001', /above 2\^53/)
  bad('02 0001 0931302e39392e302e31 0001000000000000 026631 00 0001', /generation of 2/)
  bad('03 0931302e39392e302e31 0001000000000000 01', /generation of 2/)
})

it('has no encoding for more claims than fit', () => {
  const claims = Array.from({ length: MOST_CLAIMS + 1 }, () => claim)
  assert.throws(() => encodeOwnership({ type: 'claims', claims }), /1025 claims/)
})

it('damaged bytes are a message or an error, never anything else', () => {
  const random = seeded(1)
  for (let i = 0; i < 20_000; i++) {
    const bytes = Buffer.from(MESSAGES[i % MESSAGES.length]![1], 'hex')
    for (let n = 1 + (i % 3); n > 0; n--)
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
    try {
      const again = encodeOwnership(decodeOwnership(bytes))
      assert.ok(again.length > 0)
    } catch (error) {
      assert.is((error as Error).constructor.name, 'HealthError')
    }
  }
})

it.run()
