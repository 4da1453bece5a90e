/**
 * Where the time of a new connection goes: samples the balancer's CPU while connections are made, with the names of
 * compiled JavaScript. Needs perf. Usage: bench/profile.ts [SECONDS]; prints shares and microseconds a connection.
 */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mustRun } from '../src/lab/run.ts'
import { removeBalancers } from './lib/balancers.ts'
import { BALANCER_CPU, CpuMeter } from './lib/cpu.ts'
import { comparisonLab, FORWARDER, VIP_SHUNT } from './lib/setup.ts'
import { short } from './lib/stats.ts'
import { wrk } from './lib/wrk.ts'

const SECONDS = Number(process.argv[2] ?? 6)
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
const pid = lab.process(FORWARDER)!.pid
try {
  await wrk(lab, lab.client(1), `http://${VIP_SHUNT}/`, 32, 4)
  const data = process.env.PERF_DATA ?? join(dir, 'perf.data')
  const record = ['perf', 'record', '-q', '-e', 'cpu-clock', '-F', '5000', '-C', String(BALANCER_CPU), '-g', '-o', data]
  const meter = new CpuMeter(BALANCER_CPU, lab.name)
  const sampling = mustRun([...record, '--', 'sleep', String(SECONDS)], { timeoutMs: SECONDS * 1000 + 60_000 })
  const { result, cpu } = await meter.during(() =>
    wrk(lab, lab.client(2), `http://${VIP_SHUNT}/`, 32, SECONDS),
  )
  await sampling
  say(`${result.connections} connections, ${short(cpu.usedUs / result.connections)} us each (perf itself included), foreign ${short((100 * cpu.foreignUs) / cpu.wallUs)} %`)
  const report = (...args: string[]) => mustRun(['perf', 'report', '-i', data, '--stdio', '-q', '--no-children', '-g', 'none', '--percent-limit', '0.4', ...args])
  say('--- by process and object')
  say(await report('-s', 'comm,dso'))
  say('--- by symbol, of the agent and the kernel for it')
  say(await report('-s', 'comm,dso,sym'))
} finally {
  await lab.down()
  removeBalancers(lab.name)
  rmSync(`/tmp/perf-${pid}.map`, { force: true })
  for (const host of lab.hosts) rmSync(`/tmp/perf-${lab.process(host.name)?.pid}.map`, { force: true })
  rmSync(dir, { recursive: true, force: true })
}
