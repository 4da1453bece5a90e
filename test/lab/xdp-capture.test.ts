/** What the program of `shunt capture` catches (bpf/capture.h), by the cases that any data plane must pass. */
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import type { CaptureOrder, CaptureRecord } from '../../src/agent/dataplane/capture.ts'
import { EdgeCapture } from '../../src/agent/dataplane/xdp/edge-capture.ts'
import { CAPTURE_CONFIG, COUNTER, EDGE_GLOBALS } from '../../src/agent/dataplane/xdp/layout/edge.ts'
import { missingBpf } from '../support/bpf.ts'
import type { DataplaneCase } from '../support/dataplane-case.ts'
import { dataplaneCases } from '../support/dataplane-cases.ts'
import { FAMILIES, type Family, OPEN_VIP, VIP } from '../support/dataplane-world.ts'
import { removeNetns } from '../support/netns.ts'
import { addressWords } from '../support/packets.ts'
import { testIf } from '../support/skip.ts'
import { XdpLab } from '../support/xdp-lab.ts'

const it = suite('xdp/capture')
const noBpf = missingBpf()
const test = (name: string, body: () => void): void => testIf(noBpf, it, name, body)
let lab: XdpLab

it.before(async () => {
  if (noBpf === undefined) lab = await XdpLab.open()
})
it.after(async () => {
  lab?.close()
  await removeNetns()
})

const cases = dataplaneCases()
const number = (reason: string): number => (COUNTER as Record<string, number>)[`COUNT_${reason}`]!

const order = (vip: string, change: Partial<CaptureOrder> = {}): CaptureOrder => ({
  ...{ at: 'client', vip: addressWords(vip), port: 0, client: new Uint32Array(4), mask: new Uint32Array(4) },
  ...{ count: 100_000, seconds: 60, snaplen: 256 },
  ...change,
})

const run = (one: DataplaneCase): { verdict: number; data: Uint8Array } => {
  if (one.route !== null) lab.addRoute(one.family, one.route)
  const ended = lab.netns.run(() => lab.run(one.frame))
  if (one.route !== null) lab.removeRoute(one.family, one.route)
  return ended
}

/** Runs the cases under a capture; what it caught of each, null for nothing. */
const caught = (of: readonly DataplaneCase[], wanted: CaptureOrder) => {
  const capture = new EdgeCapture(lab.object, lab.config, wanted)
  try {
    return of.map(one => {
      const { verdict, data } = run(one)
      const records: CaptureRecord[] = []
      capture.read(10, record => records.push({ ...record, head: record.head.slice() }))
      assert.ok(records.length <= 1, one.name)
      return { one, verdict, data, record: records[0] ?? null, lost: capture.lost() }
    })
  } finally {
    capture.close()
  }
}

for (const family of FAMILIES)
  test(`IPv${family}: each packet to the VIP as it came, with its verdict and its count; none of another`, () => {
    const all = caught(cases, order(VIP[family]))
    const plain = cases.map(one => run(one))
    let captured = 0
    for (const [i, { one, verdict, data, record, lost }] of all.entries()) {
      assert.is(lost, 0)
      assert.equal([verdict, data], [plain[i]!.verdict, plain[i]!.data], `${one.name}: as without a capture`)
      // What is neither passed nor of the other family is the VIP's, or the open one's.
      const isTold = one.fate !== 'passed' && one.family === family
      if (one.reason === 'NOT_A_VIP' || one.family !== family) assert.is(record, null, one.name)
      else if (isTold) assert.ok(record !== null || toOpen(one, family), one.name)
      if (record === null) continue
      captured++
      assert.equal(record.head, one.frame.subarray(0, 256), one.name)
      assert.equal(
        [record.length, record.verdict, record.reason, record.link],
        [one.frame.length, verdict, number(one.reason), lab.ingress],
        one.name,
      )
    }
    assert.ok(captured > 50, `${captured} of ${cases.length}`)
  })

const toOpen = ({ frame }: DataplaneCase, family: Family): boolean => {
  const bytes = Buffer.alloc(family === 4 ? 4 : 16)
  const words = addressWords(OPEN_VIP[family])
  for (let i = 0; i < bytes.length / 4; i++) bytes.writeUInt32BE(words[family === 4 ? 3 : i]!, 4 * i)
  return Buffer.from(frame).includes(bytes)
}

const forwarded = cases.filter(
  ({ fate, family, route }) => fate === 'forwarded' && family === 4 && route !== null,
)

test('port, client and length', () => {
  const [one] = forwarded
  const client = addressWords(one!.route!.client)
  const all = new Uint32Array(4).fill(0xffffffff)
  const frame = Buffer.from(one!.frame)
  const is = (change: Partial<CaptureOrder>): number | null =>
    caught([one!], order(VIP[4], change))[0]!.record?.head.length ?? null
  const port = [80, 53, 8080, 65_535, 1].filter(each => is({ port: each }) !== null)
  assert.is(port.length, 1, 'the port of the packet, and no other')
  assert.is(is({ client, mask: all }), Math.min(256, frame.length))
  assert.is(is({ client: addressWords('203.0.113.222'), mask: all }), null)
  assert.is(is({ snaplen: 40 }), 40)
})

test('the count is a bound, and the time too, without any agent', () => {
  const twenty = Array.from({ length: 20 }, () => forwarded[0]!)
  const some = caught(twenty, order(VIP[4], { count: 7 }))
  assert.equal(
    some.map(({ record }) => record !== null),
    twenty.map((_, i) => i < 7),
  )
  const late = new EdgeCapture(lab.object, lab.config, order(VIP[4]))
  const at = EDGE_GLOBALS.capture.offset + CAPTURE_CONFIG.untilNs
  lab.config.view.setBigUint64(at, process.hrtime.bigint() - 1n, true)
  run(forwarded[0]!)
  assert.is(
    late.read(10, () => {}),
    0,
  )
  late.close()
})

test('a ring that is full loses packets, and counts them', () => {
  const capture = new EdgeCapture(lab.object, lab.config, order(VIP[4]))
  const many = 3_000
  for (let i = 0; i < many; i++) run(forwarded[0]!)
  let taken = 0
  while (capture.read(1000, () => taken++) > 0);
  assert.ok(capture.lost() > 0)
  assert.is(taken + capture.lost(), many)
  capture.close()
})

test('off, it catches nothing; the next one does not see what came for the last', () => {
  const first = new EdgeCapture(lab.object, lab.config, order(VIP[4]))
  run(forwarded[0]!)
  first.close()
  run(forwarded[0]!)
  const second = new EdgeCapture(lab.object, lab.config, order(VIP[4]))
  assert.is(
    second.read(10, () => {}),
    0,
  )
  second.close()
})

it.run()
