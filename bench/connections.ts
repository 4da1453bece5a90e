/** Row 1: what a new connection costs at the balancer. */
import type { StatusData } from '../src/control/types.ts'
import type { Lab } from '../src/lab/lab.ts'
import { VIP } from './lib/balancers.ts'
import { BALANCER_CPU, CLIENT_CPU, CpuMeter, type CpuUse } from './lib/cpu.ts'
import { wakeups } from './lib/interrupts.ts'
import { AGENT_PORT, FORWARDER, VIP_SHUNT } from './lib/setup.ts'
import { wrk } from './lib/wrk.ts'

/** `agent`: a service of shunt's whose first packets the kernel leaves to the agent. */
export type Target = 'direct' | 'nft' | 'haproxy' | 'shunt' | 'agent'
export const TARGETS: readonly Target[] = ['direct', 'nft', 'shunt', 'haproxy']

export const PARALLEL = 32
const IDLE_MS = 700
/** Share of the balancer's CPU that others may take. */
const QUIET = 0.15

export const targetAddress = (lab: Lab, target: Target): string =>
  target === 'shunt'
    ? VIP_SHUNT
    : target === 'agent'
      ? `${VIP_SHUNT}:${AGENT_PORT}`
      : target === 'direct'
        ? lab.hosts[0].address!
        : VIP[target]

const isShunt = (target: Target): boolean => target === 'shunt' || target === 'agent'

export interface ConnectionRun {
  round: number
  target: Target
  connections: number
  perSecond: number
  /** CPU time of the balancer for a connection, its idle use taken off. */
  cpuUs: number
  /** CPU time of the agents and applications on the hosts for a connection; null without cgroups. */
  hostUs: number | null
  /** Interrupts by which the two CPUs woke each other, a connection. */
  wakeups: number
  /** Share of the balancer's CPU that was busy with it. */
  busy: number
  /** Share of that CPU that others took. */
  foreign: number
  failed: number
  /** Of shunt only: counter increases for a connection. */
  counters: Record<string, number>
}

export const forwarderCounters = async (lab: Lab): Promise<Record<string, number>> =>
  (await lab.api<StatusData>(FORWARDER, '/v1/status')).counters

const allWakeups = (): number => wakeups(CLIENT_CPU) + wakeups(BALANCER_CPU)

const hostsUs = (lab: Lab): number | null => {
  const each = lab.hosts.map(host => lab.cpuUsageUs(host.name))
  return each.some(us => us === null) ? null : each.reduce((sum: number, us) => sum + us!, 0)
}

const idle = (meter: CpuMeter, ms: number) =>
  meter.during(() => new Promise(resolve => setTimeout(resolve, ms)))

/** Patience with other work on the machine, for the whole comparison. */
interface Budget {
  waitMs: number
  repeats: number
}

/** What the balancer's CPU does when nothing is asked of it; waits for others to leave it alone while the budget lasts. */
const baseline = async (meter: CpuMeter, budget: Budget): Promise<CpuUse> => {
  for (;;) {
    const { cpu } = await idle(meter, IDLE_MS)
    if (cpu.foreignUs / cpu.wallUs <= QUIET / 2 || budget.waitMs <= 0) return cpu
    budget.waitMs -= IDLE_MS
  }
}

const one = async (
  lab: Lab,
  meter: CpuMeter,
  round: number,
  target: Target,
  seconds: number,
  budget: Budget,
): Promise<ConnectionRun> => {
  const base = await baseline(meter, budget)
  const before = isShunt(target) ? await forwarderCounters(lab) : {}
  const hostsBefore = hostsUs(lab)
  const wakeupsBefore = allWakeups()
  const { result, cpu } = await meter.during(() =>
    wrk(lab, lab.client(round + 1), `http://${targetAddress(lab, target)}/`, PARALLEL, seconds),
  )
  const woken = allWakeups() - wakeupsBefore
  const hostsAfter = hostsUs(lab)
  const after = isShunt(target) ? await forwarderCounters(lab) : {}
  const { connections } = result
  return {
    ...{ round, target, connections, failed: result.failed },
    perSecond: connections / result.seconds,
    cpuUs: (cpu.usedUs - (base.usedUs / base.wallUs) * cpu.wallUs) / connections,
    hostUs: hostsAfter === null || hostsBefore === null ? null : (hostsAfter - hostsBefore) / connections,
    wakeups: woken / connections,
    busy: cpu.usedUs / cpu.wallUs,
    foreign: cpu.foreignUs / cpu.wallUs,
    counters: Object.fromEntries(
      Object.entries(after).map(([name, value]) => [name, (value - (before[name] ?? 0)) / connections]),
    ),
  }
}

/** Whether others left the balancer's CPU alone: their interrupts and ours cannot be told apart. */
export const isQuiet = (run: { foreign: number }): boolean => run.foreign <= QUIET

/**
 * All targets in turn, `rounds` times. Round i uses client i + 1, the warm-up the client after the last. Waits until
 * others leave the balancer's CPU alone, up to 12 s a round in all; a run that they disturbed is done again, at most
 * `rounds * 2` times in all, and the quietest counts.
 */
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
  for (const target of targets) {
    const url = `http://${targetAddress(lab, target)}/`
    await wrk(lab, lab.client(rounds + 1), url, PARALLEL, isShunt(target) ? 3 : 1)
  }
  const budget: Budget = { waitMs: rounds * 12_000, repeats: rounds * 2 }
  for (let round = 0; round < rounds; round++)
    for (const target of targets) {
      let run = await one(lab, meter, round, target, seconds, budget)
      // Direct connections do not touch the balancer's CPU.
      while (!isQuiet(run) && target !== 'direct' && budget.repeats-- > 0) {
        const again = await one(lab, meter, round, target, seconds, budget)
        if (again.foreign < run.foreign) run = again
      }
      runs.push(run)
      onRun(run)
    }
  return runs
}
