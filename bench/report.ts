/** The tables of the benchmarks, and what they say about the project's aims. */
import { type Column, table } from '../src/cli/table.ts'
import { type ConnectionRun, isQuiet, PARALLEL, TARGETS, type Target } from './connections.ts'
import type { IdleAgent } from './footprint.ts'
import { BALANCER_CPU, CLIENT_CPU } from './lib/cpu.ts'
import { median, quantile, short } from './lib/stats.ts'
import { type BulkRun, PATHS, type SlowPackets } from './throughput.ts'

const NAMES = {
  direct: 'direct, no balancer',
  nft: 'nft DNAT with conntrack',
  haproxy: 'HAProxy, TCP mode',
  shunt: 'shunt (forwarder + classifier)',
  agent: 'shunt, first packets by the agent',
  routed: 'plain routing by a node',
}

export const METHOD = `Method. One lab in network namespaces: client - router - switch - two hosts (nginx), a balancer between; the
same hosts and clients for all. Everything but the balancer on CPU ${CLIENT_CPU}; the balancer's processes, and by RPS its
receive work, on CPU ${BALANCER_CPU}. CPU = busy time of that CPU (wall less idle, interrupts included), less what other processes of
the machine used there, less its use when idle, divided by connections. Rounds in turns (A B C D A B C D ...), medians.
A run in which others used more than 15 % of that CPU says nothing about CPU time and is left out there. Client: wrk,
${PARALLEL} at a time, a new connection for each request, a few bytes back. Packets of 1500 bytes at most; no offloads.
Absolute numbers belong to this machine; ratios travel better.
`

/** Fewer quiet runs than this give no median worth printing. */
const LEAST = 2

/** Median over the runs that others left alone; NaN when they are too few. */
const quietMedian = <T extends { foreign: number }>(runs: readonly T[], of: (run: T) => number): number => {
  const quiet = runs.filter(isQuiet)
  return quiet.length < LEAST ? Number.NaN : median(quiet.map(of))
}

export interface Aim {
  what: string
  /** NaN: it could not be measured. */
  value: number
  most: number
  unit: string
}

const render = <T>(title: string, columns: Column<T>[], rows: readonly T[]): string =>
  `${title}\n${table(columns, rows)}`

const disturbedNote = (runs: readonly { foreign: number }[]): string => {
  const disturbed = runs.filter(run => !isQuiet(run)).length
  return disturbed === 0
    ? ''
    : ` ${disturbed} of ${runs.length} runs were disturbed by other work on the machine.`
}

export const connectionsReport = (runs: readonly ConnectionRun[]): string => {
  const of = (target: Target): ConnectionRun[] => runs.filter(run => run.target === target)
  const cpuUs = (target: Target): number => quietMedian(of(target), run => run.cpuUs)
  const perConnection = (name: string): string =>
    short(median(of('shunt').map(run => run.counters[name] ?? Number.NaN)))
  const balanced = (target: Target, text: string): string | null => (target === 'direct' ? null : text)
  return `${render(
    '1. New connections',
    [
      { head: '', cell: t => NAMES[t] },
      { head: 'CPU us', right: true, cell: t => balanced(t, short(cpuUs(t))) },
      { head: 'x nft', right: true, cell: t => balanced(t, short(cpuUs(t) / cpuUs('nft'))) },
      { head: 'per second', right: true, cell: t => Math.round(median(of(t).map(run => run.perSecond))) },
      {
        head: 'CPU busy %',
        right: true,
        cell: t => balanced(t, short(100 * quietMedian(of(t), run => run.busy))),
      },
      {
        head: 'host CPU us',
        right: true,
        cell: t => short(median(of(t).map(run => run.hostUs ?? Number.NaN))),
      },
      { head: 'wake-ups', right: true, cell: t => short(median(of(t).map(run => run.wakeups))) },
      { head: 'failed', right: true, cell: t => of(t).reduce((n, run) => n + run.failed, 0) },
    ],
    TARGETS,
  )}CPU us and host CPU us (agents and nginx of all hosts) are a connection's; so are wake-ups, the interrupts between the
two CPUs that the steering causes. CPU ${CLIENT_CPU} (client, router, hosts) bounds the rates.${disturbedNote(runs.filter(run => run.target !== 'direct'))}
shunt, a connection: ${perConnection('forwarder_slow_packets')} slow-path packets, ${perConnection('forwarder_mappings_sent')} mapping datagrams, ${perConnection('forwarder_plumbs')} kernel routes.
`
}

export const connectionAims = (runs: readonly ConnectionRun[]): Aim[] => [
  {
    what: 'CPU per new connection',
    value: quietMedian(
      runs.filter(run => run.target === 'shunt'),
      run => run.cpuUs,
    ),
    most: 60,
    unit: 'us',
  },
]

export const latencyReport = (latency: ReadonlyMap<Target, number[]>): string => {
  const at = (target: Target, q: number): number => Math.round(quantile(latency.get(target)!, q))
  return render(
    '2. New connection to first byte, microseconds (curl, one at a time)',
    [
      { head: '', cell: t => NAMES[t] },
      { head: 'p50', right: true, cell: t => at(t, 0.5) },
      { head: 'p99', right: true, cell: t => at(t, 0.99) },
      { head: 'p50 over direct', right: true, cell: t => at(t, 0.5) - at('direct', 0.5) },
    ],
    TARGETS,
  )
}

export const bulkReport = (runs: readonly BulkRun[]): string => {
  const of = (path: BulkRun['path']): BulkRun[] => runs.filter(run => run.path === path)
  const toRouted = (path: BulkRun['path']): number =>
    median(of(path).map((run, i) => run.megabitsPerSecond / of('routed')[i].megabitsPerSecond))
  return `${render(
    '3. Bulk upload by the kernel (iperf3, one connection)',
    [
      { head: '', cell: p => NAMES[p] },
      { head: 'Mbit/s', right: true, cell: p => Math.round(median(of(p).map(run => run.megabitsPerSecond))) },
      { head: 'x routing', right: true, cell: p => short(toRouted(p)) },
      {
        head: 'CPU s/GB',
        right: true,
        cell: p => (p === 'direct' ? null : short(quietMedian(of(p), run => run.cpuPerGigabyte))),
      },
    ],
    PATHS,
  )}x routing: median of each round's ratio.${disturbedNote(runs)}
`
}

export const slowReport = (rows: readonly SlowPackets[]): string =>
  render(
    '4. Slow-path packets of a flow at the forwarder',
    [
      { head: '', cell: row => row.what },
      { head: 'slow packets', right: true, cell: row => median(row.slow) },
      { head: 'packets in', right: true, cell: row => median(row.all) },
    ],
    rows,
  )

export const idleReport = (rows: readonly IdleAgent[], program: string): string =>
  render(
    `5. An idle agent (${program})`,
    [
      { head: 'role', cell: row => row.role },
      { head: 'RSS MB', right: true, cell: row => short(median(row.rssMegabytes)) },
      { head: 'CPU %', right: true, cell: row => short(100 * median(row.cpu)) },
    ],
    rows,
  )

export const idleAims = (rows: readonly IdleAgent[]): Aim[] =>
  rows.flatMap(row => [
    { what: `RSS of an idle ${row.role}`, value: median(row.rssMegabytes), most: 110, unit: 'MB' },
    { what: `CPU of an idle ${row.role}`, value: 100 * median(row.cpu), most: 2, unit: '%' },
  ])

export const verdict = (aims: readonly Aim[]): string =>
  render(
    'Aims (informative: noise does not fail a benchmark)',
    [
      { head: '', cell: a => a.what },
      { head: 'measured', right: true, cell: a => `${short(a.value)} ${a.unit}` },
      { head: 'aim', right: true, cell: a => `<= ${a.most} ${a.unit}` },
      {
        head: '',
        cell: a =>
          Number.isNaN(a.value) ? 'not judged: the machine was busy' : a.value <= a.most ? 'met' : 'NOT MET',
      },
    ],
    aims,
  )
