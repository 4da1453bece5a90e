/** The mapping table in a map of the kernel: its programs look up on one processor what the agent changes on another. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { formatMappingMemory } from '../../src/agent/dataplane/xdp/mapping-memory.ts'
import { type MappingContent, type MappingKey, swap32 } from '../../src/agent/dataplane/xdp/mapping-slots.ts'
import { KernelMappings } from '../../src/agent/dataplane/xdp/mapping-table.ts'
import { bucketBytes, type Family, ROUTE_HEADER_BYTES } from '../../src/agent/dataplane/xdp/route-layout.ts'
import { newRouteSecret } from '../../src/agent/dataplane/xdp/route-memory.ts'
import { loadObject } from '../../src/os/bpf/load.ts'
import { MappedArray } from '../../src/os/bpf/mapped.ts'
import { compileText, missingCompiler } from '../support/bpf.ts'
import { integers, seeded } from '../support/random.ts'
import { testIf } from '../support/skip.ts'

const it = suite('mapping table in the kernel')
const missing = missingCompiler()
const SOURCE = readFileSync(join(import.meta.dirname, '../support/mapping_lab.bpf.c'), 'utf8')
/** Of struct lab. */
const LAB = { looks: 8, found: 16, wrong: 24, lost: 32 } as const
const CONFIG_BYTES = 80
const BUCKETS = 6
const KEPT = 6
const KEYS = 28
const CHURN_MS = 1500
const NOW = 5

const keyOf = (n: number): MappingKey => ({ tunnel: 1 + (n & 1), generation: 0, identifier: n + 1 })

/** As mapping_lab.bpf.c checks it. */
const contentOf = (family: Family, n: number, port: number): MappingContent => ({
  client: Uint32Array.from(
    family === 4 ? [0, 0, 0xffff, 0x0a000000 + port] : [0x20010db8, port, ~0x20010db8 >>> 0, ~port >>> 0],
  ),
  port,
  service: n + 1,
})

/** So that it is evicted before any of those that are kept. */
const makeOld = ({ slots }: KernelMappings, n: number): void => {
  const { tunnel, identifier } = keyOf(n)
  const stored = swap32(identifier)
  slots.place(stored, tunnel)
  const slot = slots.slotOf(slots.first, stored, tunnel)
  slots.touch(slot >= 0 ? slot : slots.slotOf(slots.second, stored, tunnel), 0)
}

interface Seen {
  readonly wrong: number
  readonly lost: number
  readonly looks: number
  readonly found: number
  readonly counts: KernelMappings['counts']
}

const churn = async (family: Family, source: string): Promise<Seen> => {
  const file = await compileText('mapping_lab', source)
  const secret = newRouteSecret()
  const config = new Uint8Array(CONFIG_BYTES)
  new Uint32Array(config.buffer, 0, 3).set([BUCKETS, KEPT, KEYS])
  config.set(new Uint8Array(secret.buffer), 16)
  using loaded = loadObject(file, {
    layout: file.layout,
    set: [[{ section: 'rodata', offset: 0, bytes: CONFIG_BYTES }, config]],
    maxEntries: { [`mappings${family}`]: BUCKETS + ROUTE_HEADER_BYTES / bucketBytes(family) },
  })
  using memory = new MappedArray(loaded.map(`mappings${family}`))
  using bss = new MappedArray(loaded.map('bss'))
  const table = new KernelMappings(formatMappingMemory(memory.bytes, family, BUCKETS, secret))
  for (let n = 0; n < KEPT; n++) table.put(keyOf(n), contentOf(family, n, n), NOW)

  const workerData = { fd: loaded.program(`churn_${family}`).fd, milliseconds: CHURN_MS }
  const worker = new Worker(new URL('../support/bpf-churn-worker.ts', import.meta.url), { workerData })
  const ended = once(worker, 'message')
  await once(worker, 'online')
  const below = integers(seeded(family))
  for (const end = performance.now() + CHURN_MS; performance.now() < end; )
    for (let i = 0; i < 1000; i++) {
      const n = KEPT + below(KEYS - KEPT)
      if (below(4) === 0) table.remove(1 + (n & 1), n + 1)
      else {
        table.put(keyOf(n), contentOf(family, n, below(0x10000)), NOW)
        makeOld(table, n)
      }
    }
  await ended
  await worker.terminate()
  const seen = (at: number): number => Number(bss.view.getBigUint64(at, true))
  const { looks, found, wrong, lost } = LAB
  return {
    wrong: seen(wrong),
    lost: seen(lost),
    looks: seen(looks),
    found: seen(found),
    counts: table.counts,
  }
}

for (const family of [4, 6] as const)
  testIf(missing, it, `both at once: no wrong client, no mapping lost, IPv${family}`, async () => {
    const { wrong, lost, looks, found, counts } = await churn(family, SOURCE)
    assert.equal([wrong, lost], [0, 0])
    assert.ok(found > 10_000 && looks > found, 'hardly anything happened in the kernel')
    const { inserted, moved, evicted, replaced } = counts
    assert.ok(Math.min(inserted, moved, evicted, replaced) > 10, JSON.stringify(counts))
  })

const HEADER = readFileSync(
  join(import.meta.dirname, '../../src/agent/dataplane/xdp/bpf/mapping-table.h'),
  'utf8',
)
const alone = availableParallelism() < 2 ? 'needs two processors' : undefined

testIf(missing ?? alone, it, 'control: fails when the key is not read again', async () => {
  const rule = 'if (!((before ^ after) & ~MAPPING_STAMP_MASK))'
  assert.is(HEADER.split(rule).length, 2)
  const broken = SOURCE.replace('#include "mapping-table.h"', () => HEADER.replace(rule, ''))
  let wrong = 0
  for (let runs = 0; runs < 5 && wrong === 0; runs++) wrong = (await churn(6, broken)).wrong
  assert.ok(wrong > 0)
})

it.run()
