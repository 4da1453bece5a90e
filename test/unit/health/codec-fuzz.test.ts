/** Hostile bytes, and what messages cost on the wire. */
import { deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { decodeHealth, encodeHealth, MAX_HEALTH_BYTES } from '../../../src/health/codec.ts'
import { HealthError } from '../../../src/health/codec-error.ts'
import { DEFLATED, LAST_TYPE, MAX_BODY_BYTES } from '../../../src/health/codec-format.ts'
import { chunkOf } from '../../../src/health/digest.ts'
import { freeNumber, sha256 } from '../../../src/health/hash.ts'
import {
  CHUNKS,
  type HealthMessage,
  type HeartbeatEntry,
  type Row,
  type RowOperation,
} from '../../../src/health/types.ts'
import { healthMessage } from '../../support/health-messages.ts'

const it = suite('health messages: hostile and large')

/** The message, or undefined for a HealthError; all else goes on to the test. */
const decoded = (bytes: Uint8Array): HealthMessage | undefined => {
  try {
    return decodeHealth(bytes)
  } catch (error) {
    if (error instanceof HealthError) return undefined
    throw error
  }
}
const deflated = (encoded: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.of(encoded[0]! | DEFLATED), deflateRawSync(encoded.subarray(1))])

it('property: every message comes back as it was, also deflated', () => {
  fc.assert(
    fc.property(healthMessage, message => {
      const encoded = encodeHealth(message)
      assert.equal(decodeHealth(encoded), message)
      if (encoded[0]! < DEFLATED) assert.equal(decodeHealth(deflated(encoded)), message)
    }),
    { numRuns: 500 },
  )
})

it('property: random bytes are a message or a HealthError', () => {
  let taken = 0
  fc.assert(
    fc.property(
      fc.nat(LAST_TYPE + 1),
      fc.boolean(),
      fc.uint8Array({ maxLength: 120 }),
      (type, small, body) => {
        // Small numbers, so that counts and flags are often possible.
        const bytes = Buffer.from([type, ...(small ? body.map(byte => byte & 3) : body)])
        const message = decoded(bytes)
        if (message === undefined) return
        taken++
        // One encoding for each value: what was taken would have been sent just so. (A reason may have been made printable.)
        const again = encodeHealth(message)
        if (message.type !== 'goodbye' && again[0]! < DEFLATED) assert.equal(Buffer.from(again), bytes)
      },
    ),
    { numRuns: 5000 },
  )
  assert.ok(taken > 20, `only ${taken} were taken: the bytes are too wild to test anything`)
})

it('property: changed bytes of good messages are a message or a HealthError, deflated or not', () => {
  const change = fc.record({
    at: fc.nat(),
    value: fc.nat(255),
    kind: fc.constantFrom('set', 'cut', 'insert', 'flip'),
  })
  const outcomes = { taken: 0, refused: 0 }
  fc.assert(
    fc.property(
      healthMessage,
      fc.array(change, { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      (message, changes, within) => {
        const encoded = encodeHealth(message)
        let bytes = encoded
        for (const { at, value, kind } of changes) {
          const place = bytes.length === 0 ? 0 : at % bytes.length
          const rest = bytes.subarray(place + (kind === 'insert' ? 0 : 1))
          if (kind === 'cut') bytes = bytes.subarray(0, place)
          else if (kind === 'flip')
            bytes = Buffer.concat([
              bytes.subarray(0, place),
              Buffer.of((bytes[place] ?? 0) ^ (1 << (value % 8))),
              rest,
            ])
          else bytes = Buffer.concat([bytes.subarray(0, place), Buffer.of(value), rest])
        }
        const message2 = decoded(within && bytes.length > 0 && bytes[0]! < DEFLATED ? deflated(bytes) : bytes)
        outcomes[message2 === undefined ? 'refused' : 'taken']++
        if (message2 !== undefined) encodeHealth(message2)
      },
    ),
    { numRuns: 3000 },
  )
  assert.ok(outcomes.taken > 100 && outcomes.refused > 100, JSON.stringify(outcomes))
})

it('bombs and lies: what inflates to too much, what goes on after its end, counts of what is not there', () => {
  const bomb = deflated(Buffer.concat([Buffer.of(5), new Uint8Array(64 * 1024 * 1024)]))
  assert.ok(bomb.length < MAX_HEALTH_BYTES, 'small enough to be sent')
  assert.throws(() => decodeHealth(bomb), /to too much/)
  const right = encodeHealth({ type: 'postulate-right', host: 1, postulate: 2 })
  assert.throws(() => decodeHealth(Buffer.concat([deflated(right), Buffer.of(0)])), /after a deflated body/)
  assert.throws(() => decodeHealth(deflated(right).subarray(0, -1)), /does not inflate/)
  assert.throws(() => decodeHealth(Buffer.of(8 | DEFLATED)), /does not inflate/)
  assert.throws(() => decodeHealth(new Uint8Array(MAX_HEALTH_BYTES + 1).fill(1)), /262145 bytes/)
  // Nothing of the inflated bytes may be taken that the message does not hold.
  assert.throws(() => decodeHealth(deflated(Buffer.concat([right, Buffer.of(0)]))), /1 bytes too many/)
  assert.throws(
    () => decodeHealth(deflated(Buffer.concat([Buffer.of(1), new Uint8Array(MAX_BODY_BYTES - 1)]))),
    HealthErrorOf(/too many/),
  )
})
const HealthErrorOf = (pattern: RegExp) => (error: unknown) =>
  error instanceof HealthError && pattern.test(error.message)

it('memory: what many refused and taken messages leave behind is far less than what they inflated to', () => {
  const bomb = deflated(Buffer.concat([Buffer.of(5), new Uint8Array(16 * 1024 * 1024)]))
  const before = process.memoryUsage().rss
  for (let i = 0; i < 100; i++) assert.is(decoded(bomb), undefined)
  const grown = process.memoryUsage().rss - before
  assert.ok(grown < 400 * 1024 * 1024, `${grown} bytes more after 1.6 GB of bombs`)
})

it('sizes of typical messages', () => {
  const app = (i: number) => ({
    vip: `10.99.0.${1 + (i % 4)}`,
    port: 80,
    physical: '10.10.0.71',
    physicalPort: 8000 + i,
    protocol: 'tcp' as const,
    specific: '',
  })
  const id = (i: number): number => freeNumber(`id ${i}`, () => false)
  const row = (i: number): Row => ({
    id: id(i),
    app: app(i),
    health: 'healthy',
    load: 40,
    capacity: 50,
    target: 'active',
    current: 'active',
    cause: 'default',
  })
  const token = (i: number): string => sha256(`token ${i}`).toString('hex', 0, 8)
  const entry = (i: number): HeartbeatEntry => ({
    host: id(i),
    beat: 100_000 + ((i * 7919) % 5000),
    token: token(i),
    hello: false,
    forward: false,
    dnsName: '',
  })
  const table = { host: 7, version: { instance: 1, generation: 9 }, anchor: token(1), anchorBeat: 12 }
  const change = (operations: RowOperation[]): HealthMessage => ({ type: 'row-change', ...table, operations })
  const several = <T>(count: number, make: (i: number) => T): T[] =>
    Array.from({ length: count }, (_, i) => make(i))
  const snapshot = (count: number): HealthMessage => ({
    type: 'send-snapshot',
    ...table,
    request: 1,
    beat: 20,
    beatMs: 1000,
    leaseBeats: 3,
    chunks: several(CHUNKS, index => ({
      index,
      rows: several(count, row).filter(({ id }) => chunkOf(id) === index),
    })),
  })
  const heartbeat = (count: number): HealthMessage => ({
    type: 'heartbeat',
    leader: count > 1 ? 3 : 0,
    entries: several(count, entry),
    gone: [],
  })
  const update = (i: number): RowOperation => {
    const { app: _, ...state } = row(i)
    return { operation: 'update', row: state }
  }
  const messages: [string, HealthMessage, most: number][] = [
    ['heartbeat of one host', heartbeat(1), 30],
    ['heartbeat of 32 hosts', heartbeat(32), 32 * 17],
    ['heartbeat of 1,024 hosts', heartbeat(1024), 1024 * 16],
    ['row change: 1 update', change([update(0)]), 40],
    ['row change: 100 updates', change(several(100, update)), 100 * 9],
    ['row change: 1 row added', change([{ operation: 'add', row: row(0) }]), 60],
    ['snapshot of 10 rows', snapshot(10), 300],
    ['snapshot of 1,000 rows', snapshot(1000), 16_000],
    ['get snapshot', { type: 'get-snapshot', host: 7, request: 1, chunks: several(CHUNKS, id) }, 73],
    [
      'postulate of 1 row',
      {
        type: 'postulate',
        host: 7,
        version: table.version,
        postulate: 1,
        states: [{ id: 1, state: 'draining' }],
      },
      23,
    ],
    ['postulate right', { type: 'postulate-right', host: 7, postulate: 1 }, 9],
  ]
  const lines: string[] = []
  for (const [name, message, most] of messages) {
    const { length } = encodeHealth(message)
    lines.push(`  ${name.padEnd(28)}${String(length).padStart(7)} bytes`)
    assert.ok(length <= most, `${name}: ${length} bytes, at most ${most} were thought`)
  }
  process.stdout.write(`\n${lines.join('\n')}\n`)
})

it.run()
