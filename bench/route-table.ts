/**
 * What a look-up in the route table costs, beside the kernel's hash map: `bench/route-table.ts [--quick]`. Needs root, clang and bpftool.
 *
 * Each program looks one flow up a run, chosen at random among those that are there; the kernel runs it some hundred thousand times on one
 * packet (BPF_PROG_TEST_RUN). From that is taken what a program costs that does all but look up. Programs take turns; medians of all rounds.
 * "each after the one before": which flow is next depends on what the last look-up gave, so that no two of them wait for memory at once.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Compiled, compileBpf, missingTools } from '../scripts/bpf/compile.ts'
import { type Family, ROUTE_SECRET_WORDS, routeMapSize } from '../src/agent/dataplane/xdp/route-layout.ts'
import { formatRouteMemory, newRouteSecret } from '../src/agent/dataplane/xdp/route-memory.ts'
import { RouteSweep } from '../src/agent/dataplane/xdp/route-sweep.ts'
import { RouteTable } from '../src/agent/dataplane/xdp/route-table.ts'
import { ShuntError } from '../src/errors.ts'
import { type LoadedObject, loadObject } from '../src/os/bpf/load.ts'
import type { BpfMap } from '../src/os/bpf/map.ts'
import { MappedArray } from '../src/os/bpf/mapped.ts'
import { decodeObject } from '../src/os/bpf/object-file.ts'
import { pinned } from '../src/os/ffi.ts'
import { median } from './lib/stats.ts'

const quick = process.argv.includes('--quick')
const ROUNDS = quick ? 3 : 9
const REPEAT = quick ? 100_000 : 300_000
const FLOWS = [1, 10_000, 1_000_000]
const FAMILIES: readonly Family[] = [4, 6]
const KINDS = ['base', 'table', 'hash'] as const
const PACKET = new Uint8Array(64)
const VIP = 0x0100090a
const HIGH = 0x20010db8

const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** Of flow `n`: as in routes.bpf.c. */
const setFlow = (words: Uint32Array, family: Family, n: number): number => {
  if (family === 4) words.set([0, 0, 0xffff, 0x0a000000 + (n >>> 14)])
  else words.set([HIGH, 0, 0, n >>> 14])
  return 1024 + (n & 0x3fff)
}

const fillHash = (map: BpfMap, family: Family, count: number): void => {
  const chunk = Math.min(count, 65_536)
  const bytes = family === 4 ? 16 : 40
  const keys = pinned(chunk * bytes)
  const values = pinned(chunk * 8).fill(1)
  const words = new Uint32Array(4)
  for (let from = 0; from < count; from += chunk) {
    const size = Math.min(chunk, count - from)
    for (let i = 0; i < size; i++) {
      const at = i * bytes
      const port = setFlow(words, family, from + i)
      if (family === 4) {
        keys.writeUInt32BE(words[3], at)
        keys.writeUInt32LE(VIP, at + 4)
      } else {
        words.forEach((word, j) => void keys.writeUInt32BE(word, at + 4 * j))
        keys.writeUInt32BE(HIGH, at + 16)
        keys.writeUInt32LE(1, at + 24)
      }
      keys.writeUInt16BE(port, at + bytes - 8)
      keys.writeUInt16LE(0x5000, at + bytes - 6)
      keys.writeUInt32LE(6, at + bytes - 4)
    }
    if (map.updateBatch(keys, values, size) !== size)
      throw new ShuntError('SHUNT_ERR_INTERNAL', 'the hash map did not take all flows')
  }
}

interface Side {
  readonly table: RouteTable
  readonly mapped: MappedArray
  readonly insertNs: number
}

const fillTable = (loaded: LoadedObject, family: Family, count: number, secret: BigUint64Array): Side => {
  const mapped = new MappedArray(loaded.map(`routes${family}`))
  const { buckets } = routeMapSize(family, count)
  const table = new RouteTable(formatRouteMemory(mapped.bytes, family, buckets, secret))
  const key = table.newKey()
  const words = new Uint32Array(4)
  const from = performance.now()
  for (let n = 0; n < count; n++) {
    key.set(words, 0, setFlow(words, family, n), 1)
    const content = { identifier: n + 1, state: 2, generation: 0, mapped: true, pinned: false }
    table.insert(key, content, 0)
  }
  return { table, mapped, insertNs: ((performance.now() - from) * 1e6) / count }
}

const place = ({ layout }: Compiled, name: string): Compiled['layout']['globals'][number] => {
  const found = layout.globals.find(global => global.name === name)
  if (found === undefined) throw new ShuntError('SHUNT_ERR_INTERNAL', `no global ${name}`)
  return found
}

const load = (compiled: Compiled, flows: number, chained: boolean, secret: BigUint64Array): LoadedObject => {
  const sizes = FAMILIES.map(family => routeMapSize(family, flows))
  const object = decodeObject(compiled.file)
  return loadObject(object, {
    layout: object.layout,
    set: [
      [place(compiled, 'flows'), flows],
      [place(compiled, 'buckets4'), sizes[0].buckets],
      [place(compiled, 'buckets6'), sizes[1].buckets],
      [place(compiled, 'secret'), new Uint8Array(secret.buffer, 0, 8 * ROUTE_SECRET_WORDS)],
      [place(compiled, 'chain'), chained ? 1n << 50n : 0n],
    ],
    maxEntries: { routes4: sizes[0].entries, routes6: sizes[1].entries, hash4: flows, hash6: flows },
  })
}

/** Nanoseconds a look-up, net, by family and kind. Throws when more than one in a thousand missed: then it measured something else. */
const measure = (
  loaded: LoadedObject,
  families: readonly Family[],
  missed: () => bigint,
): Map<string, number[]> => {
  const net = new Map<string, number[]>()
  for (let round = 0; round <= ROUNDS; round++)
    for (const family of families) {
      const ns = KINDS.map(
        kind => loaded.program(`${kind}_${family}`).testRun({ data: PACKET, repeat: REPEAT }).durationNs,
      )
      // Some flows were evicted while the table was filled.
      if (missed() > (REPEAT * (ROUNDS + 1) * 4) / 1000)
        throw new ShuntError('SHUNT_ERR_INTERNAL', `${missed()} look-ups missed: ${ns.join(', ')} ns`)
      // The first is for the caches.
      if (round === 0) continue
      for (const [i, kind] of KINDS.entries()) {
        const name = `${kind} IPv${family}`
        net.set(name, [...(net.get(name) ?? []), ns[i] - (i === 0 ? 0 : ns[0])])
      }
    }
  return net
}

const line = (name: string, values: readonly number[]): string =>
  `  ${name.padEnd(14)} ${median(values).toFixed(0).padStart(5)}   (${Math.min(...values)}..${Math.max(...values)})`

const one = (compiled: Compiled, flows: number, chained: boolean): void => {
  const secret = newRouteSecret()
  const loaded = load(compiled, flows, chained, secret)
  try {
    say(
      `${flows} flows${chained ? ', each after the one before' : ''}: ns a look-up (base: ns a run without)`,
    )
    const sides = FAMILIES.map(family => {
      fillHash(loaded.map(`hash${family}`), family, flows)
      return fillTable(loaded, family, flows, secret)
    })
    const bss = new MappedArray(loaded.map('bss'))
    const missed = (): bigint => bss.view.getBigUint64(place(compiled, 'bench').offset + 16, true)
    for (const [name, values] of measure(loaded, FAMILIES, missed)) say(line(name, values))
    bss.release()
    for (const [i, family] of FAMILIES.entries()) {
      const { table, mapped, insertNs } = sides[i]
      if (flows >= 1_000_000 && !chained) {
        const sweep = new RouteSweep(table)
        const rules = { shortest: 100, lifetime: () => 100, expired: () => {} }
        const sweeps: number[] = []
        for (let n = 0; n < 5; n++) {
          const from = performance.now()
          while (!sweep.slice(16_384, 0, rules)) {}
          sweeps.push(performance.now() - from)
        }
        const grow = (count: number): number =>
          loaded.program(`insert_${family}`).testRun({ data: PACKET, repeat: count }).durationNs
        say(
          `  IPv${family}: ${(mapped.bytes.length / sweep.last.used).toFixed(1)} bytes a flow; agent: ${insertNs.toFixed(0)} ns an insertion, ${median(sweeps).toFixed(1)} ms a sweep of all;` +
            ` kernel: ${grow(50_000)} ns an insertion at 75 %, ${grow(50_000)} at 79 %, ${grow(50_000)} at 83 %`,
        )
      }
      mapped.release()
    }
  } finally {
    loaded.close()
  }
}

const missing = [...missingTools(), ...(process.getuid?.() === 0 ? [] : ['root'])]
if (missing.length > 0)
  throw new ShuntError('SHUNT_ERR_CAPABILITY', `the benchmark needs ${missing.join(', ')}`)
const work = mkdtempSync(join(tmpdir(), 'shunt-bench-'))
try {
  const bpf = join(import.meta.dirname, '../src/agent/dataplane/xdp/bpf')
  const compiled = compileBpf(join(import.meta.dirname, 'routes.bpf.c'), bpf, work)
  for (const flows of FLOWS) one(compiled, flows, false)
  for (const flows of FLOWS) one(compiled, flows, true)
} finally {
  rmSync(work, { recursive: true })
}
