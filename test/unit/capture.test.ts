import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { CaptureSession, captureOrder } from '../../src/agent/capture-session.ts'
import { Capture, type CaptureBatch, type CaptureRecord } from '../../src/agent/dataplane/capture.ts'
import type { PacketSide } from '../../src/agent/packet-side.ts'
import type { CaptureData } from '../../src/control/types.ts'
import type { ShuntError } from '../../src/errors.ts'

const it = suite('capture')

const record = (n: number): CaptureRecord => ({
  ...{ timeUs: n, link: 1, length: 100, head: Uint8Array.of(n), verdict: 2, reason: 14 },
})

/** A source with so many packets waiting; its `head` is one buffer for all. */
const make = (order: { count: number; seconds: number }) => {
  const source = {
    waiting: [] as CaptureRecord[],
    lostNow: 0,
    closed: 0,
    fds: [7],
    read(max: number, deliver: (one: CaptureRecord) => void): number {
      const taken = this.waiting.splice(0, max)
      const shared = new Uint8Array(1)
      for (const one of taken) {
        shared[0] = one.head[0]!
        deliver({ ...one, head: shared })
      }
      return taken.length
    },
    lost() {
      return this.lostNow
    },
    close() {
      this.closed++
    },
  }
  const batches: CaptureBatch[] = []
  const capture = new Capture(source, order, 1000, batch => batches.push(batch))
  return { source, batches, capture }
}
const numbers = (batches: CaptureBatch[]): number[] =>
  batches.flatMap(({ records }) => records.map(({ head }) => head[0]!))

it('hands on what comes, each packet a copy, and says nothing when nothing comes', () => {
  const { source, batches, capture } = make({ count: 10, seconds: 5 })
  assert.not(capture.turn(1000))
  assert.equal(batches, [])
  source.waiting.push(record(1), record(2))
  assert.not(capture.turn(1001))
  assert.equal([numbers(batches), batches[0]?.end], [[1, 2], null])
})

it('the count is a bound, also when more came at once', () => {
  const { source, batches, capture } = make({ count: 3, seconds: 5 })
  source.waiting.push(...[1, 2, 3, 4, 5].map(record))
  assert.ok(capture.turn(1001))
  assert.equal(numbers(batches), [1, 2, 3])
  assert.equal([batches.at(-1)?.end, source.closed], ['count', 1])
})

it('the time is a bound; what came until then is told', () => {
  const { source, batches, capture } = make({ count: 10, seconds: 2 })
  assert.is(capture.waitMs(1500), 1500)
  assert.is(capture.waitMs(9000), 0)
  assert.not(capture.turn(2999))
  source.waiting.push(record(9))
  assert.ok(capture.turn(3000))
  assert.equal([numbers(batches), batches.at(-1)?.end, source.closed], [[9], 'time', 1])
})

it('what was lost is told once', () => {
  const { source, batches, capture } = make({ count: 10, seconds: 2 })
  source.lostNow = 4
  capture.turn(1000)
  capture.turn(1001)
  assert.equal(
    batches.map(({ lost }) => lost),
    [4],
  )
})

it('one turn takes a bounded part of a flood', () => {
  const { source, batches, capture } = make({ count: 100_000, seconds: 2 })
  source.waiting.push(...Array.from({ length: 5000 }, (_, i) => record(i & 0xff)))
  assert.not(capture.turn(1000))
  assert.is(numbers(batches).length, 512)
})

it('ended by whoever asked', () => {
  const { source, batches, capture } = make({ count: 10, seconds: 2 })
  capture.close()
  assert.equal([batches.at(-1)?.end, source.closed], ['stopped', 1])
})

it('an order: addresses as words, a prefix as client and mask', () => {
  const order = (client?: string, vip = '198.51.100.10') =>
    captureOrder({ vip, port: 80, ...(client && { client }), count: 1, seconds: 1, snaplen: 64 }, 'client')
  assert.equal([...order().vip], [0, 0, 0xffff, 0xc633640a])
  assert.equal([...order().mask], [0, 0, 0, 0])
  const all = 0xffffffff
  assert.equal([...order('203.0.113.7/24').mask], [all, all, all, 0xffffff00])
  assert.equal([...order('203.0.113.7/24').client], [0, 0, 0xffff, 0xcb007100])
  assert.equal([...order('203.0.113.7').mask], [all, all, all, all])
  assert.equal([...order('203.0.113.7/0').mask], [all, all, all, 0])
  assert.equal([...order('2001:db8::/33', '2001:db8::1').mask], [all, 0x80000000, 0, 0])
  try {
    order('2001:db8::/33')
    assert.unreachable()
  } catch (error) {
    assert.is((error as ShuntError).code, 'SHUNT_ERR_USAGE')
  }
})

it('a capture that begins right after another was ended is not ended by the last word of that one', async () => {
  const answers: ((refused: string | null) => void)[] = []
  const dataplane = {
    captured: null as ((batch: CaptureBatch) => void) | null,
    capture: () => new Promise<string | null>(resolve => answers.push(resolve)),
    captureStop() {},
  }
  const config = { roles: ['forwarder'], services: [{ vip: '198.51.100.10' }] }
  const session = new CaptureSession({ dataplane, config } as unknown as PacketSide)
  const query = { vip: '198.51.100.10', count: 5, seconds: 5, snaplen: 64 }
  const one = session.begin(query, () => {})
  answers.shift()!(null)
  const stop = await one
  stop()
  const got: CaptureData[] = []
  const two = session.begin(query, data => got.push(data))
  dataplane.captured!({ records: [record(1)], lost: 0, end: 'stopped' })
  answers.shift()!(null)
  await two
  assert.equal(got, [])
  dataplane.captured!({ records: [record(2)], lost: 0, end: 'count' })
  assert.equal(
    got.map(({ packets, end }) => [packets.length, end]),
    [[1, 'count']],
  )
})

it.run()
