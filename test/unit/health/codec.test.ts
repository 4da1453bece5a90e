import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeHealth, encodeHealth, MAX_HEALTH_BYTES } from '../../../src/health/codec.ts'
import { HealthError } from '../../../src/health/codec-error.ts'
import { chunkOf } from '../../../src/health/digest.ts'
import type { AppId, HealthMessage, HeartbeatEntry, Row } from '../../../src/health/types.ts'
import { MAX_ENTRIES, MAX_OPERATIONS, MAX_ROWS } from '../../../src/health/types.ts'

const it = suite('health messages')
const bytes = (wire: string): Uint8Array => new Uint8Array(Buffer.from(wire.replaceAll(/[\s|]/g, ''), 'hex'))
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')
const refused = (pattern: RegExp) => (error: unknown) =>
  error instanceof HealthError && pattern.test(error.message)
const isRangeError = (error: unknown): boolean => error instanceof RangeError

const web: AppId = {
  vip: '10.99.0.1',
  port: 80,
  physical: '10.10.0.71',
  physicalPort: 8080,
  protocol: 'tcp',
  specific: '',
}
const dns: AppId = {
  vip: 'fd00::5',
  port: 53,
  physical: 'fd00::71',
  physicalPort: 53,
  protocol: 'udp',
  specific: '/a',
}
const row: Row = {
  id: 0x11,
  app: web,
  health: 'failing',
  load: 100,
  capacity: 10,
  target: 'inactive',
  current: 'draining',
  cause: 'health',
}
const update = {
  id: 0x12,
  health: 'unknown',
  load: 255,
  capacity: 99,
  target: 'active',
  current: 'active',
  cause: 'default',
} as const
const table = {
  version: { instance: 0xaabbccdd, generation: 2 },
  anchor: '0011223344556677',
  anchorBeat: 100,
}
const entry: HeartbeatEntry = {
  host: 0x01020304,
  beat: 5,
  token: '0011223344556677',
  hello: true,
  forward: false,
  dnsName: '',
}
const state = {
  connections: 10,
  cpuPercent: 12.34,
  memoryBytes: 2 ** 33,
  memoryFreeBytes: 1,
  bandwidthBits: 1e10,
  bandwidthFreeBits: 0,
}

const rowWire = '00000011 0059 64 0a | 00 0a630001 0050 0a0a0047 1f90'
const tableWire = 'aabbccdd 00000002 0011223344556677 00000064'
/** Every message: its bytes, written out by hand from the diagrams, and its value. */
const golden: [string, HealthMessage, string][] = [
  [
    'own heartbeat',
    { type: 'heartbeat', leader: 0, entries: [entry], gone: [] },
    '01 00000000 | 01 84868808 0a 0011223344556677 01 | 00',
  ],
  [
    'consolidated heartbeat',
    {
      type: 'heartbeat',
      leader: 7,
      entries: [
        { ...entry, host: 2, beat: 300, hello: false },
        { ...entry, host: 5, beat: 290, hello: false, forward: true, dnsName: 'n' },
      ],
      gone: [1, 300],
    },
    '01 00000007 | 02 02 d804 0011223344556677 00 03 13 0011223344556677 06 01 6e | 02 01 ab02',
  ],
  ['goodbye', { type: 'goodbye', host: 9, reason: 'né' }, '02 00000009 03 6ec3a9'],
  [
    'row change',
    {
      type: 'row-change',
      host: 9,
      ...table,
      operations: [
        { operation: 'add', row },
        { operation: 'update', row: update },
        { operation: 'delete', id: 0x13 },
      ],
    },
    `03 00000009 ${tableWire} 03 | 01 ${rowWire} | 02 00000012 0002 ff 63 | 03 00000013`,
  ],
  [
    'row change of nothing',
    { type: 'row-change', host: 9, ...table, operations: [] },
    `03 00000009 ${tableWire} 00`,
  ],
  ['get snapshot of all', { type: 'get-snapshot', host: 9, request: 3, chunks: [] }, '04 00000009 00000003'],
  [
    'get snapshot',
    { type: 'get-snapshot', host: 9, request: 3, chunks: Array.from({ length: 16 }, (_, i) => i) },
    `04 00000009 00000003 ${Array.from({ length: 16 }, (_, i) => `0000000${i.toString(16)}`).join('')}`,
  ],
  [
    'send snapshot',
    {
      type: 'send-snapshot',
      host: 9,
      request: 3,
      ...table,
      beat: 101,
      beatMs: 1000,
      leaseBeats: 3,
      chunks: [
        { index: 3, rows: [] },
        { index: 11, rows: [{ ...row, id: 0x1b, app: dns }] },
      ],
    },
    `05 00000009 00000003 ${tableWire} 00000065 03e8 0003 02 | 03 00 | 0b 01 0000001b 0059 64 0a
     0f fd000000000000000000000000000005 0035 fd000000000000000000000000000071 0035 02 2f61`,
  ],
  [
    'postulate',
    {
      type: 'postulate',
      host: 9,
      version: table.version,
      postulate: 4,
      states: [
        { id: 0x11, state: 'inactive' },
        { id: 0x12, state: 'active' },
      ],
    },
    '06 00000009 aabbccdd 00000002 00000004 02 00000011 02 00000012 00',
  ],
  [
    'postulate wrong',
    { type: 'postulate-wrong', host: 9, postulate: 4, differs: [0x11] },
    '07 00000009 00000004 01 00000011',
  ],
  ['postulate right', { type: 'postulate-right', host: 9, postulate: 4 }, '08 00000009 00000004'],
  ['claim', { type: 'claim', host: 9, group: 1, generation: 4 }, '09 00000009 00000001 00000004'],
  [
    'server state',
    { type: 'server-state', host: 9, state },
    '0a 00000009 0000000a 04d2 0000000200000000 0000000000000001 00000002540be400 0000000000000000',
  ],
]
for (const [name, message, wire] of golden) {
  it(`${name}: golden bytes both ways`, () => {
    assert.is(hex(encodeHealth(message)), hex(bytes(wire)))
    assert.equal(decodeHealth(bytes(wire)), message)
  })
  it(`${name}: cut short anywhere, and one byte too long, it is not taken`, () => {
    const whole = bytes(wire)
    for (let length = 0; length < whole.length; length++)
      // Without its digests it is the one that asks for all.
      if (name !== 'get snapshot' || length !== 9)
        assert.throws(() => decodeHealth(whole.subarray(0, length)), refused(/./), `length ${length}`)
    assert.throws(() => decodeHealth(Buffer.concat([whole, Buffer.of(0)])), refused(/./))
  })
}

it('numbers without a meaning are refused, each in its place', () => {
  const change = (operations: string): string => `03 00000009 ${tableWire} 01 ${operations}`
  const snapshot = (chunks: string): string =>
    `05 00000009 00000003 ${tableWire} 00000065 03e8 0003 ${chunks}`
  const rowOf = (id: string): string => `${id} 0059 64 0a 00 0a630001 0050 0a0a0047 1f90`
  const hostile: [string, RegExp][] = [
    ['', /empty/],
    ['00', /type 0/],
    ['08 00000000 00000004', /host number 0/],
    [change('04 00000011'), /operation of number 4/],
    [change('00 00000011'), /operation of number 0/],
    [change('03 00000000'), /row of number 0/],
    [change('02 00000012 0003 00 00'), /health of number 3/],
    [change('02 00000012 000c 00 00'), /directive of number 3/],
    [change('02 00000012 0030 00 00'), /directive of number 3/],
    [change('02 00000012 0140 00 00'), /cause of number 5/],
    [change('02 00000012 8000 00 00'), /cause of number/],
    [change('02 00000012 0000 00 64'), /capacity of 100/],
    [change('01 00000011 0000 00 00 10 0a630001 0050 0a0a0047 1f90'), /flags 16/],
    [change('01 00000011 0000 00 00 08 0a630001 0050 0a0a0047 1f90 00'), /specific part that is empty/],
    [change('01 00000011 0000 00 00 08 0a630001 0050 0a0a0047 1f90 01 1b'), /control characters/],
    [change('01 00000011 0000 00 00 08 0a630001 0050 0a0a0047 1f90 01 ff'), /not UTF-8/],
    [change(`01 00000011 0000 00 00 08 0a630001 0050 0a0a0047 1f90 c9 ${'61'.repeat(201)}`), /at most 200/],
    [snapshot(`01 10 00`), /chunk 16/],
    [snapshot(`02 03 00 03 00`), /chunk 3 after 3/],
    [snapshot(`11`), /17 chunks/],
    [snapshot(`01 02 01 ${rowOf('00000011')}`), /row 17 .* in chunk 2/],
    [snapshot(`01 01 02 ${rowOf('00000011')} ${rowOf('00000011')}`), /row 17 after 17/],
    [snapshot(`01 01 02 ${rowOf('00000021')} ${rowOf('00000011')}`), /row 17 after 33/],
    [`05 00000009 00000003 ${tableWire} 00000065 0000 0003 00`, /between beats/],
    [`05 00000009 00000003 ${tableWire} 00000065 03e8 0000 00`, /lease/],
    ['06 00000009 aabbccdd 00000002 00000004 01 00000011 03', /directive of number 3/],
    ['01 00000000 01 00 0a 0011223344556677 00 00', /host number 0/],
    ['01 00000000 02 01 0a 0011223344556677 00 00 0a 0011223344556677 00 00', /host number 1 after 1/],
    ['01 00000000 01 01 01 0011223344556677 00 00', /beat -1/],
    ['01 00000000 01 8000 0a 0011223344556677 00 00', /longer than it need be/],
    ['01 00000000 01 8080808010 0a 0011223344556677 00 00', /host number 4294967296/],
    ['01 00000000 01 ffffffffff01 0a', /does not end/],
    ['01 00000000 01 01 0a 0011223344556677 08 00', /flags 8/],
    ['01 00000000 01 01 0a 0011223344556677 04 00 00', /DNS name that is empty/],
    ['01 00000000 01 01 0a 0011223344556677 04 01 0a 00', /DNS name with control/],
    [`01 00000000 01 01 0a 0011223344556677 04 fe ${'61'.repeat(254)} 00`, /at most 253/],
    [
      '0a 00000009 0000000a 04d2 0020000000000000 0000000000000001 00000002540be400 0000000000000000',
      /above 2\^53/,
    ],
    ['01 00000000 8108', /1025 heartbeats/],
    ['01 00000000 00 8108', /1025 hosts that are gone/],
    [`03 00000009 ${tableWire} 8108`, /1025 operations/],
    ['06 00000009 aabbccdd 00000002 00000004 8108', /1025 postulated/],
    ['07 00000009 00000004 8108', /1025 rows that differ/],
    [snapshot('01 00 8120'), /4097 rows/],
  ]
  for (const [wire, pattern] of hostile)
    assert.throws(() => decodeHealth(bytes(wire)), refused(pattern), wire)
})

it("a reason's control characters do not come through; a long one is cut, at a character", () => {
  const said = decodeHealth(bytes('02 00000009 03 61 1b 62'))
  assert.is(said.type === 'goodbye' && said.reason, 'a?b')
  const long = decodeHealth(encodeHealth({ type: 'goodbye', host: 1, reason: `a${'é'.repeat(300)}` }))
  assert.is(long.type === 'goodbye' && long.reason, `a${'é'.repeat(127)}`)
})

it('types above the known ones are marked as unknown, others are not', () => {
  const thrown = (wire: string): HealthError => {
    try {
      decodeHealth(bytes(wire))
    } catch (error) {
      if (error instanceof HealthError) return error
    }
    throw new Error(`${wire} was taken`)
  }
  assert.ok(thrown('0b').unknown)
  assert.ok(thrown('ff 00').unknown)
  assert.not(thrown('00').unknown)
  assert.not(thrown('08').unknown)
})

it('what is sent is in order, whatever the order it was given in; addresses come back canonical', () => {
  const entries = [9, 3, 5].map(host => ({ ...entry, host, beat: 10 - host }))
  const heartbeat = decodeHealth(encodeHealth({ type: 'heartbeat', leader: 1, entries, gone: [8, 2] }))
  assert.ok(heartbeat.type === 'heartbeat')
  assert.equal(
    heartbeat.entries.map(({ host, beat }) => [host, beat]),
    [
      [3, 7],
      [5, 5],
      [9, 1],
    ],
  )
  assert.equal(heartbeat.gone, [2, 8])
  const odd = { ...row, app: { ...dns, vip: 'FD00:0:0::5' } }
  const change = decodeHealth(
    encodeHealth({ type: 'row-change', host: 1, ...table, operations: [{ operation: 'add', row: odd }] }),
  )
  assert.equal(change.type === 'row-change' && change.operations, [
    { operation: 'add', row: { ...row, app: dns } },
  ])
})

it('what has no encoding is refused here, not sent', () => {
  const heartbeat = (change: Partial<HeartbeatEntry>): HealthMessage => ({
    type: 'heartbeat',
    leader: 0,
    entries: [{ ...entry, ...change }],
    gone: [],
  })
  const add = (change: object): HealthMessage => ({
    type: 'row-change',
    host: 1,
    ...table,
    operations: [{ operation: 'add', row: { ...row, ...change } }],
  })
  const impossible: HealthMessage[] = [
    { type: 'claim', host: 0, group: 1, generation: 1 },
    { type: 'claim', host: 1, group: -1, generation: 1 },
    { type: 'claim', host: 1, group: 1, generation: 2 ** 32 },
    { type: 'get-snapshot', host: 1, request: 1, chunks: [1] },
    { type: 'heartbeat', leader: 0, entries: [entry, entry], gone: [] },
    { type: 'heartbeat', leader: 0, entries: [], gone: [4, 4] },
    heartbeat({ beat: 0.5 }),
    heartbeat({ token: 'x' }),
    heartbeat({ dnsName: 'a\n' }),
    heartbeat({ dnsName: 'a'.repeat(254) }),
    add({ id: 0 }),
    add({ load: 256 }),
    add({ load: 0.5 }),
    add({ capacity: 100 }),
    add({ health: 'fine' }),
    add({ app: { ...web, vip: 'localhost' } }),
    add({ app: { ...web, port: 65_536 } }),
    add({ app: { ...web, specific: '\u001b[2J' } }),
    add({ app: { ...web, specific: 'é'.repeat(101) } }),
    { type: 'server-state', host: 1, state: { ...state, memoryBytes: Number.NaN } },
    { type: 'server-state', host: 1, state: { ...state, memoryFreeBytes: -1 } },
  ]
  for (const message of impossible)
    assert.throws(() => encodeHealth(message), isRangeError, JSON.stringify(message))
})

it('caps: messages at the cap go both ways, one more does not', () => {
  const many = <T>(count: number, make: (index: number) => T): T[] =>
    Array.from({ length: count }, (_, i) => make(i))
  const rows = many(MAX_ROWS + 1, i => ({
    ...row,
    id: i + 1,
    app: { ...web, specific: `/path/${i}/${'x'.repeat(180)}` },
  }))
  const atCap = (extra: number): HealthMessage[] => [
    {
      type: 'heartbeat',
      leader: 1,
      entries: many(MAX_ENTRIES + extra, i => ({ ...entry, host: i + 1 })),
      gone: [],
    },
    { type: 'heartbeat', leader: 1, entries: [], gone: many(MAX_ENTRIES + extra, i => i + 1) },
    {
      type: 'row-change',
      host: 1,
      ...table,
      operations: many(MAX_OPERATIONS + extra, i => ({ operation: 'add', row: rows[i]! })),
    },
    {
      type: 'postulate',
      host: 1,
      version: table.version,
      postulate: 1,
      states: many(MAX_OPERATIONS + extra, i => ({ id: i + 1, state: 'draining' })),
    },
    { type: 'postulate-wrong', host: 1, postulate: 1, differs: many(MAX_OPERATIONS + extra, i => i + 1) },
  ]
  for (const message of atCap(0)) {
    const encoded = encodeHealth(message)
    assert.ok(encoded.length <= MAX_HEALTH_BYTES)
    assert.equal(decodeHealth(encoded), message)
  }
  for (const message of atCap(1)) assert.throws(() => encodeHealth(message), isRangeError)
  const snapshot = (count: number): HealthMessage => ({
    type: 'send-snapshot',
    host: 1,
    request: 1,
    ...table,
    beat: 1,
    beatMs: 1000,
    leaseBeats: 3,
    chunks: many(16, index => ({
      index,
      rows: rows.slice(0, count).filter(({ id }) => chunkOf(id) === index),
    })),
  })
  // All rows that a host may have, each with a long pattern: 900 kB, deflated.
  assert.equal(decodeHealth(encodeHealth(snapshot(MAX_ROWS))), snapshot(MAX_ROWS))
  assert.throws(() => encodeHealth(snapshot(MAX_ROWS + 1)), /4096 rows/)
})

it.run()
