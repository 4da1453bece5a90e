/**
 * What a look-up in a host's mapping table costs, beside the kernel's hash map, and the host's whole work on a packet:
 * `bench/mapping-table.ts [--quick]`. Needs root, clang and bpftool.
 *
 * Each program looks one identifier up a run, chosen at random among those that are there; the kernel runs it some hundred thousand times
 * (BPF_PROG_TEST_RUN). From that is taken what a program costs that does all but look up (base), or that only makes the packet (packet).
 * Programs take turns; medians of all rounds, and from the lowest to the highest. "each after the one before": which comes next depends on
 * what the last gave, so that no two of them wait for memory at once.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Compiled, compileBpf, missingTools } from '../scripts/bpf/compile.ts'
import { COUNTER } from '../src/agent/dataplane/xdp/layout/edge.ts'
import { mappingMapSize } from '../src/agent/dataplane/xdp/mapping-layout.ts'
import { formatMappingMemory } from '../src/agent/dataplane/xdp/mapping-memory.ts'
import { MappingSweep } from '../src/agent/dataplane/xdp/mapping-sweep.ts'
import { KernelMappings } from '../src/agent/dataplane/xdp/mapping-table.ts'
import { ROUTE_SECRET_WORDS } from '../src/agent/dataplane/xdp/route-layout.ts'
import { newRouteSecret } from '../src/agent/dataplane/xdp/route-memory.ts'
import { TargetTable } from '../src/agent/dataplane/xdp/target-table.ts'
import { TunnelTable } from '../src/agent/dataplane/xdp/tunnel-table.ts'
import { ShuntError } from '../src/errors.ts'
import { type LoadedObject, loadObject } from '../src/os/bpf/load.ts'
import { MappedArray } from '../src/os/bpf/mapped.ts'
import { decodeObject } from '../src/os/bpf/object-file.ts'
import { pinned } from '../src/os/ffi.ts'
import { index } from '../test/support/bpf.ts'
import { buildPacket, TCP } from '../test/support/dataplane-case.ts'
import { FAMILIES, type Family, HOSTS, TUNNEL, VIP } from '../test/support/dataplane-world.ts'
import { buildFrame } from '../test/support/ethernet.ts'
import { addressWords } from '../test/support/packets.ts'
import { median } from './lib/stats.ts'

const quick = process.argv.includes('--quick')
const ROUNDS = quick ? 3 : 9
const REPEAT = quick ? 100_000 : 300_000
const MAPPINGS = quick ? [1, 262_144] : [1, 10_000, 262_144, 1_000_000]
const KINDS = ['base', 'table', 'hash', 'packet', 'tunnel', 'whole'] as const
const NET_OF: Partial<Record<(typeof KINDS)[number], (typeof KINDS)[number]>> = {
  table: 'base',
  hash: 'base',
  tunnel: 'packet',
  whole: 'packet',
}
const OWN = HOSTS.local.address

const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** The n-th: as in mappings.bpf.c. */
const identifierOf = (n: number): number => (0x07000001 + Math.imul(n, 0x9e3779b1)) >>> 0
const clientOf = (words: Uint32Array, family: Family, n: number): void =>
  words.set(family === 4 ? [0, 0, 0xffff, 0x0a000000 + n] : [0x20010db8, 0, 0, n])

const place = ({ layout }: Compiled, name: string): Compiled['layout']['globals'][number] => {
  const found = layout.globals.find(global => global.name === name)
  if (found === undefined) throw new ShuntError('SHUNT_ERR_INTERNAL', `no global ${name}`)
  return found
}

const fillHash = (loaded: LoadedObject, family: Family, count: number): void => {
  const map = loaded.map(`hash${family}`)
  const chunk = Math.min(count, 65_536)
  const keys = pinned(chunk * 16)
  const values = pinned(chunk * 24).fill(1)
  for (let from = 0; from < count; from += chunk) {
    const size = Math.min(chunk, count - from)
    for (let i = 0; i < size; i++) {
      keys.writeUInt32BE(identifierOf(from + i), i * 16)
      keys.writeUInt32LE(1, i * 16 + 4)
      keys.writeUInt32LE(6, i * 16 + 8)
    }
    if (map.updateBatch(keys, values, size) !== size)
      throw new ShuntError('SHUNT_ERR_INTERNAL', 'the hash map did not take all mappings')
  }
}

const fillTable = (
  mapped: MappedArray,
  family: Family,
  count: number,
  secret: BigUint64Array,
): { table: KernelMappings; putNs: number } => {
  const { buckets } = mappingMapSize(family, count)
  const table = new KernelMappings(formatMappingMemory(mapped.bytes, family, buckets, secret))
  const client = new Uint32Array(4)
  const from = performance.now()
  for (let n = 0; n < count; n++) {
    clientOf(client, family, n)
    table.put(
      { tunnel: 1, generation: 0, identifier: identifierOf(n) },
      { client, port: 40_000, service: 1 },
      0,
    )
  }
  return { table, putNs: ((performance.now() - from) * 1e6) / count }
}

const load = (compiled: Compiled, count: number, chained: boolean, secret: BigUint64Array): LoadedObject => {
  const sizes = FAMILIES.map(family => mappingMapSize(family, count))
  const bytes = new Uint8Array(secret.buffer, 0, 8 * ROUTE_SECRET_WORDS)
  const object = decodeObject(compiled.file)
  return loadObject(object, {
    layout: object.layout,
    set: [
      [place(compiled, 'flows'), count],
      [place(compiled, 'chain'), chained ? 1n << 50n : 0n],
      [place(compiled, 'mappings4_buckets'), sizes[0].buckets],
      [place(compiled, 'mappings6_buckets'), sizes[1].buckets],
      [place(compiled, 'mappings4_secret'), bytes],
      [place(compiled, 'mappings6_secret'), bytes],
    ],
    maxEntries: { mappings4: sizes[0].entries, mappings6: sizes[1].entries, hash4: count, hash6: count },
  })
}

const frameOf = (family: Family): Uint8Array =>
  buildFrame(
    buildPacket(family, TCP, {
      source: TUNNEL[family],
      destination: OWN[family],
      sourcePort: 0,
      destinationPort: 0,
      payload: new Uint8Array(family === 4 ? 20 : 0),
    }),
  )

const line = (name: string, values: readonly number[]): string =>
  `  ${name.padEnd(12)} ${median(values).toFixed(0).padStart(5)}   (${Math.min(...values)}..${Math.max(...values)})`

const one = (compiled: Compiled, count: number, chained: boolean): void => {
  const secret = newRouteSecret()
  const loaded = load(compiled, count, chained, secret)
  const maps = ['mappings4', 'mappings6', 'tunnels', 'targets', 'bss'].map(
    name => new MappedArray(loaded.map(name)),
  )
  const [mappings4, mappings6, tunnels, targets, bss] = maps
  try {
    say(
      `${count} mappings${chained ? ', each after the one before' : ''}: ns (net; base, packet: ns a run without)`,
    )
    new TargetTable(targets.bytes).set(1, Object.values(VIP).map(addressWords), 80, TCP)
    const bench = place(compiled, 'bench').offset
    const filled = FAMILIES.map(family => {
      const ends = { tunnel: addressWords(TUNNEL[family]), own: addressWords(OWN[family]) }
      new TunnelTable(tunnels.bytes).set(ends, 1, 0)
      bss.bytes.set(frameOf(family).subarray(0, 74), bench + 24 + (family === 4 ? 0 : 76))
      fillHash(loaded, family, count)
      return fillTable(family === 4 ? mappings4 : mappings6, family, count, secret)
    })
    const net = new Map<string, number[]>()
    for (let round = 0; round <= ROUNDS; round++)
      for (const family of FAMILIES) {
        const ns = new Map<string, number>()
        for (const kind of KINDS)
          ns.set(
            kind,
            loaded.program(`${kind}_${family}`).testRun({ data: new Uint8Array(128), repeat: REPEAT })
              .durationNs,
          )
        // The first is for the caches.
        if (round === 0) continue
        for (const kind of KINDS) {
          const name = `${kind} IPv${family}`
          net.set(name, [...(net.get(name) ?? []), ns.get(kind)! - (ns.get(NET_OF[kind] ?? '') ?? 0)])
        }
      }
    const missed = bss.view.getBigUint64(bench + 16, true)
    const counters = Buffer.from(loaded.map('counters').lookup(index(0))!)
    const restored = Array.from({ length: counters.length / 512 }, (_, cpu) =>
      Number(counters.readBigUInt64LE(cpu * 512 + COUNTER.COUNT_RESTORED * 8)),
    ).reduce((sum, n) => sum + n)
    const asked = REPEAT * (ROUNDS + 1) * FAMILIES.length
    // Some mappings were evicted while the table was filled; otherwise it measured something else.
    if (missed > asked / 100 || restored < asked * 0.99)
      throw new ShuntError('SHUNT_ERR_INTERNAL', `${missed} missed, ${restored} of ${asked} restored`)
    for (const [name, values] of net) say(line(name, values))
    if (chained || count < 100_000) return
    for (const [i, family] of FAMILIES.entries()) {
      const { table, putNs } = filled[i]
      const sweep = new MappingSweep(table)
      const rules = {
        generations: new Uint8Array(256),
        shortest: 100,
        lifetime: () => 100,
        expired: () => {},
        recent: -1,
        used: () => {},
      }
      const sweeps = Array.from({ length: 5 }, () => {
        const from = performance.now()
        while (!sweep.slice(16_384, 0, rules)) {}
        return performance.now() - from
      })
      const { moved, evicted } = table.counts
      say(
        `  IPv${family}: ${putNs.toFixed(0)} ns a put by the agent (${moved} moved, ${evicted} evicted), ${median(sweeps).toFixed(1)} ms a sweep of all`,
      )
    }
  } finally {
    for (const map of maps) map.release()
    loaded.close()
  }
}

const missing = [...missingTools(), ...(process.getuid?.() === 0 ? [] : ['root'])]
if (missing.length > 0)
  throw new ShuntError('SHUNT_ERR_CAPABILITY', `the benchmark needs ${missing.join(', ')}`)
const work = mkdtempSync(join(tmpdir(), 'shunt-bench-'))
try {
  const bpf = join(import.meta.dirname, '../src/agent/dataplane/xdp/bpf')
  const compiled = compileBpf(join(import.meta.dirname, 'mappings.bpf.c'), bpf, work)
  for (const count of MAPPINGS) one(compiled, count, false)
  one(compiled, MAPPINGS.at(-1)!, true)
} finally {
  rmSync(work, { recursive: true })
}
