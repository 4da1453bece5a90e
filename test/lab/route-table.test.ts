/** The route table in a map of the kernel: its programs and the agent do what they do to one and the same memory, also at once. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type Family,
  ROUTE_RESULT,
  ROUTE_STATE,
  routeMapSize,
} from '../../src/agent/dataplane/xdp/route-layout.ts'
import { formatRouteMemory, newRouteSecret } from '../../src/agent/dataplane/xdp/route-memory.ts'
import { RouteTable } from '../../src/agent/dataplane/xdp/route-table.ts'
import { packContent } from '../../src/agent/dataplane/xdp/route-value.ts'
import { loadObject } from '../../src/os/bpf/load.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import type { BpfObjectFile } from '../../src/os/bpf/object-file.ts'
import { compileText, missingCompiler } from '../support/bpf.ts'
import { integers, seeded } from '../support/random.ts'
import { content, setClient } from '../support/routes.ts'
import { testIf } from '../support/skip.ts'

const it = suite('route table in the kernel')
const missing = missingCompiler()
const { INSERTED, EXISTS, UPDATED, STALE, MISSING, REMOVED } = ROUTE_RESULT
const KIND = {
  GET: 0,
  INSERT: 1,
  UPDATE: 2,
  STATE: 3,
  REMOVE: 4,
  PROMOTE: 5,
  TOUCH: 6,
  EMBRYONIC: 7,
} as const
/** Of struct lab. */
const LAB = { kind: 0, n: 4, now: 8, value: 16, result: 24, looks: 40, wrong: 48, lost: 56 } as const
const CONFIG_BYTES = 80
const CHURN_MS = 1500
const SOURCE = readFileSync(join(import.meta.dirname, '../support/route_lab.bpf.c'), 'utf8')

let file: BpfObjectFile | null = null
it.before(async () => {
  if (missing === undefined) file = await compileText('route_lab', SOURCE)
})

/** The programs, and both sides' view of one table of each kind. */
const start = (family: Family, buckets: number, kept: number, keys: number) => {
  const secret = newRouteSecret()
  const config = new Uint8Array(CONFIG_BYTES)
  new Uint32Array(config.buffer, 0, 3).set([buckets, kept, keys])
  config.set(new Uint8Array(secret.buffer), 16)
  const { valueBytes } = routeMapSize(family, 1)
  const entries = buckets + 128 / valueBytes
  const loaded = loadObject(file!, {
    layout: file!.layout,
    set: [[{ section: 'rodata', offset: 0, bytes: CONFIG_BYTES }, config]],
    maxEntries: { [`routes${family}`]: entries, [`embryonic${family}`]: entries },
  })
  const [routes, embryonic] = ['routes', 'embryonic'].map(name => {
    const mapped = new MappedArray(loaded.map(`${name}${family}`))
    return { mapped, table: new RouteTable(formatRouteMemory(mapped.bytes, family, buckets, secret)) }
  })
  const bss = new MappedArray(loaded.map('bss'))
  const ask = (kind: number, n: number, value = 0n, now = 0): bigint => {
    bss.view.setUint32(LAB.kind, kind, true)
    bss.view.setUint32(LAB.n, n, true)
    bss.view.setUint32(LAB.now, now, true)
    bss.view.setBigUint64(LAB.value, value, true)
    loaded.program(`op_${family}`).testRun({ data: new Uint8Array(64) })
    return bss.view.getBigUint64(LAB.result, true)
  }
  const close = (): void => {
    for (const mapped of [routes.mapped, embryonic.mapped, bss]) mapped.release()
    loaded.close()
  }
  return {
    loaded,
    table: routes.table,
    embryonic: embryonic.table,
    bss,
    ask: (...args: Parameters<typeof ask>) => Number(ask(...args)),
    value: (n: number) => ask(KIND.GET, n),
    [Symbol.dispose]: close,
  }
}

for (const family of [4, 6] as const) {
  testIf(missing, it, `what one side does the other sees, IPv${family}`, () => {
    using lab = start(family, 8, 0, 1)
    const { table, embryonic, ask } = lab
    const key = table.newKey()
    const at = (n: number) => table.get(setClient(key, family, n))
    const held = packContent(content(0x03000001, { generation: 5 }))
    assert.is(ask(KIND.INSERT, 1, held, 7), INSERTED)
    assert.equal(at(1), { ...content(0x03000001, { generation: 5 }), stamp: 7 })
    assert.is(table.insert(setClient(key, family, 1), content(9), 7).result, EXISTS)
    assert.is(ask(KIND.UPDATE, 1, packContent(content(2, { generation: 4 }))), STALE)
    assert.is(table.update(setClient(key, family, 1), content(3, { generation: 6 })), UPDATED)
    assert.is(Number(lab.value(1) & 0xffffffffn), 3)
    assert.is(ask(KIND.STATE, 1, BigInt(ROUTE_STATE.FIN)), UPDATED)
    ask(KIND.TOUCH, 1, 0n, 9)
    assert.equal([at(1)?.state, at(1)?.stamp], [ROUTE_STATE.FIN, 9])
    assert.is(ask(KIND.REMOVE, 1), REMOVED)
    assert.equal([at(1), ask(KIND.REMOVE, 1)], [null, MISSING])
    table.insert(setClient(key, family, 2), content(4), 1)
    assert.is(Number(lab.value(2) & 0xffffffffn), 4)
    assert.is(ask(KIND.EMBRYONIC, 3, packContent(content(5, { state: 0 })), 1), INSERTED)
    assert.is(embryonic.get(setClient(embryonic.newKey(), family, 3))?.identifier, 5)
    assert.is(ask(KIND.PROMOTE, 3, 0n, 2), INSERTED)
    assert.equal(at(3), { ...content(5, { state: ROUTE_STATE.YOUNG }), stamp: 2 })
    assert.is(embryonic.get(setClient(embryonic.newKey(), family, 3)), null)
  })

  testIf(missing, it, `both at once: no wrong route, none lost, IPv${family}`, async () => {
    const kept = 6
    const keys = 48
    using lab = start(family, 8, kept, keys)
    const { table, bss } = lab
    const key = table.newKey()
    for (let n = 0; n < kept; n++)
      table.insert(setClient(key, family, n), content(n << 16, { pinned: true }), 0)
    const workerData = { fd: lab.loaded.program(`churn_${family}`).fd, milliseconds: CHURN_MS }
    const worker = new Worker(new URL('../support/bpf-churn-worker.ts', import.meta.url), { workerData })
    const ended = once(worker, 'message')
    await once(worker, 'online')
    const below = integers(seeded(family))
    const counts = { wrong: 0, lost: 0, looks: 0 }
    for (const end = performance.now() + CHURN_MS; performance.now() < end; )
      for (let i = 0; i < 1000; i++) {
        const n = below(keys)
        setClient(key, family, n)
        const what = below(4)
        if (n >= kept && what === 0) table.insert(key, content((n << 16) | below(0x8000)), below(2))
        else if (n >= kept && what === 1) table.remove(key)
        else {
          const route = table.get(key)
          counts.looks++
          if (route === null ? n < kept : route.identifier >>> 16 !== n) counts[route ? 'wrong' : 'lost']++
        }
      }
    assert.ok((await ended)[0] > 0)
    await worker.terminate()
    const kernel = (at: number): number => Number(bss.view.getBigUint64(at, true))
    assert.equal([counts.wrong, counts.lost, kernel(LAB.wrong), kernel(LAB.lost)], [0, 0, 0, 0])
    assert.ok(counts.looks > 1000 && kernel(LAB.looks) > 10_000, 'hardly anything happened')
  })
}

it.run()
