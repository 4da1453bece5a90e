import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { functionUse, NO_USE, scalingAdvice, type UsageLook } from '../../../src/agent/usage.ts'

const it = suite('use of each function')
const look = (atMs: number, more: Partial<UsageLook> = {}): UsageLook => ({
  ...{ atMs, mainCpuMs: 0, workerCpuMs: 0, packets: NO_USE, bytes: { ...NO_USE, control: 0 } },
  ...more,
})
const TABLES = { forwarder: 300, classifier: 200, host: 100 }
const ALL = ['forwarder', 'classifier', 'host']

it("the thread's time is divided by packets; the kernel's bytes are whose they are", () => {
  const after = look(3_000, {
    mainCpuMs: 30,
    workerCpuMs: 600,
    packets: { forwarder: 600, classifier: 200, host: 200 },
    bytes: { forwarder: 1_000, classifier: 0, host: 500, control: 250 },
  })
  assert.equal(functionUse(look(1_000), after, TABLES, 1_000, ALL), [
    { function: 'forwarder', cpuPercent: 18, memoryBytes: 300, bandwidthBits: 4_000 },
    { function: 'classifier', cpuPercent: 6, memoryBytes: 200, bandwidthBits: 0 },
    { function: 'host', cpuPercent: 6, memoryBytes: 100, bandwidthBits: 2_000 },
    { function: 'control', cpuPercent: 1.5, memoryBytes: 400, bandwidthBits: 1_000 },
  ])
})

it('only functions that the node has; an idle thread is shared evenly; no time, no rates', () => {
  const use = functionUse(look(0), look(1_000, { workerCpuMs: 10 }), TABLES, 1_000, ['forwarder', 'host'])
  assert.equal(
    use.map(f => [f.function, f.cpuPercent]),
    [
      ['forwarder', 0.5],
      ['host', 0.5],
      ['control', 0],
    ],
  )
  const none = functionUse(look(5), look(5, { workerCpuMs: 10 }), TABLES, 1_000, ALL)
  assert.ok(none.every(f => f.cpuPercent === 0 && f.bandwidthBits === 0))
})

it('advises by the stated rule, and says nothing below it', () => {
  const use = functionUse(
    look(0),
    look(1_000, { workerCpuMs: 500, packets: { forwarder: 9, classifier: 1, host: 0 } }),
    ...([TABLES, 1_000, ALL] as const),
  )
  const table = (used: number) => [{ name: 'flows', used, capacity: 100 }]
  assert.equal(scalingAdvice('f1', 69, use, table(69)), [])
  assert.equal(scalingAdvice('f1', null, use, []), [])
  const [cpu, full] = scalingAdvice('f1', 70, use, table(70))
  assert.match(cpu!, /^f1 uses 70 % of its CPU, most of ours as forwarder: add a forwarder/)
  assert.match(full!, /^the table flows of f1 is 70 % full/)
  const idle = functionUse(look(0), look(1_000), TABLES, 1_000, ALL)
  assert.match(scalingAdvice('h1', 90, idle, [])[0]!, /not for balancing: add hosts/)
})

it.run()
