/**
 * What each function of this node uses (R-A5), from two looks at counters, and what follows from that. Pure.
 *
 * CPU: each thread's own time is measured. The main thread is `control` (links, health, API). The data plane's thread is divided among
 * forwarder, classifier and host by the packets that each had in it; what the kernel forwards by itself costs no thread of ours.
 * Memory: the tables of a function; what is left of the process is control's. Bandwidth: bytes that passed in the kernel's fast
 * path and through the links.
 */
import type { FunctionUse, WorkerFunctions } from '../control/types.ts'

export interface UsageLook {
  /** Monotonic. */
  readonly atMs: number
  readonly mainCpuMs: number
  readonly workerCpuMs: number
  readonly packets: WorkerFunctions
  readonly bytes: WorkerFunctions & { readonly control: number }
}

export const NO_USE: WorkerFunctions = { forwarder: 0, classifier: 0, host: 0 }
const FUNCTIONS = ['forwarder', 'classifier', 'host'] as const

const rate = (before: number, after: number, elapsedMs: number): number =>
  elapsedMs > 0 ? Math.max(0, after - before) / elapsedMs : 0

/**
 * @param tableBytes memory of each function's tables
 * @param roles functions that the node has; the others are left out
 * @returns CPU in percent of one CPU, with one decimal
 */
export const functionUse = (
  before: UsageLook,
  after: UsageLook,
  tableBytes: WorkerFunctions,
  rssBytes: number,
  roles: readonly string[],
): FunctionUse[] => {
  const elapsedMs = after.atMs - before.atMs
  const own = FUNCTIONS.filter(name => roles.includes(name))
  const packets = own.map(name => Math.max(0, after.packets[name] - before.packets[name]))
  const sum = packets.reduce((a, b) => a + b, 0)
  const workerPercent = 100 * rate(before.workerCpuMs, after.workerCpuMs, elapsedMs)
  const tenth = (value: number): number => Math.round(value * 10) / 10
  const bits = (name: keyof UsageLook['bytes']): number =>
    Math.round(8000 * rate(before.bytes[name], after.bytes[name], elapsedMs))
  const tables = own.reduce((all, name) => all + tableBytes[name], 0)
  return [
    ...own.map((name, i) => ({
      function: name,
      cpuPercent: tenth(sum === 0 ? workerPercent / own.length : (workerPercent * packets[i]!) / sum),
      memoryBytes: tableBytes[name],
      bandwidthBits: bits(name),
    })),
    {
      function: 'control' as const,
      cpuPercent: tenth(100 * rate(before.mainCpuMs, after.mainCpuMs, elapsedMs)),
      memoryBytes: Math.max(0, rssBytes - tables),
      bandwidthBits: bits('control'),
    },
  ]
}

/** Above it (percent of what the node may use) a node is short of CPU, and a table of room. */
export const SHORT_PERCENT = 70

/**
 * The rule that advises scaling (R-A5): a node above 70 % of its CPU should share the function of ours that uses most of it with another
 * node, if that is at least a tenth of one CPU; else its applications are what fills it. A table above 70 % wants a higher limit or
 * another node for its function.
 */
export const scalingAdvice = (
  node: string,
  cpuPercent: number | null,
  use: readonly FunctionUse[],
  limits: readonly { name: string; used: number; capacity: number }[],
): string[] => {
  const advice: string[] = []
  if (cpuPercent !== null && cpuPercent >= SHORT_PERCENT) {
    const [most] = [...use]
      .filter(each => each.function !== 'control')
      .sort((a, b) => b.cpuPercent - a.cpuPercent)
    advice.push(
      most !== undefined && most.cpuPercent >= 10
        ? `${node} uses ${cpuPercent} % of its CPU, most of ours as ${most.function}: add a ${most.function}, or take a role from ${node} (shunt roles ${node} -ROLE)`
        : `${node} uses ${cpuPercent} % of its CPU, and not for balancing: add hosts to its pools, or give it less capacity`,
    )
  }
  for (const { name, used, capacity } of limits)
    if (capacity > 0 && (100 * used) / capacity >= SHORT_PERCENT)
      advice.push(
        `the table ${name} of ${node} is ${Math.round((100 * used) / capacity)} % full: raise its limit in the node file, or add a node`,
      )
  return advice
}
