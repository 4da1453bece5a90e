/**
 * The benchmarks. Compares shunt with what is used in its place, in one lab, in turns, and prints medians; absolute
 * numbers are this machine's and say little elsewhere. Ends with 0 unless something broke. Needs root.
 *   bench/run.ts [--quick] [--source]     --source: agents from the sources, although dist/shunt is built
 */
import { cpus, loadavg } from 'node:os'
import { errorText, ShuntError } from '../src/errors.ts'
import { measureConnections, TARGETS } from './connections.ts'
import { measureHelp, measureIdle } from './footprint.ts'
import { measureLatency } from './latency.ts'
import { removeBalancers } from './lib/balancers.ts'
import { builtBinary, comparisonLab, pinSelf } from './lib/setup.ts'
import { median, short } from './lib/stats.ts'
import {
  type Aim,
  bulkReport,
  connectionAims,
  connectionsReport,
  idleAims,
  idleReport,
  latencyReport,
  METHOD,
  slowReport,
  verdict,
} from './report.ts'
import { measureBulk, measureSlowPackets } from './throughput.ts'

const quick = process.argv.includes('--quick')
const ROUNDS = quick ? 2 : 5
const SECONDS = quick ? 2 : 3
const BULK_MB = quick ? 100 : 300
const IDLE_SECONDS = quick ? 4 : 10

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const progress = (text: string): void => void process.stderr.write(`${text}\n`)
const percent = (share: number): string => `${short(100 * share)} %`

const comparisons = async (binary: string | undefined): Promise<Aim[]> => {
  progress('a lab for the comparisons')
  const lab = await comparisonLab(ROUNDS + 1, { binary })
  try {
    progress(`new connections: ${ROUNDS} rounds of ${TARGETS.join(', ')}`)
    const runs = await measureConnections(lab, ROUNDS, SECONDS, TARGETS, run =>
      progress(
        `  ${run.round + 1} ${run.target}: ${Math.round(run.perSecond)}/s, ${short(run.cpuUs)} us, others ${percent(run.foreign)}`,
      ),
    )
    say(connectionsReport(runs))
    const failed = runs.reduce((n, run) => n + run.failed, 0)
    if (failed > 0) throw new ShuntError('SHUNT_ERR_LAB', `${failed} requests failed; see the table`)
    progress('latency')
    say(latencyReport(await measureLatency(lab, ROUNDS, 200, TARGETS)))
    progress('bulk upload')
    const bulk = await measureBulk(lab, ROUNDS, BULK_MB, run =>
      progress(
        `  ${run.round + 1} ${run.path}: ${Math.round(run.megabitsPerSecond)} Mbit/s, others ${percent(run.foreign)}`,
      ),
    )
    say(bulkReport(bulk))
    progress('slow-path packets')
    say(slowReport(await measureSlowPackets(lab, 3)))
    return connectionAims(runs)
  } finally {
    await lab.down()
    removeBalancers(lab.name)
  }
}

const footprint = async (binary: string | undefined): Promise<Aim[]> => {
  progress('idle agents')
  const rows = await measureIdle(IDLE_SECONDS, binary)
  say(idleReport(rows, binary === undefined ? 'from the sources' : 'dist/shunt'))
  const aims = idleAims(rows)
  if (binary === undefined) {
    say('6. shunt --help: dist/shunt is not built, so not measured\n')
    return aims
  }
  const helpMs = median(await measureHelp(binary, 10))
  say(`6. shunt --help: ${short(helpMs)} ms (median of 10)\n`)
  return [...aims, { what: 'shunt --help', value: helpMs, most: 150, unit: 'ms' }]
}

const startMs = performance.now()
try {
  const machine = cpus()
  say(METHOD)
  say(`Machine: ${machine[0].model.trim()}, ${machine.length} CPUs; load before: ${short(loadavg()[0])}\n`)
  if (machine.length < 2)
    throw new ShuntError('SHUNT_ERR_CAPABILITY', 'two CPUs are needed, one for the balancer alone')
  await pinSelf()
  const binary = process.argv.includes('--source') ? undefined : builtBinary()
  const aims = [...(await comparisons(binary)), ...(await footprint(binary))]
  say(verdict(aims))
  progress(`${Math.round((performance.now() - startMs) / 1000)} s`)
} catch (error) {
  process.stderr.write(`benchmark broken: ${errorText(error)}\n`)
  process.exitCode = 1
}
