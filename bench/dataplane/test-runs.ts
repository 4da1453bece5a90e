/** Rows a and c of `make bench-dataplane`: what the forwarder costs a packet, part by part and beside the yardstick; and memory. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Column, table } from '../../src/cli/table.ts'
import { FAMILIES, type Family } from '../../test/support/dataplane-world.ts'
import { removeNetns } from '../../test/support/netns.ts'
import { quantile, short } from '../lib/stats.ts'
import { compileForwarder, ForwarderLab, type Part } from './forwarder-lab.ts'

const PARTS: readonly Part[] = ['base', 'parse', 'service', 'route', 'known', 'hooked', 'whole']
type Kind = Part | 'yard'
const KINDS: readonly Kind[] = [...PARTS, 'yard']
const TEXT: Readonly<Record<Kind, string>> = {
  base: 'loop: makes the packet, XDP_TX',
  parse: 'headers',
  service: 'headers, service',
  route: 'headers, service, route',
  known: 'forwarder',
  hooked: 'the same with the hooks of shunt capture, off',
  whole: 'forwarder, kernel asked for the next hop each time',
  yard: 'yardstick: the same with a kernel hash map',
}
/** Whatever else runs on the machine only adds: the lower end is what the program costs. */
const LOW = 0.1

export interface Scale {
  readonly flows: number
  /** Sorted by family and kind: nanoseconds a run, by rounds. */
  readonly times: ReadonlyMap<string, readonly number[]>
  readonly memory: Readonly<Record<'table' | 'hash', Readonly<Record<Family, number>>>>
}

const keyOf = (family: Family, kind: Kind): string => `${family} ${kind}`

const measure = async (
  compiled: Readonly<Record<'forwarder' | 'yardstick', ReturnType<typeof compileForwarder>>>,
  flows: number,
  rounds: number,
  repeat: number,
): Promise<Scale> => {
  const labs: ForwarderLab[] = []
  try {
    const ours = await ForwarderLab.open(compiled.forwarder, 'forwarder', flows)
    labs.push(ours)
    const yard = await ForwarderLab.open(compiled.yardstick, 'yardstick', flows)
    labs.push(yard)
    const times = new Map<string, number[]>()
    for (let round = 0; round <= rounds; round++)
      for (const family of FAMILIES)
        for (const kind of KINDS) {
          const ns = kind === 'yard' ? yard.run('known', family, repeat) : ours.run(kind, family, repeat)
          const key = keyOf(family, kind)
          // The first is for the caches.
          if (round === 0) times.set(key, [])
          else times.get(key)?.push(ns)
        }
    return { flows, times, memory: { table: ours.memory, hash: yard.memory } }
  } finally {
    for (const lab of labs) lab.close()
    await removeNetns()
  }
}

export interface TestRunOptions {
  readonly flows: readonly number[]
  readonly rounds: number
  readonly repeat: number
}

export const measureTestRuns = async ({ flows, rounds, repeat }: TestRunOptions): Promise<Scale[]> => {
  const work = mkdtempSync(join(tmpdir(), 'shunt-bench-'))
  try {
    const compiled = {
      forwarder: compileForwarder('forwarder', work),
      yardstick: compileForwarder('yardstick', work),
    }
    const scales: Scale[] = []
    for (const count of flows) scales.push(await measure(compiled, count, rounds, repeat))
    return scales
  } finally {
    rmSync(work, { recursive: true })
  }
}

const at = ({ times }: Scale, family: Family, kind: Kind, q: number): number => {
  const of = (which: Kind): number => quantile(times.get(keyOf(family, which)) ?? [], q)
  return kind === 'base' ? of(kind) : of(kind) - of('base')
}

const SIZES = ['1', '10k', '1M']
const nameOf = (flows: number): string =>
  SIZES.find(size => Number(size.replace('k', 'e3').replace('M', 'e6')) === flows) ?? String(flows)

export const testRunReport = (scales: readonly Scale[]): string => {
  const row = (family: Family, kind: Kind): Row => ({ family, kind })
  interface Row {
    readonly family: Family
    readonly kind: Kind
  }
  const ns = (scale: Scale): Column<Row>[] => [
    {
      head: `${nameOf(scale.flows)} low`,
      right: true,
      cell: ({ family, kind }) => at(scale, family, kind, LOW).toFixed(0),
    },
    { head: 'p50', right: true, cell: ({ family, kind }) => at(scale, family, kind, 0.5).toFixed(0) },
    {
      head: 'x yard',
      right: true,
      cell: ({ family, kind }) =>
        kind === 'known' ? short(at(scale, family, kind, LOW) / at(scale, family, 'yard', LOW)) : null,
    },
  ]
  const columns: Column<Row>[] = [
    { head: 'ns a packet, net of the loop', cell: ({ family, kind }) => `IPv${family} ${TEXT[kind]}` },
    ...scales.flatMap(ns),
  ]
  return `a. One packet by test run, of a flow at random among as many\n${table(
    columns,
    FAMILIES.flatMap(family => KINDS.map(kind => row(family, kind))),
  )}`
}

export const memoryReport = (scales: readonly Scale[]): string => {
  const rows = scales.flatMap(({ flows, memory }) =>
    FAMILIES.map(family => ({ flows, family, table: memory.table[family], hash: memory.hash[family] })),
  )
  const perFlow = (bytes: number, flows: number): string => (bytes / flows).toFixed(0)
  return `c. Memory for routes, as the kernel accounts for it\n${table(
    [
      { head: 'routes', right: true, cell: ({ flows }) => flows },
      { head: 'family', cell: ({ family }) => `IPv${family}` },
      { head: 'table MB', right: true, cell: row => short(row.table / 1e6) },
      { head: 'bytes a route', right: true, cell: row => perFlow(row.table, row.flows) },
      { head: 'hash map MB', right: true, cell: row => short(row.hash / 1e6) },
      { head: 'bytes a route', right: true, cell: row => perFlow(row.hash, row.flows) },
    ],
    rows.filter(({ flows }) => flows === Math.max(...scales.map(scale => scale.flows))),
  )}`
}
