/** Row 1: what a new connection costs at the balancer. */
import type { Lab } from '../src/lab/lab.ts'
import { VIP } from './lib/balancers.ts'
import { BALANCER_CPU, CpuMeter } from './lib/cpu.ts'
import { FORWARDER, VIP_SHUNT } from './lib/setup.ts'
import { wrk } from './lib/wrk.ts'

export type Target = 'direct' | 'nft' | 'haproxy' | 'shunt'
export const TARGETS: readonly Target[] = ['direct', 'nft', 'shunt', 'haproxy']

export const targetAddress = (lab: Lab, target: Target): string =>
  target === 'shunt' ? VIP_SHUNT : target === 'direct' ? lab.hosts[0].address! : VIP[target]

export interface ConnectionRun {
  round: number
  target: Target
  connections: number
  perSecond: number
  /** CPU time of the balancer for a connection, its idle use taken off. */
  cpuUs: number
  /** Share of the balancer's CPU that was busy with it. */
  busy: number
  /** Share of that CPU that others took. */
  foreign: number
  failed: number
  /** Of shunt only: counter increases for a connection. */
  counters: Record<string, number>
}

const counters = async (lab: Lab): Promise<Record<string, number>> =>
  (await lab.api<{ counters: Record<string, number> }>(FORWARDER, '/v1/status')).counters

const idle = (meter: CpuMeter, ms: number) =>
  meter.during(() => new Promise(resolve => setTimeout(resolve, ms)))

const one = async (
  lab: Lab,
  meter: CpuMeter,
  round: number,
  target: Target,
  seconds: number,
): Promise<ConnectionRun> => {
  const base = (await idle(meter, 700)).cpu
  const before = target === 'shunt' ? await counters(lab) : {}
  const { result, cpu } = await meter.during(() =>
    wrk(lab, lab.client(round + 1), `http://${targetAddress(lab, target)}/`, 32, seconds),
  )
  const after = target === 'shunt' ? await counters(lab) : {}
  const used = cpu.usedUs - (base.usedUs / base.wallUs) * cpu.wallUs
  return {
    ...{ round, target, connections: result.connections, failed: result.failed },
    perSecond: result.connections / result.seconds,
    cpuUs: used / result.connections,
    busy: cpu.usedUs / cpu.wallUs,
    foreign: cpu.foreignUs / cpu.wallUs,
    counters: Object.fromEntries(
      Object.entries(after).map(([name, value]) => [name, (value - before[name]) / result.connections]),
    ),
  }
}

/** All targets in turn, `rounds` times. Round i uses client i + 1. */
export const measureConnections = async (
  lab: Lab,
  rounds: number,
  seconds: number,
  targets: readonly Target[],
  onRun: (run: ConnectionRun) => void,
): Promise<ConnectionRun[]> => {
  const meter = new CpuMeter(BALANCER_CPU, lab.name)
  const runs: ConnectionRun[] = []
  // Caches, neighbours and compiled code are warm before anything counts.
  for (const target of targets)
    await wrk(lab, lab.client(rounds + 1), `http://${targetAddress(lab, target)}/`, 32, target === 'shunt' ? 3 : 1)
  for (let round = 0; round < rounds; round++)
    for (const target of targets) {
      const run = await one(lab, meter, round, target, seconds)
      runs.push(run)
      onRun(run)
    }
  return runs
}
