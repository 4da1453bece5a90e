/** What a peer may cost: few bytes that inflate to many rows count as many. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { HealthInbox } from '../../../src/agent/health/health-inbox.ts'
import { encodeHealth } from '../../../src/health/codec.ts'
import type { HealthMessage, Row } from '../../../src/health/types.ts'

const it = suite('agent/health/health-inbox')

const row = (id: number): Row => ({
  ...{ id, health: 'healthy', load: 0, capacity: 50, target: 'active', current: 'active', cause: 'default' },
  app: {
    ...{ vip: 'fd00::1', port: 80, physical: 'fd00::2', physicalPort: 80, protocol: 'tcp' },
    specific: 'x'.repeat(160),
  },
})
const rowChange = (rows: number): HealthMessage => ({
  ...{ type: 'row-change', host: 1, version: { instance: 1, generation: 2 } },
  ...{ anchor: '00'.repeat(8), anchorBeat: 1 },
  operations: Array.from({ length: rows }, (_, i) => ({ operation: 'add', row: row(i + 1) })),
})
const setUp = () => {
  const counted: Record<string, number> = {}
  const inbox = new HealthInbox(what => (counted[what] = (counted[what] ?? 0) + 1))
  /** Messages that were read of so many in one second, one after the other. */
  const taken = (bytes: Uint8Array, times: number): number =>
    Array.from({ length: times }, (_, i) => inbox.take('h2', bytes, 1000 + (1000 * i) / times)).filter(
      message => message !== null,
    ).length
  return { inbox, counted, taken }
}

it('a peer whose few bytes inflate to many rows is heard a few times', () => {
  const { inbox, counted, taken } = setUp()
  const bytes = encodeHealth(rowChange(1024))
  assert.ok(bytes.length < 4_096, `${bytes.length} bytes`)
  const read = taken(bytes, 100)
  assert.ok(read >= 4 && read <= 8, `${read} were read`)
  assert.equal(counted, { messages_in: 100, messages_over_rate: 100 - read })
  assert.is.not(inbox.take('h3', bytes, 2000), null, 'others are not to blame')
})

it('small messages are all read, and a table that is told for the first time is', () => {
  const { counted, taken } = setUp()
  assert.is(taken(encodeHealth({ type: 'claim', host: 1, group: 0, generation: 1 }), 280), 280)
  assert.is(taken(encodeHealth(rowChange(1024)), 3), 3)
  assert.is(taken(new Uint8Array([0]), 5), 0)
  assert.equal(counted, { messages_in: 288, messages_bad: 5 })
})

it.run()
