/**
 * Where the time of a new connection goes: samples the balancer's CPU while connections are made, with the names of
 * compiled JavaScript. Needs perf. Usage: bench/profile.ts [SECONDS]; prints microseconds a connection by class, and
 * by function of the project.
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mustRun, run } from '../src/lab/run.ts'
import { removeBalancers } from './lib/balancers.ts'
import { BALANCER_CPU, CpuMeter } from './lib/cpu.ts'
import { classify, parseSamples, projectFrame } from './lib/samples.ts'
import { comparisonLab, FORWARDER, VIP_SHUNT } from './lib/setup.ts'
import { short } from './lib/stats.ts'
import { wrk } from './lib/wrk.ts'

const SECONDS = Number(process.argv[2] ?? 6)
const HZ = 1999
const ROOT = join(import.meta.dirname, '..')
const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

const dir = mkdtempSync(join(tmpdir(), 'shunt-profile-'))
const binary = join(dir, 'agent')
const flags = '--no-warnings --perf-basic-prof --interpreted-frames-native-stack'
writeFileSync(binary, `#!/bin/sh\nexec ${ROOT}/node_modules/.bin/node ${flags} ${ROOT}/src/main.ts "$@"\n`)
chmodSync(binary, 0o755)
const lab = await comparisonLab(2, { binary })
const pids = lab.nodes.map(node => lab.process(node.name)!.pid)
try {
  const pid = lab.process(FORWARDER)!.pid
  await wrk(lab, lab.client(1), `http://${VIP_SHUNT}/`, 32, 4)
  const tids = new Set(readdirSync(`/proc/${pid}/task`).map(Number))
  const worker = [...tids].find(t =>
    readFileSync(`/proc/${pid}/task/${t}/comm`, 'utf8').startsWith('WorkerThread'),
  )!
  const calls = [
    'poll',
    'recvmmsg',
    'sendmmsg',
    'sendmsg',
    'recvfrom',
    'read',
    'getsockopt',
    'writev',
    'sendto',
    'futex',
    'write',
  ]
  const events = calls.map(call => `syscalls:sys_enter_${call}`).join(',')
  const counting = run(['perf', 'stat', '-x', ',', '-e', events, '-t', String(worker), '--', 'sleep', '3'])
  const counted = await wrk(lab, lab.client(1), `http://${VIP_SHUNT}/`, 32, 3)
  say('--- system calls of the worker a connection')
  for (const line of (await counting).stderr.split('\n')) {
    const [n, , event] = line.split(',')
    if (Number(n) > 0)
      say(`${(Number(n) / counted.connections).toFixed(2).padStart(8)}     ${event.split('sys_enter_')[1]}`)
  }
  const data = join(dir, 'perf.data')
  // The idle task is not sampled, nor what interrupts it: something of lowest priority runs in its place.
  const soak = ['chrt', '-i', '0', 'taskset', '-c', String(BALANCER_CPU), 'sh', '-c', 'while :; do :; done']
  const idle = lab.spawn('switch', soak)
  const record = ['perf', 'record', '-q', '-e', 'cpu-clock', '-F', String(HZ), '-C', String(BALANCER_CPU)]
  const meter = new CpuMeter(BALANCER_CPU, lab.name)
  const sampling = mustRun([...record, '-g', '-o', data, '--', 'sleep', String(SECONDS)], {
    timeoutMs: SECONDS * 1000 + 60_000,
  })
  const { result, cpu } = await meter.during(() =>
    wrk(lab, lab.client(2), `http://${VIP_SHUNT}/`, 32, SECONDS),
  )
  await sampling
  idle.kill('SIGKILL')
  const text = await mustRun(['perf', 'script', '-i', data, '-F', 'comm,tid,ip,sym'], { timeoutMs: 120_000 })
  const samples = parseSamples(text)
  const classes = new Map<string, number>()
  const functions = new Map<string, number>()
  const inner = new Map<string, number>()
  const count = (map: Map<string, number>, key: string): void => void map.set(key, (map.get(key) ?? 0) + 1)
  for (const sample of samples) {
    const kind = classify(sample, worker, tids, idle.pid!)
    count(classes, kind)
    if (!kind.startsWith('worker')) continue
    count(inner, `${sample.stack[0]}`)
    count(functions, projectFrame(sample.stack))
  }
  const show = (title: string, map: Map<string, number>, least: number): void => {
    say(`--- ${title}`)
    for (const [name, n] of [...map].toSorted((a, b) => b[1] - a[1])) {
      const us = (n * 1e6) / HZ / result.connections
      if (us >= least) say(`${us.toFixed(2).padStart(8)} us  ${name}`)
    }
  }
  const foreign = short((100 * cpu.foreignUs) / cpu.wallUs)
  say(
    `${result.connections} connections, ${short(cpu.usedUs / result.connections)} us each with perf, others took ${foreign} % of the CPU, ${samples.length} samples`,
  )
  show(
    'microseconds a connection, by class (wake-ups are overstated: samples due meanwhile are booked there)',
    classes,
    0.05,
  )
  show(
    'worker thread, by innermost function of the project (with all it calls in the runtime and the kernel)',
    functions,
    0.2,
  )
  show('worker thread, by innermost function', inner, 0.4)
  if (process.env.KEEP_SCRIPT !== undefined) writeFileSync(process.env.KEEP_SCRIPT, text)
} finally {
  await lab.down()
  removeBalancers(lab.name)
  for (const pid of pids) rmSync(`/tmp/perf-${pid}.map`, { force: true })
  rmSync(dir, { recursive: true, force: true })
}
