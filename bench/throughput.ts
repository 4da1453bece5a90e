/** Rows 2 and 5: bulk bytes by the kernel's way, against plain routing; and how much of a flow took the slow way. */
import { setTimeout as delay } from 'node:timers/promises'
import { ShuntError } from '../src/errors.ts'
import type { Lab } from '../src/lab/lab.ts'
import { forwarderCounters } from './connections.ts'
import { routedAddress } from './lib/balancers.ts'
import { BALANCER_CPU, CpuMeter } from './lib/cpu.ts'
import { IPERF_PORT, VIP_SHUNT } from './lib/setup.ts'

export type Path = 'direct' | 'routed' | 'shunt'
export const PATHS: readonly Path[] = ['direct', 'routed', 'shunt']

export interface BulkRun {
  round: number
  path: Path
  megabitsPerSecond: number
  /** CPU seconds of the balancer for a gigabyte (10^9). */
  cpuPerGigabyte: number
  foreign: number
}

const pathAddress = (lab: Lab, path: Path): string =>
  path === 'shunt' ? VIP_SHUNT : path === 'routed' ? routedAddress(lab.hosts[0]) : lab.hosts[0].address!

/** An iperf3 server on the first host; it ends with the lab. */
export const startIperf = async (lab: Lab): Promise<void> => {
  const host = lab.hosts[0].name
  const server = lab.spawn(host, ['iperf3', '-s', '-p', String(IPERF_PORT)])
  server.stderr?.resume()
  server.unref()
  server.stdout?.resume()
  for (let tries = 0; tries < 100; tries++) {
    const { stdout } = await lab.exec(host, ['ss', '-Hltn', `sport = :${IPERF_PORT}`])
    if (stdout.trim() !== '') return
    await delay(20)
  }
  throw new ShuntError('SHUNT_ERR_LAB', 'iperf3 does not listen')
}

const one = async (
  lab: Lab,
  meter: CpuMeter,
  round: number,
  path: Path,
  megabytes: number,
): Promise<BulkRun> => {
  const argv = ['iperf3', '-c', pathAddress(lab, path), '-p', String(IPERF_PORT), '-n', `${megabytes}M`, '-J']
  const { result, cpu } = await meter.during(() => lab.exec(lab.client(), argv))
  const report = JSON.parse(result.stdout) as {
    error?: string
    end?: { sum_received?: { bits_per_second: number; bytes: number } }
  }
  const received = report.end?.sum_received
  if (result.code !== 0 || received === undefined)
    throw new ShuntError('SHUNT_ERR_LAB', `iperf3 by ${path} failed: ${report.error ?? result.stderr}`)
  return {
    ...{ round, path },
    megabitsPerSecond: received.bits_per_second / 1e6,
    cpuPerGigabyte: cpu.usedUs / 1e6 / (received.bytes / 1e9),
    foreign: cpu.foreignUs / cpu.wallUs,
  }
}

export const measureBulk = async (
  lab: Lab,
  rounds: number,
  megabytes: number,
  onRun: (run: BulkRun) => void,
): Promise<BulkRun[]> => {
  const meter = new CpuMeter(BALANCER_CPU, lab.name)
  await startIperf(lab)
  const runs: BulkRun[] = []
  for (const path of PATHS) await one(lab, meter, -1, path, 20)
  for (let round = 0; round < rounds; round++)
    for (const path of PATHS) {
      const run = await one(lab, meter, round, path, megabytes)
      runs.push(run)
      onRun(run)
    }
  return runs
}

export interface SlowPackets {
  what: string
  /** Packets of the flow that the forwarder's agent handled; its kernel forwarded the rest. */
  slow: number[]
  /** Packets that came to the forwarder. */
  all: number[]
}

/** 10 MB up and down, one connection each, `rounds` times. */
export const measureSlowPackets = async (lab: Lab, rounds: number): Promise<SlowPackets[]> => {
  const file = lab.webFiles.find(f => f.path === '/10m')!
  const upload: SlowPackets = { what: 'upload of 10 MB', slow: [], all: [] }
  const download: SlowPackets = { what: 'download of 10 MB', slow: [], all: [] }
  const body = `${lab.files('router').dir}/../files${file.path}`
  const cases: [SlowPackets, string[]][] = [
    [upload, ['-T', body, `http://${VIP_SHUNT}/upload/bench`]],
    [download, [`http://${VIP_SHUNT}${file.path}`]],
  ]
  for (let round = 0; round < rounds; round++)
    for (const [row, args] of cases) {
      const before = [
        (await forwarderCounters(lab)).forwarder_slow_packets,
        (await lab.linkCounters('f1')).rxPackets,
      ]
      const { code, stderr } = await lab.exec(lab.client(), ['curl', '-sSf', '-o', '/dev/null', ...args])
      if (code !== 0) throw new ShuntError('SHUNT_ERR_LAB', `${row.what} failed: ${stderr}`)
      row.slow.push((await forwarderCounters(lab)).forwarder_slow_packets - before[0])
      row.all.push((await lab.linkCounters('f1')).rxPackets - before[1])
    }
  return [upload, download]
}
