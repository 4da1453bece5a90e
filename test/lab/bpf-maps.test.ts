import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  PROBE_COUNT,
  PROBE_ENTRY,
  PROBE_KEY,
  PROBE_KIND,
} from '../../src/agent/dataplane/xdp/layout/probe.ts'
import { BpfMap, createMap } from '../../src/os/bpf/map.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import {
  counted,
  index,
  loadProbe,
  missingBpf,
  openFds,
  runTimes,
  tcp4Frame,
  udp4Frame,
} from '../support/bpf.ts'
import { testIf } from '../support/skip.ts'

const it = suite('bpf/maps')
const noBpf = missingBpf()
const lab = (name: string, run: () => void): void => testIf(noBpf, it, name, run)

const HASH = 1
const PERCPU_ARRAY = 6
const hash = (maxEntries: number, keyBytes = 4, valueBytes = 8) =>
  createMap({ type: HASH, name: 'test', keyBytes, valueBytes, maxEntries, flags: 0 })
const u64 = (value: number): Uint8Array => new Uint8Array(BigUint64Array.of(BigInt(value)).buffer)

lab('looks up, sets, replaces and deletes, and says what was there', () => {
  const map = hash(2)
  assert.is(map.lookup(index(1)), null)
  assert.is(map.update(index(1), u64(5), 'replace'), false)
  assert.is(map.update(index(1), u64(5), 'insert'), true)
  assert.is(map.update(index(1), u64(6), 'insert'), false)
  assert.equal(map.lookup(index(1)), u64(5))
  assert.is(map.update(index(1), u64(6), 'replace'), true)
  assert.is(map.update(index(2), u64(7)), true)
  assert.is(map.update(index(3), u64(8)), false, 'it is full')
  assert.equal(map.lookup(index(1)), u64(6))
  assert.is(map.delete(index(1)), true)
  assert.is(map.delete(index(1)), false)
  assert.throws(() => map.lookup(new Uint8Array(3)), /has 4 bytes, this one 3/)
  assert.throws(() => map.update(index(1), new Uint8Array(4)), /has 8 bytes, this one 4/)
  map.close()
  assert.throws(() => map.lookup(index(1)), /EBADF/)
})

lab('what a look-up answered stays as it was', () => {
  const map = hash(2)
  map.update(index(1), u64(1))
  const first = map.lookup(index(1))
  map.update(index(1), u64(2))
  map.lookup(index(1))
  assert.equal(first, u64(1))
  map.close()
})

lab('lists keys one by one to the end', () => {
  const map = hash(16)
  for (let n = 0; n < 10; n++) map.update(index(n), u64(n))
  const keys: number[] = []
  for (let key = map.nextKey(null); key !== null; key = map.nextKey(key))
    keys.push(new DataView(key.buffer).getUint32(0, true))
  assert.equal(
    keys.sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  )
  map.close()
})

lab('sets, reads and deletes thousands at once', () => {
  const count = 5000
  const map = hash(count)
  const [keys, values] = [Buffer.alloc(count * 4), Buffer.alloc(count * 8)]
  for (let n = 0; n < count; n++) {
    keys.writeUInt32LE(n * 3, n * 4)
    values.writeUInt32LE(n, n * 8)
  }
  assert.is(map.updateBatch(keys, values, count), count)
  for (const chunk of [1, 64, 777, 100_000]) {
    const seen = new Map<number, number>()
    for (const batch of map.batches(chunk)) {
      const [k, v] = [batch.keys, batch.values].map(b => new DataView(b.buffer, b.byteOffset, b.byteLength))
      for (let n = 0; n < batch.count; n++) seen.set(k.getUint32(n * 4, true), v.getUint32(n * 8, true))
    }
    assert.is(seen.size, count, `in chunks of ${chunk}`)
    for (let n = 0; n < count; n++) assert.is(seen.get(n * 3), n)
  }
  assert.is(map.deleteBatch(keys, 4000), 4000)
  assert.is(map.lookup(index(0)), null)
  assert.equal(map.lookup(index(4000 * 3)), u64(4000))
  assert.is(map.deleteBatch(keys, 10), 0, 'they are gone')
  assert.throws(() => map.updateBatch(keys, values, count + 1), /do not lie in these buffers/)
  map.close()
})

lab('a batch that finds the map full tells how far it came', () => {
  const map = hash(100)
  const keys = Buffer.alloc(300 * 4)
  for (let n = 0; n < 300; n++) keys.writeUInt32LE(n, n * 4)
  const done = map.updateBatch(keys, Buffer.alloc(300 * 8), 300)
  assert.ok(done >= 100 && done < 300, `${done}`)
  assert.is(map.lookup(index(done)), null)
  assert.not.equal(map.lookup(index(done - 1)), null)
  map.close()
})

lab('values of a per-CPU map are those of all processors', () => {
  const map = createMap({
    type: PERCPU_ARRAY,
    name: 'each',
    keyBytes: 4,
    valueBytes: 12,
    maxEntries: 2,
    flags: 0,
  })
  assert.is(map.valueBytes % 16, 0)
  const value = new Uint8Array(map.valueBytes).map((_, at) => (at % 16 < 12 ? at & 0xff : 0))
  assert.is(map.update(index(1), value), true)
  assert.equal(map.lookup(index(1)), value)
  assert.throws(() => map.delete(index(1)), /EINVAL/)
  map.close()
})

lab('memory of an array is shared with programs, both ways', () => {
  const before = openFds()
  const probe = loadProbe()
  const counts = new MappedArray(probe.map('counts'))
  assert.equal([counts.entries, counts.stride, counts.bytes.length], [3, 16, 48])
  const at = PROBE_KIND.PROBE_IPV4 * counts.stride + PROBE_COUNT.packets
  runTimes(probe.program('probe'), udp4Frame(), 3)
  assert.is(counts.view.getBigUint64(at, true), 3n)
  assert.is(Atomics.load(counts.words, at / 8), 3n)
  Atomics.add(counts.words, at / 8, 1000n)
  probe.program('probe').testRun({ data: udp4Frame() })
  assert.is(counted(probe.map('counts'), PROBE_KIND.PROBE_IPV4).packets, 1004)

  probe.close() // the memory stays without its descriptor
  counts.words[at / 8] = 5n
  assert.is(counts.words[at / 8], 5n)
  const { bytes, words, view } = counts
  counts.release()
  counts.release()
  assert.equal([bytes.length, words.length, words[0]], [0, 0, undefined])
  assert.throws(() => view.getUint8(0), /detached/i)
  assert.equal(openFds(), before)
})

lab('only arrays that were made for it have memory to share', () => {
  const map = hash(1)
  assert.throws(() => new MappedArray(map), /BPF_F_MMAPABLE/)
  map.close()
})

lab('entries that a program made are read by the generated layout', () => {
  const probe = loadProbe()
  const frame = tcp4Frame('192.0.2.7')
  runTimes(probe.program('probe'), frame, 2)
  const [batch, ...more] = [...probe.map('sources').batches()]
  assert.is(more.length, 0)
  assert.is(batch.count, 1)
  assert.equal([...batch.keys.subarray(PROBE_KEY.source, PROBE_KEY.source + 4)], [192, 0, 2, 7])
  assert.is(batch.keys[PROBE_KEY.protocol], 6)
  const value = new DataView(batch.values.buffer, batch.values.byteOffset)
  assert.is(value.getBigUint64(PROBE_ENTRY.countPackets, true), 2n)
  assert.is(value.getBigUint64(PROBE_ENTRY.countBytes, true), BigInt(2 * frame.length))
  assert.is(value.getUint32(PROBE_ENTRY.interfaceIndex, true), 1)
  assert.is(value.getUint32(PROBE_ENTRY.lastLength, true), frame.length)
  probe.close()
})

lab('another thread attaches by number and closes only its own', () => {
  const map = hash(2)
  const other = BpfMap.attach(map.fd)
  other.update(index(1), u64(1))
  other.close()
  assert.equal(map.lookup(index(1)), u64(1))
  map.close()
})

it.run()
