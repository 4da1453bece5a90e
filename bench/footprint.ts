/** Row 3: what an agent that has nothing to do uses, and how long the command line takes to say anything. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { ShuntError } from '../src/errors.ts'
import { Lab } from '../src/lab/lab.ts'
import { run } from '../src/lab/run.ts'
import { benchName } from './lib/setup.ts'

export interface IdleAgent {
  role: string
  /** MB of 10^6 bytes, the medians' samples. */
  rssMegabytes: number[]
  /** Shares of one CPU. */
  cpu: number[]
}

const rssMegabytes = (pid: number): number =>
  (Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024) / 1e6

/** Scheduler's run time of all threads, in microseconds. */
const cpuUs = (lab: Lab, node: string): number => {
  const us = lab.cpuUsageUs(node)
  if (us === null) throw new ShuntError('SHUNT_ERR_LAB', 'no CPU cgroups here: idle use cannot be measured')
  return us
}

/** A node a role, left alone for a while, then looked at ten times in `seconds` seconds. */
export const measureIdle = async (seconds: number, binary: string | undefined): Promise<IdleAgent[]> => {
  const lab = await Lab.up({ name: benchName(), forwarders: 1, classifiers: 1, hosts: 1, binary })
  try {
    await delay(3000)
    const rows = lab.nodes.map(node => ({
      node,
      role: node.roles.join('+'),
      rssMegabytes: [] as number[],
      cpu: [] as number[],
    }))
    for (let sample = 0; sample < 10; sample++) {
      const before = rows.map(row => cpuUs(lab, row.node.name))
      const startMs = performance.now()
      await delay(seconds * 100)
      const wallUs = (performance.now() - startMs) * 1000
      rows.forEach((row, i) => {
        row.cpu.push((cpuUs(lab, row.node.name) - before[i]) / wallUs)
        row.rssMegabytes.push(rssMegabytes(lab.process(row.node.name)!.pid))
      })
    }
    return rows.map(({ role, rssMegabytes, cpu }) => ({ role, rssMegabytes, cpu }))
  } finally {
    await lab.down()
  }
}

/** Wall time of `shunt --help`, in milliseconds. */
export const measureHelp = async (binary: string, count: number): Promise<number[]> => {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const startMs = performance.now()
    const { code, stderr } = await run([binary, '--help'])
    times.push(performance.now() - startMs)
    if (code !== 0) throw new ShuntError('SHUNT_ERR_LAB', `${binary} --help failed: ${stderr}`)
  }
  return times
}
