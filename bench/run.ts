/**
 * The benchmarks. Compares shunt with what is used in its place, in one lab, in turns, and prints medians; absolute
 * numbers are this machine's and say little elsewhere. Ends with 0 unless something broke. Needs root.
 *   bench/run.ts [--quick]
 */
import { cpus } from 'node:os'
import { type Column, table } from '../src/cli/table.ts'
import { errorText } from '../src/errors.ts'
import {
  type ConnectionRun,
  counted,
  disturbed,
  measureConnections,
  PARALLEL,
  TARGETS,
} from './connections.ts'
import { measureHelp, measureIdle } from './footprint.ts'
import { measureLatency } from './latency.ts'
import { removeBalancers } from './lib/balancers.ts'
import { BALANCER_CPU, CLIENT_CPU } from './lib/cpu.ts'
import { BUILT, builtBinary, comparisonLab, pinSelf } from './lib/setup.ts'
import { median, quantile, short } from './lib/stats.ts'
import { measureBulk, measureSlowPackets, PATHS } from './throughput.ts'

const quick = process.argv.includes('--quick')
const ROUNDS = quick ? 2 : 5
const SECONDS = quick ? 2 : 3
const binary = builtBinary()

const NAMES = {
  direct: 'direct, no balancer',
  nft: 'nft DNAT with conntrack',
  haproxy: 'HAProxy, TCP mode',
  shunt: 'shunt (forwarder + classifier)',
  routed: 'plain routing by a node',
}

const METHOD = `Method. One lab in network namespaces: client - router - switch - two hosts (nginx), a balancer between; the
same hosts and clients for all. Everything but the balancer on CPU ${CLIENT_CPU}; the balancer's processes, and by RPS its
receive work, on CPU ${BALANCER_CPU}. CPU = busy time of that CPU (wall less idle, interrupts included), less what other processes of
the machine used there, less its use when idle, divided by connections. Rounds in turns (A B C D A B C D ...), medians.
Client: wrk, ${PARALLEL} at a time, a new connection for each request, a few bytes back. Packets of 1500 bytes at most; no
offloads. Absolute numbers belong to this machine; ratios travel better.
`

const say = (text = ''): void => {
  process.stdout.write(`${text}\n`)
}
const progress = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

interface Aim {
  what: string
  value: number
  aim: number
  unit: string
}
const aims: Aim[] = []
const aim = (what: string, value: number, limit: number, unit: string): void => {
  aims.push({ what, value, aim: limit, unit })
}

const show = <T>(title: string, columns: Column<T>[], rows: T[]): void =>
  say(`${title}\n${table(columns, rows)}`)

const connections = (runs: ConnectionRun[]): void => {
  const mid = (target: ConnectionRun['target'], of: (run: ConnectionRun) => number): number =>
    median(counted(runs, target).map(of))
  const nftUs = mid('nft', run => run.cpuUs)
  show(
    '1. New connections',
    [
      { head: '', cell: t => NAMES[t] },
      { head: 'CPU us', right: true, cell: t => (t === 'direct' ? null : short(mid(t, r => r.cpuUs))) },
      {
        head: 'x nft',
        right: true,
        cell: t => (t === 'direct' ? null : short(mid(t, r => r.cpuUs) / nftUs)),
      },
      { head: 'per second', right: true, cell: t => Math.round(mid(t, r => r.perSecond)) },
      {
        head: 'of one CPU',
        right: true,
        cell: t => (t === 'direct' ? null : `${short(100 * mid(t, r => r.busy))} %`),
      },
      { head: 'host CPU us', right: true, cell: t => short(mid(t, r => r.hostUs ?? Number.NaN)) },
      { head: 'wake-ups', right: true, cell: t => short(mid(t, r => r.wakeups)) },
      {
        head: 'failed',
        right: true,
        cell: t => runs.filter(r => r.target === t).reduce((n, r) => n + r.failed, 0),
      },
    ],
    [...TARGETS],
  )
  say(
    `CPU us, host CPU us, wake-ups (interrupts between the two CPUs, an effect of the steering): a connection. The rate is\nbounded by CPU ${CLIENT_CPU} (client, router, hosts). ${disturbed(runs)} of ${runs.length} runs disturbed by other work on the machine.`,
  )
  const last = counted(runs, 'shunt').at(-1)!.counters
  const each = (name: string): string => short(last[name] ?? Number.NaN)
  say(
    `shunt, a connection: ${each('forwarder_slow_packets')} slow-path packets, ${each('forwarder_mappings_sent')} mapping datagrams, ${each('forwarder_plumbs')} kernel routes.\n`,
  )
  aim(
    'CPU per new connection',
    mid('shunt', r => r.cpuUs),
    60,
    'us',
  )
  const failed = runs.reduce((n, run) => n + run.failed, 0)
  if (failed > 0) throw new Error(`${failed} requests failed`)
}

const comparisons = async (): Promise<void> => {
  progress('lab for comparisons')
  const lab = await comparisonLab(ROUNDS + 1, { binary })
  try {
    progress(`new connections: ${ROUNDS} rounds of ${TARGETS.join(', ')}`)
    connections(
      await measureConnections(lab, ROUNDS, SECONDS, TARGETS, r =>
        progress(
          `  ${r.round + 1} ${r.target}: ${short(r.perSecond)}/s, ${short(r.cpuUs)} us, others ${short(100 * r.foreign)} %`,
        ),
      ),
    )
    progress('latency')
    const latency = await measureLatency(lab, ROUNDS, 200, TARGETS)
    show(
      '2. New connection to first byte, microseconds (curl, one at a time)',
      [
        { head: '', cell: t => NAMES[t] },
        { head: 'p50', right: true, cell: t => Math.round(median(latency.get(t)!)) },
        { head: 'p99', right: true, cell: t => Math.round(quantile(latency.get(t)!, 0.99)) },
        {
          head: 'over direct, p50',
          right: true,
          cell: t => Math.round(median(latency.get(t)!) - median(latency.get('direct')!)),
        },
      ],
      [...TARGETS],
    )
    progress('bulk upload')
    const bulk = await measureBulk(lab, ROUNDS, quick ? 100 : 300, r =>
      progress(
        `  ${r.round + 1} ${r.path}: ${short(r.megabitsPerSecond)} Mbit/s, others ${short(100 * r.foreign)} %`,
      ),
    )
    const of = (path: (typeof PATHS)[number]) => bulk.filter(run => run.path === path)
    const ratioTo = (path: (typeof PATHS)[number]): number =>
      median(of(path).map((run, i) => run.megabitsPerSecond / of('routed')[i].megabitsPerSecond))
    show(
      '3. Bulk upload by the kernel (iperf3, one connection)',
      [
        { head: '', cell: p => NAMES[p] },
        { head: 'Mbit/s', right: true, cell: p => Math.round(median(of(p).map(r => r.megabitsPerSecond))) },
        { head: 'x routing', right: true, cell: p => short(ratioTo(p)) },
        {
          head: 'CPU s/GB',
          right: true,
          cell: p => (p === 'direct' ? null : short(median(of(p).map(r => r.cpuPerGigabyte)))),
        },
      ],
      [...PATHS],
    )
    progress('slow-path packets')
    show(
      '4. Slow-path packets of a flow at the forwarder',
      [
        { head: '', cell: r => r.what },
        { head: 'slow packets', right: true, cell: r => median(r.slow) },
        { head: 'packets in', right: true, cell: r => median(r.all) },
      ],
      await measureSlowPackets(lab, 3),
    )
  } finally {
    await lab.down()
    removeBalancers(lab.name)
  }
}

const footprint = async (): Promise<void> => {
  progress('idle agents')
  const rows = await measureIdle(quick ? 4 : 10, binary)
  show(
    `5. An idle agent (${binary === undefined ? 'from the sources' : 'dist/shunt'})`,
    [
      { head: 'role', cell: r => r.role },
      { head: 'RSS MB', right: true, cell: r => short(median(r.rssMegabytes)) },
      { head: 'CPU %', right: true, cell: r => short(100 * median(r.cpu)) },
    ],
    rows,
  )
  for (const row of rows) {
    aim(`RSS of an idle ${row.role}`, median(row.rssMegabytes), 110, 'MB')
    aim(`CPU of an idle ${row.role}`, 100 * median(row.cpu), 2, '%')
  }
  if (binary === undefined) return say(`${BUILT} is not built: no wall time of --help\n`)
  const helpMs = await measureHelp(binary, 10)
  say(`6. shunt --help: ${short(median(helpMs))} ms (median of 10)\n`)
  aim('shunt --help', median(helpMs), 150, 'ms')
}

const startMs = performance.now()
try {
  say(
    `${METHOD}Machine: ${cpus()[0].model.trim()}, ${cpus().length} CPUs, others' load ${short(Number((await import('node:os')).loadavg()[0]))}\n`,
  )
  if (cpus().length < 2) throw new Error("two CPUs are needed: one is the balancer's")
  await pinSelf()
  await comparisons()
  await footprint()
  show(
    'Aims (informative: noise does not fail a benchmark)',
    [
      { head: '', cell: a => a.what },
      { head: 'measured', right: true, cell: a => `${short(a.value)} ${a.unit}` },
      { head: 'aim', right: true, cell: a => `<= ${a.aim} ${a.unit}` },
      { head: '', cell: a => (a.value <= a.aim ? 'met' : 'NOT MET') },
    ],
    aims,
  )
  progress(`${Math.round((performance.now() - startMs) / 1000)} s`)
} catch (error) {
  process.stderr.write(`benchmark broken: ${errorText(error)}\n`)
  process.exitCode = 1
}
