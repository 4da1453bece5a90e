import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { ShuntError } from '../../../src/errors.ts'
import {
  type DecodedFrame,
  decodeFrame,
  encodeHeartbeat,
  encodeLedgerEntries,
  encodeLedgerList,
  encodeLedgerWant,
  FrameReader,
  MAX_ENTRY_BYTES,
  MAX_FRAME_BYTES,
  MAX_LEDGER_ENTRIES,
  MAX_LEDGER_HASHES,
} from '../../../src/gossip/frames.ts'

const it = suite('gossip ledger frames and version 2')
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const bytes = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const frameError = (pattern: RegExp) => (error: unknown) =>
  error instanceof ShuntError && error.code === 'SHUNT_ERR_FRAME' && pattern.test(error.message)
const A = 'aa'.repeat(32)
const B = '0b'.repeat(32)
const beat = { sequence: 7, sentMs: 1.5, draining: true, wantsEcho: false }

const golden: [string, Uint8Array, string, DecodedFrame][] = [
  [
    'LEDGER_LIST',
    encodeLedgerList([A, B]),
    `00000043 08 0002 ${A} ${B}`,
    { type: 'ledger-list', hashes: [A, B] },
  ],
  ['LEDGER_LIST of nothing', encodeLedgerList([]), '00000003 08 0000', { type: 'ledger-list', hashes: [] }],
  ['LEDGER_WANT', encodeLedgerWant([B]), `00000023 09 0001 ${B}`, { type: 'ledger-want', hashes: [B] }],
  [
    'LEDGER_ENTRIES',
    encodeLedgerEntries([Uint8Array.of(1, 2, 3), Uint8Array.of(255)]),
    '0000000f 0a 0002 00000003 010203 00000001 ff',
    { type: 'ledger-entries', entries: [Uint8Array.of(1, 2, 3), Uint8Array.of(255)] },
  ],
  [
    'HEARTBEAT of version 2',
    encodeHeartbeat({ ...beat, knowledge: { digest: 0xfedcba9876543210n, revision: 0xfffffffe } }),
    '0000001a 02 00000007 3ff8000000000000 01 fedcba9876543210 fffffffe',
    { type: 'heartbeat', ...beat, knowledge: { digest: 0xfedcba9876543210n, revision: 0xfffffffe } },
  ],
  [
    'HEARTBEAT of version 4',
    encodeHeartbeat({ ...beat, knowledge: { digest: 5n, revision: 9 }, nextMs: 5000 }),
    '0000001c 02 00000007 3ff8000000000000 01 0000000000000005 00000009 1388',
    { type: 'heartbeat', ...beat, knowledge: { digest: 5n, revision: 9 }, nextMs: 5000 },
  ],
  [
    'HEARTBEAT of version 4 without a digest',
    encodeHeartbeat({ ...beat, nextMs: 250 }),
    '0000001c 02 00000007 3ff8000000000000 05 0000000000000000 00000000 00fa',
    { type: 'heartbeat', ...beat, nextMs: 250 },
  ],
]
for (const [what, encoded, wire, value] of golden)
  it(`${what}: golden bytes, and back; cut short anywhere it is not taken`, () => {
    assert.is(hex(encoded), wire.replaceAll(' ', ''))
    assert.equal(new FrameReader().push(encoded), [value])
    // A heartbeat that is cut to the size of an earlier version, or above it, is one of that version.
    for (let length = 2; length < encoded.length - 4; length++)
      if (value.type !== 'heartbeat' || (length !== 14 && length < 26))
        assert.throws(() => decodeFrame(encoded.subarray(4, 4 + length)), frameError(/./), `${length}`)
  })

it('caps: counts, lengths, and what follows', () => {
  const bad: [string, RegExp][] = [
    ['08 2001', /8193 hashes/],
    ['09 0000', /0 hashes/],
    [`08 0001 ${A} 00`, /1 hashes in 35/],
    ['0a 0000', /0 entries/],
    ['0a 0401', /1025 entries/],
    ['0a 0001 00000000', /entry of 0 bytes/],
    ['0a 0001 00030001', /entry of 196609 bytes/],
    ['0a 0001 ffffffff 00', /entry of 4294967295 bytes/],
    ['0a 0001 00000001 00 00', /1 bytes too many/],
  ]
  for (const [wire, pattern] of bad) assert.throws(() => decodeFrame(bytes(wire)), frameError(pattern), wire)
  for (const encode of [
    () => encodeLedgerWant([]),
    () => encodeLedgerList(Array(MAX_LEDGER_HASHES + 1).fill(A)),
    () => encodeLedgerList([A.toUpperCase()]),
    () => encodeLedgerList([A.slice(2)]),
    () => encodeLedgerEntries([]),
    () => encodeLedgerEntries([new Uint8Array(0)]),
    () => encodeLedgerEntries([new Uint8Array(MAX_ENTRY_BYTES + 1)]),
    () => encodeLedgerEntries(Array(MAX_LEDGER_ENTRIES + 1).fill(Uint8Array.of(1))),
    () => encodeLedgerEntries([new Uint8Array(MAX_ENTRY_BYTES), new Uint8Array(MAX_ENTRY_BYTES)]),
    () => encodeHeartbeat({ ...beat, knowledge: { digest: -1n, revision: 0 } }),
    () => encodeHeartbeat({ ...beat, knowledge: { digest: 1n << 64n, revision: 0 } }),
    () => encodeHeartbeat({ ...beat, knowledge: { digest: 0n, revision: 2 ** 32 } }),
  ])
    assert.throws(encode, RangeError)
})

it('the largest of each fit a frame, and come back through a reader in pieces', () => {
  const list = encodeLedgerList(Array(MAX_LEDGER_HASHES).fill(A))
  const entries = encodeLedgerEntries([new Uint8Array(MAX_ENTRY_BYTES).fill(3)])
  for (const frame of [list, entries]) {
    assert.ok(frame.length <= 4 + MAX_FRAME_BYTES)
    const reader = new FrameReader()
    const got = [0, 1, 2, 3].flatMap(i =>
      reader.push(frame.subarray((frame.length * i) >> 2, (frame.length * (i + 1)) >> 2)),
    )
    assert.is(got.length, 1)
    assert.equal(got[0], decodeFrame(frame.subarray(4)))
  }
})

it("entries do not change when the reader's buffer is used again", () => {
  const reader = new FrameReader()
  const first = encodeLedgerEntries([Uint8Array.of(1, 1, 1)])
  reader.push(first.subarray(0, 5))
  const [frame] = reader.push(first.subarray(5))
  const second = encodeLedgerEntries([Uint8Array.of(2, 2, 2)])
  reader.push(second.subarray(0, 5))
  reader.push(second.subarray(5))
  assert.equal(frame, { type: 'ledger-entries', entries: [Uint8Array.of(1, 1, 1)] })
})

it('HEARTBEAT: a version 5 may append; between the sizes of 1 and 2 there is nothing', () => {
  const two = encodeHeartbeat({ ...beat, knowledge: { digest: 5n, revision: 9 } }).subarray(4)
  const five = Buffer.concat([two, new Uint8Array(40).fill(0xee)])
  assert.equal(decodeFrame(five), {
    type: 'heartbeat',
    ...beat,
    knowledge: { digest: 5n, revision: 9 },
    nextMs: 0xeeee,
  })
  assert.throws(() => decodeFrame(two.subarray(0, 25)), frameError(/HEARTBEAT of 24 bytes/))
})

it('property: random bytes of these types are a frame or an error, never anything else', () => {
  fc.assert(
    fc.property(fc.constantFrom(2, 8, 9, 10), fc.uint8Array({ maxLength: 300 }), (type, body) => {
      try {
        decodeFrame(Uint8Array.of(type, ...body))
      } catch (error) {
        assert.ok(error instanceof ShuntError && error.code === 'SHUNT_ERR_FRAME', String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

it.run()
