/**
 * A CPU cgroup for each place of a lab: /proc/stat is the whole machine's, so a node's load is only known here.
 */
import { existsSync, mkdirSync, readFileSync, realpathSync, rmdirSync } from 'node:fs'
import { errorText } from '../errors.ts'
import { identify, type ProcessId, sleepSync } from './processes.ts'

const ROOT = '/sys/fs/cgroup'
/** v1 has shares and limits in one hierarchy and usage in another; often both names mean one directory. */
const V1 = ['cpu', 'cpuacct']

const hierarchies = (): string[] => {
  const v1 = V1.map(c => `${ROOT}/${c}`).filter(dir => existsSync(`${dir}/cgroup.procs`))
  if (v1.length > 0) return [...new Set(v1.map(dir => realpathSync(dir)))]
  return existsSync(`${ROOT}/cgroup.controllers`) ? [ROOT] : []
}

/** All directories that a lab's cgroups have here, children before parents. */
export const cgroupDirs = (lab: string, places: string[]): string[] =>
  hierarchies().flatMap(root => [
    ...places.map(place => `${root}/shunt-lab-${lab}/${place}`),
    `${root}/shunt-lab-${lab}`,
  ])

/** Files to which a process of this place writes its id to be counted there. */
export const procsFiles = (dirs: string[], place: string): string[] =>
  dirs.filter(dir => dir.endsWith(`/${place}`)).map(dir => `${dir}/cgroup.procs`)

/** @returns null, or why there are none: the lab works without them */
export const createCgroups = (dirs: string[]): string | null => {
  if (dirs.length === 0) return `no CPU cgroups at ${ROOT}; the load of single nodes will not be known`
  try {
    for (const dir of dirs.toReversed()) mkdirSync(dir, { recursive: true })
    return null
  } catch (error) {
    removeCgroups(dirs)
    return `CPU cgroups cannot be made (${errorText(error)}); the load of single nodes will not be known`
  }
}

/** Everything that runs in the cgroups: also what lost its namespace's name or its parent. */
export const processesCounted = (dirs: string[]): ProcessId[] =>
  dirs.flatMap(dir => {
    try {
      const pids = readFileSync(`${dir}/cgroup.procs`, 'utf8').split('\n').filter(Boolean)
      return pids.flatMap(pid => identify(Number(pid)) ?? [])
    } catch {
      return [] // removed already
    }
  })

/** @returns the directories that are still there because something runs in them */
export const removeCgroups = (dirs: string[]): string[] =>
  dirs.filter(dir => {
    // The last process may still be on its way out after it has left /proc.
    for (let tries = 0; tries < 50; tries++) {
      try {
        rmdirSync(dir)
        return false
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code
        if (code === 'ENOENT') return false
        if (code !== 'EBUSY') return true
        sleepSync(10)
      }
    }
    return true
  })

/** CPU time that a place has used, in microseconds; null without cgroups. */
export const cpuUsageUs = (dirs: string[], place: string): number | null => {
  for (const dir of dirs.filter(d => d.endsWith(`/${place}`))) {
    if (existsSync(`${dir}/cpuacct.usage`)) return Number(readFileSync(`${dir}/cpuacct.usage`, 'utf8')) / 1000
    const found = /^usage_usec (\d+)/m.exec(readFileSync(`${dir}/cpu.stat`, 'utf8'))
    if (found !== null) return Number(found[1])
  }
  return null
}
