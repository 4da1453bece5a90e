import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  PROBE_EVENT,
  PROBE_EVENT_BYTES,
  PROBE_GLOBALS,
  PROBE_KIND,
} from '../../src/agent/dataplane/xdp/layout/probe.ts'
import type { LoadedObject } from '../../src/os/bpf/load.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { BpfRing } from '../../src/os/bpf/ring.ts'
import { EventFd } from '../../src/os/eventfd.ts'
import { Poller } from '../../src/os/poller.ts'
import { loadProbe, missingBpf, openFds, runTimes, udp4Frame } from '../support/bpf.ts'
import { PATIENCE_MS, readable } from '../support/os-lab.ts'
import { testIf } from '../support/skip.ts'

const it = suite('bpf/ring')
const noBpf = missingBpf()
const lab = (name: string, run: () => Promise<void> | void): void => testIf(noBpf, it, name, run)

/** Processor time of a thread (`<pid>/task/<tid>`), in hundredths of a second. */
const ticks = (thread: string): number => {
  const fields = readFileSync(`/proc/${thread}/stat`, 'latin1')
    .replace(/^.*\) /s, '')
    .split(' ')
  return Number(fields[11]) + Number(fields[12])
}
const none = (): void => assert.unreachable('there is no record')
const emit = (probe: LoadedObject, records: number): void => {
  runTimes(probe.program('probe'), udp4Frame(), records)
}
const sequencesOf = (ring: BpfRing, most = Number.POSITIVE_INFINITY): number[] => {
  const seen: number[] = []
  ring.receive(most, (view, offset) => seen.push(Number(view.getBigUint64(offset, true))))
  return seen
}
const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, n) => from + n)

lab('a record has what the program put there, at the places of the generated layout', () => {
  const probe = loadProbe()
  const ring = new BpfRing(probe.map('events'))
  assert.is(readable(ring.fd), false)
  assert.is(ring.receive(8, none), 0)
  emit(probe, 1)
  assert.is(readable(ring.fd, PATIENCE_MS), true)
  const frame = udp4Frame()
  const taken = ring.receive(8, (view, offset, length) => {
    assert.is(length, PROBE_EVENT_BYTES)
    assert.is(view.getBigUint64(offset + PROBE_EVENT.sequence, true), 1n)
    assert.is(view.getUint32(offset + PROBE_EVENT.interfaceIndex, true), 1)
    assert.is(view.getUint32(offset + PROBE_EVENT.length, true), frame.length)
    assert.is(view.getUint32(offset + PROBE_EVENT.kind, true), PROBE_KIND.PROBE_IPV4)
    const head = new Uint8Array(view.buffer, view.byteOffset + offset + PROBE_EVENT.head, 16)
    assert.equal([...head], [...frame.subarray(0, 16)])
  })
  assert.is(taken, 1)
  assert.is(readable(ring.fd), false)
  ring.close()
  probe.close()
})

lab('takes as many as it is asked for, in order, and goes round a small ring many times', () => {
  const probe = loadProbe({ maxEntries: { events: 4096 } })
  const ring = new BpfRing(probe.map('events'))
  let next = 1
  for (let round = 0; round < 40; round++) {
    emit(probe, 50)
    assert.equal(sequencesOf(ring, 20), range(next, 20))
    assert.is(readable(ring.fd), true)
    assert.equal(sequencesOf(ring), range(next + 20, 30))
    next += 50
  }
  ring.close()
  probe.close()
})

lab('what finds the ring full is counted by the program, and the rest is whole', () => {
  const probe = loadProbe({ maxEntries: { events: 4096 } })
  const ring = new BpfRing(probe.map('events'))
  const fits = Math.floor((4096 - 1) / (PROBE_EVENT_BYTES + 8))
  emit(probe, 100)
  const bss = new MappedArray(probe.map('bss'))
  assert.is(Number(bss.view.getBigUint64(PROBE_GLOBALS.recordsLost.offset, true)), 100 - fits)
  assert.equal(sequencesOf(ring), range(1, fits))
  emit(probe, 1)
  assert.equal(sequencesOf(ring), [101])
  bss.release()
  ring.close()
  probe.close()
})

lab('gives the room back also when the handler throws', () => {
  const probe = loadProbe()
  const ring = new BpfRing(probe.map('events'))
  emit(probe, 3)
  const throwing = () =>
    ring.receive(8, () => {
      throw new Error('handler')
    })
  assert.throws(throwing, /handler/)
  assert.equal(sequencesOf(ring), [2, 3])
  ring.close()
  assert.is(ring.receive(8, none), 0)
  probe.close()
})

lab('only a ring buffer is one', () => {
  const probe = loadProbe()
  assert.throws(() => new BpfRing(probe.map('counts')), /no ring buffer/)
  probe.close()
})

lab('a worker that waits in poll(2) gets every record, and sleeps in between', async () => {
  const before = openFds()
  const probe = loadProbe()
  const [stop, ready] = [EventFd.open(), EventFd.open()]
  const worker = new Worker(join(import.meta.dirname, '../support/bpf-ring-worker.ts'), {
    workerData: { ringFd: probe.map('events').fd, stopFd: stop.fd, readyFd: ready.fd },
    execArgv: ['--no-warnings'],
  })
  const named = once(worker, 'message')
  const poller = new Poller()
  poller.add(ready.fd)
  assert.is(poller.wait(PATIENCE_MS), 1, 'the worker starts')
  const [{ thread }] = await named
  const answer = once(worker, 'message')
  const reader = new BpfRing(probe.map('events')) // only to see when it is empty
  const total = 3000
  for (let sent = 0; sent < total; sent += 500) {
    emit(probe, 500)
    const deadline = performance.now() + PATIENCE_MS
    while (readable(reader.fd) && performance.now() < deadline)
      await new Promise(resolve => setTimeout(resolve, 5))
    assert.is(readable(reader.fd), false, 'the worker has taken all')
  }
  const busyBefore = ticks(thread)
  await new Promise(resolve => setTimeout(resolve, 500)) // nothing happens: a thread that spins gives itself away
  const busy = ticks(thread) - busyBefore
  stop.signal()
  const [{ sequences, idle }] = await answer
  assert.equal(sequences.map(Number), range(1, total))
  assert.ok(busy <= 1, `${busy} ticks of 10 ms while nothing happened`)
  assert.ok(idle < 100, `${idle} wake-ups for nothing`)
  await worker.terminate()
  reader.close()
  for (const event of [stop, ready]) event.close()
  probe.close()
  const left = openFds().filter(fd => !before.includes(fd))
  assert.ok(left.length <= 1, `left open: ${left}`)
})

it.run()
