/**
 * What the XDP forwarder costs a packet: `bench/forwarder.ts [--quick]`. Needs root, clang and bpftool.
 *
 * Each run makes the packet anew, of a flow at random among those that have a route, and then does a part of the forwarder's work, or all
 * of it; the kernel does so some hundred thousand times (BPF_PROG_TEST_RUN). What making the packet costs is taken off. Programs take
 * turns; medians of all rounds, and from the lowest to the highest. `whole`: from the frame's first byte to the verdict, the next hop
 * looked up each time; `known`: with one that was looked up up to 100 ms ago;
 * `hooked`: that with what `shunt capture` is taken by, off.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Compiled, compileBpf, missingTools } from '../scripts/bpf/compile.ts'
import { EDGE_CONFIG } from '../src/agent/dataplane/xdp/layout/edge.ts'
import { ShuntError } from '../src/errors.ts'
import type { GlobalPlace } from '../src/os/bpf/globals.ts'
import { MappedArray } from '../src/os/bpf/mapped.ts'
import { decodeObject } from '../src/os/bpf/object-file.ts'
import { XDP } from '../src/os/bpf/program.ts'
import { buildPacket, identifierOf, TCP } from '../test/support/dataplane-case.ts'
import { FAMILIES, type Family, HOSTS } from '../test/support/dataplane-world.ts'
import { buildFrame } from '../test/support/ethernet.ts'
import { removeNetns } from '../test/support/netns.ts'
import { XdpLab } from '../test/support/xdp-lab.ts'
import { median } from './lib/stats.ts'

const quick = process.argv.includes('--quick')
const ROUNDS = quick ? 3 : 9
const REPEAT = quick ? 100_000 : 300_000
const FLOWS = quick ? [1, 10_000] : [1, 10_000, 1_000_000]
const KINDS = ['base', 'parse', 'service', 'route', 'known', 'hooked', 'whole'] as const
const HEAD_BYTES = 74

const say = (text: string): void => void process.stdout.write(`${text}\n`)

/** Address and port of flow `n`: as in forwarder.bpf.c. */
const flow = (family: Family, n: number): { client: string; port: number } => ({
  client:
    family === 4
      ? `10.0.${n >>> 22}.${(n >>> 14) & 0xff}`
      : `2001:db8::${(n >>> 30).toString(16)}:${(n >>> 14).toString(16)}`,
  port: 1024 + (n & 0x3fff),
})

const place = ({ layout }: Compiled, name: string): GlobalPlace => {
  const found = layout.globals.find(global => global.name === name)
  if (found === undefined) throw new ShuntError('SHUNT_ERR_INTERNAL', `no global ${name}`)
  return found
}

const globalsOf = (compiled: Compiled) => ({
  config: place(compiled, 'config'),
  tickShift: place(compiled, 'tick_shift'),
  routes4Buckets: place(compiled, 'routes4_buckets'),
  routes6Buckets: place(compiled, 'routes6_buckets'),
  routes4Secret: place(compiled, 'routes4_secret'),
  routes6Secret: place(compiled, 'routes6_secret'),
})

const frameOf = (family: Family): Uint8Array =>
  buildFrame(
    buildPacket(family, TCP, {
      source: family === 4 ? '0.0.0.0' : '2001:db8::',
      sourcePort: 0,
      payload: new Uint8Array(26),
    }),
  )

const fill = (lab: XdpLab, flows: number): void => {
  for (const family of FAMILIES)
    for (let n = 0; n < flows; n++) {
      const identifier = identifierOf(HOSTS.sentBack.index, n + 1)
      lab.addRoute(family, { ...flow(family, n), service: 1, identifier, mapped: true, state: 2 })
    }
}

/** Nanoseconds a run of each program, by rounds. */
const measure = (lab: XdpLab, family: Family): Map<string, number[]> => {
  const times = new Map<string, number[]>(KINDS.map(kind => [kind, []]))
  const data = frameOf(family)
  for (let round = 0; round <= ROUNDS; round++)
    for (const kind of KINDS) {
      const program = lab.object.program(`${kind === 'known' ? 'whole' : kind}_${family}`)
      lab.configure(EDGE_CONFIG.hopLifeNs, kind === 'known' || kind === 'hooked' ? 100_000_000 : 0)
      const { verdict, durationNs } = lab.netns.run(() =>
        program.testRun({ data, repeat: REPEAT, ingress: { interfaceIndex: lab.ingress } }),
      )
      if (verdict !== (['whole', 'known', 'hooked'].includes(kind) ? XDP.tx : XDP.pass))
        throw new ShuntError(
          'SHUNT_ERR_INTERNAL',
          `${kind}: verdict ${verdict}, ${JSON.stringify(lab.counted())}`,
        )
      // The first is for the caches.
      if (round > 0) times.get(kind)?.push(durationNs)
    }
  return times
}

const one = async (compiled: Compiled, flows: number): Promise<void> => {
  const flowsPlace = place(compiled, 'flows')
  const lab = await XdpLab.open(flows, () => ({
    file: decodeObject(compiled.file),
    globals: globalsOf(compiled),
    set: [[flowsPlace, flows]],
  }))
  try {
    fill(lab, flows)
    const bss = new MappedArray(lab.object.map('bss'))
    const heads = place(compiled, 'bench').offset + 8
    for (const [i, family] of FAMILIES.entries())
      bss.bytes.set(frameOf(family).subarray(0, HEAD_BYTES), heads + i * (HEAD_BYTES + 2))
    bss.release()
    for (const family of FAMILIES) {
      const times = measure(lab, family)
      const base = median(times.get('base') ?? [])
      for (const [kind, all] of times) {
        const net = all.map(ns => ns - (kind === 'base' ? 0 : base))
        say(
          `${String(flows).padStart(9)} flows  IPv${family}  ${kind.padEnd(8)} ${median(net).toFixed(0).padStart(5)}   (${Math.min(...net)}..${Math.max(...net)})`,
        )
      }
    }
  } finally {
    lab.close()
    await removeNetns()
  }
}

const missing = [...missingTools(), ...(process.getuid?.() === 0 ? [] : ['root'])]
if (missing.length > 0)
  throw new ShuntError('SHUNT_ERR_CAPABILITY', `the benchmark needs ${missing.join(', ')}`)
const work = mkdtempSync(join(tmpdir(), 'shunt-bench-'))
try {
  const bpf = join(import.meta.dirname, '../src/agent/dataplane/xdp/bpf')
  const compiled = compileBpf(join(import.meta.dirname, 'forwarder.bpf.c'), bpf, work)
  say('ns a packet, net of making it (base: what that costs)')
  for (const flows of FLOWS) await one(compiled, flows)
} finally {
  rmSync(work, { recursive: true })
}
