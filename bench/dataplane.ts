/**
 * What the data plane costs: `bench/dataplane.ts [--quick] [--only a,b,c]`. Needs root, clang, bpftool and two CPUs. Everything that is compared
 * takes turns in one run; absolute numbers are this machine's and say little elsewhere. Ends with 0 unless something broke.
 */
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { missingTools } from '../scripts/bpf/compile.ts'
import { errorText, ShuntError } from '../src/errors.ts'
import { measureTestRuns, memoryReport, testRunReport } from './dataplane/test-runs.ts'
import { measureWire, wireReport } from './dataplane/wire.ts'
import { short } from './lib/stats.ts'

const METHOD = `Method. a: the kernel runs the program on a packet again and again (BPF_PROG_TEST_RUN); each run makes the packet of a flow at
random anew, and what that costs is taken off. Many short rounds in turns; low: the lowest tenth of them, for other work on the machine only adds.
b: packets are made by XDP and go through a virtual cable into a namespace with the balancer, and out by another cable to a sink, all of it on
one processor and, to the last, before the next ones are made; net of the same source with the sink at its cable. Receiving in rounds (NAPI) for all.
Processor time (of the sending thread, on which the softirqs run, and of ksoftirqd), the clock beside it.
`

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string', default: 'a,b,c' } },
})
const wanted = new Set(options.only.split(','))
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const progress = (text: string): void => void process.stderr.write(`${text}\n`)

const testRuns = async (): Promise<void> => {
  progress('test runs')
  const flows = options.quick ? [1, 10_000] : [1, 10_000, 1_000_000]
  const scales = await measureTestRuns({ flows, rounds: options.quick ? 20 : 60, repeat: 20_000 })
  if (wanted.has('a')) say(testRunReport(scales))
  if (wanted.has('c')) say(memoryReport(scales))
}

const wire = async (): Promise<void> => {
  progress('packets through veth')
  const rounds = options.quick ? 30 : 200
  say(wireReport(await measureWire({ flows: 10_000, rounds, packets: 4096 })))
}

const startMs = performance.now()
try {
  const machine = cpus()
  const missing = [
    ...missingTools(),
    ...(process.getuid?.() === 0 ? [] : ['root']),
    ...(machine.length < 2 ? ['a second CPU'] : []),
  ]
  if (missing.length > 0)
    throw new ShuntError('SHUNT_ERR_CAPABILITY', `the benchmark needs ${missing.join(', ')}`)
  say(METHOD)
  say(`Machine: ${machine[0].model.trim()}, ${machine.length} CPUs; load before: ${short(loadavg()[0])}\n`)
  if (wanted.has('a') || wanted.has('c')) await testRuns()
  if (wanted.has('b')) await wire()
  progress(`${Math.round((performance.now() - startMs) / 1000)} s`)
} catch (error) {
  process.stderr.write(`benchmark broken: ${errorText(error)}\n`)
  process.exitCode = 1
}
