/** fast-check arbitraries of rows and health messages, in the form in which the wire gives them back. */
import fc from 'fast-check'
import { CAUSES, HEALTHS, STATES } from '../../src/health/codec-format.ts'
import { chunkOf } from '../../src/health/digest.ts'
import {
  type AppId,
  CHUNKS,
  type HealthMessage,
  type HeartbeatEntry,
  type Row,
  type RowOperation,
  type RowState,
  type ServerState,
} from '../../src/health/types.ts'
import { formatAddress } from '../../src/os/inet.ts'

/** Objects as literals make them: those without a prototype are not equal to what a decoder makes. */
const record = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
const u16 = fc.nat(0xffff)
export const u32 = fc.nat(0xffff_ffff)
export const notZero = fc.integer({ min: 1, max: 0xffff_ffff })
const ascending = (items: number[]): number[] => items.sort((a, b) => a - b)
export const hexToken = fc
  .uint8Array({ minLength: 8, maxLength: 8 })
  .map(bytes => Buffer.from(bytes).toString('hex'))
/** Of one to four bytes a character; drawn from few, since the widest alphabets of fast-check take seconds to begin. */
const text = (maxBytes: number) =>
  fc
    .array(fc.constantFrom('a', '7', '-', '/', '*', ' ', 'é', '…', '🦊'), { minLength: 1, maxLength: 60 })
    .map(characters => characters.join(''))
    .filter(value => new TextEncoder().encode(value).length <= maxBytes)
const address = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map(formatAddress),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map(formatAddress),
)

export const app: fc.Arbitrary<AppId> = record({
  vip: address,
  port: u16,
  physical: address,
  physicalPort: u16,
  protocol: fc.constantFrom('tcp' as const, 'udp' as const),
  specific: fc.oneof(fc.constant(''), text(200)),
})
export const rowState: fc.Arbitrary<RowState> = record({
  id: notZero,
  health: fc.constantFrom(...HEALTHS),
  load: fc.nat(255),
  capacity: fc.nat(99),
  target: fc.constantFrom(...STATES),
  current: fc.constantFrom(...STATES),
  cause: fc.constantFrom(...CAUSES),
})
export const row: fc.Arbitrary<Row> = fc.tuple(rowState, app).map(([state, app]) => ({ ...state, app }))
export const table = (maxLength: number): fc.Arbitrary<Row[]> =>
  fc.uniqueArray(row, { selector: ({ id }) => id, maxLength }).map(rows => rows.sort((a, b) => a.id - b.id))

const version = record({ instance: u32, generation: u32 })
const operation: fc.Arbitrary<RowOperation> = fc.oneof(
  record({ operation: fc.constant('add' as const), row }),
  record({ operation: fc.constant('update' as const), row: rowState }),
  record({ operation: fc.constant('delete' as const), id: notZero }),
)
const entry: fc.Arbitrary<HeartbeatEntry> = record({
  host: notZero,
  beat: u32,
  token: hexToken,
  hello: fc.boolean(),
  forward: fc.boolean(),
  dnsName: fc.oneof(fc.constant(''), text(253)),
})
const amount = fc.maxSafeNat()
const serverState: fc.Arbitrary<ServerState> = record({
  connections: u32,
  cpuPercent: fc.nat(10_000).map(value => value / 100),
  memoryBytes: amount,
  memoryFreeBytes: amount,
  bandwidthBits: amount,
  bandwidthFreeBits: amount,
})

const type = <T extends HealthMessage['type']>(name: T): fc.Arbitrary<T> => fc.constant(name)
export const healthMessage: fc.Arbitrary<HealthMessage> = fc.oneof(
  record({
    type: type('heartbeat'),
    leader: u32,
    entries: fc
      .uniqueArray(entry, { selector: ({ host }) => host, maxLength: 40 })
      .map(entries => entries.sort((a, b) => a.host - b.host)),
    gone: fc.uniqueArray(notZero, { maxLength: 10 }).map(ascending),
  }),
  record({ type: type('goodbye'), host: notZero, reason: text(255) }),
  record({
    type: type('row-change'),
    host: notZero,
    version,
    anchor: hexToken,
    anchorBeat: u32,
    operations: fc.array(operation, { maxLength: 10 }),
  }),
  record({
    type: type('get-snapshot'),
    host: notZero,
    request: u32,
    chunks: fc.oneof(fc.constant([]), fc.array(u32, { minLength: CHUNKS, maxLength: CHUNKS })),
  }),
  record({
    type: type('send-snapshot'),
    host: notZero,
    request: u32,
    version,
    anchor: hexToken,
    anchorBeat: u32,
    beat: u32,
    beatMs: fc.integer({ min: 1, max: 0xffff }),
    leaseBeats: fc.integer({ min: 1, max: 0xffff }),
    chunks: fc
      .tuple(table(20), fc.uniqueArray(fc.nat(CHUNKS - 1), { maxLength: CHUNKS }).map(ascending))
      .map(([rows, indexes]) =>
        indexes.map(index => ({ index, rows: rows.filter(({ id }) => chunkOf(id) === index) })),
      ),
  }),
  record({
    type: type('postulate'),
    host: notZero,
    version,
    postulate: u32,
    states: fc.array(record({ id: notZero, state: fc.constantFrom(...STATES) }), { maxLength: 10 }),
  }),
  record({
    type: type('postulate-wrong'),
    host: notZero,
    postulate: u32,
    differs: fc.array(notZero, { maxLength: 10 }),
  }),
  record({ type: type('postulate-right'), host: notZero, postulate: u32 }),
  record({ type: type('claim'), host: notZero, group: u32, generation: u32 }),
  record({ type: type('server-state'), host: notZero, state: serverState }),
)
