/**
 * CPU time that one CPU spent on the balancer, interrupts and softirqs included.
 *
 * Busy time is wall time less the idle time of /proc/stat, which a tickless kernel keeps to the microsecond (the
 * other columns are sampled 100 to 1000 times a second). What processes outside the lab did on that CPU is known
 * from the CPU accounting cgroups and taken off; ksoftirqd, which does the balancer's work, is not.
 */
import { readdirSync, readFileSync } from 'node:fs'

export const CLIENT_CPU = 0
export const BALANCER_CPU = 1

const CPUACCT = ['/sys/fs/cgroup/cpuacct', '/sys/fs/cgroup/cpu,cpuacct']

export interface CpuSample {
  wallUs: number
  idleUs: number
  stealUs: number
  foreignUs: number
}

/** All three add up to `wallUs`, in microseconds. */
export interface CpuUse {
  wallUs: number
  /** Of the balancer (and the kernel on its behalf). */
  usedUs: number
  /** Of other processes of this machine, and time that the hypervisor took. */
  foreignUs: number
}

const read = (file: string): string | null => {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}

/** Pid of the kernel thread that works softirqs off when they are too many. */
const ksoftirqd = (cpu: number): number | null => {
  for (const pid of readdirSync('/proc'))
    if (/^\d+$/.test(pid) && read(`/proc/${pid}/comm`) === `ksoftirqd/${cpu}\n`) return Number(pid)
  return null
}

/** Time that the kernel thread for softirqs of a CPU has run (ns): what was left over for it by those that raised them. */
export class SoftirqThread {
  readonly #file: string | null

  constructor(cpu: number) {
    const pid = ksoftirqd(cpu)
    this.#file = pid === null ? null : `/proc/${pid}/schedstat`
  }

  get ranNs(): number {
    return this.#file === null ? 0 : Number(read(this.#file)?.split(' ')[0] ?? 0)
  }
}

/** Reads the clocks of one CPU. */
export class CpuMeter {
  readonly #cpu: number
  readonly #lab: string
  readonly #root: string | undefined
  readonly #softirqs: SoftirqThread

  /** @param lab name of the lab whose processes are not foreign */
  constructor(cpu: number, lab: string) {
    this.#cpu = cpu
    this.#lab = lab
    this.#root = CPUACCT.find(dir => read(`${dir}/cpuacct.usage_percpu`) !== null)
    this.#softirqs = new SoftirqThread(cpu)
  }

  /** Whether the time of other processes can be told from the balancer's. */
  get knowsForeign(): boolean {
    return this.#root !== undefined
  }

  #usageUs(dir: string): number {
    return Number(read(`${dir}/cpuacct.usage_percpu`)?.trim().split(/\s+/)[this.#cpu] ?? 0) / 1000
  }

  #foreignUs(): number {
    if (this.#root === undefined) return 0
    const lab = this.#usageUs(`${this.#root}/shunt-lab-${this.#lab}`)
    return this.#usageUs(this.#root) - lab - this.#softirqs.ranNs / 1000
  }

  sample(): CpuSample {
    const line = readFileSync('/proc/stat', 'utf8')
      .split('\n')
      .find(l => l.startsWith(`cpu${this.#cpu} `))!
    const fields = line.split(/\s+/).slice(1).map(Number)
    const tickUs = 10_000 // USER_HZ is 100 on every architecture that Node runs on
    return {
      wallUs: performance.now() * 1000,
      idleUs: (fields[3] + fields[4]) * tickUs,
      stealUs: fields[7] * tickUs,
      foreignUs: this.#foreignUs(),
    }
  }

  since(start: CpuSample): CpuUse {
    const end = this.sample()
    const wallUs = end.wallUs - start.wallUs
    const foreignUs = Math.max(0, end.foreignUs - start.foreignUs) + (end.stealUs - start.stealUs)
    return { wallUs, usedUs: wallUs - (end.idleUs - start.idleUs) - foreignUs, foreignUs }
  }

  /** What runs while `work` does. */
  async during<T>(work: () => Promise<T>): Promise<{ result: T; cpu: CpuUse }> {
    const start = this.sample()
    const result = await work()
    return { result, cpu: this.since(start) }
  }
}
