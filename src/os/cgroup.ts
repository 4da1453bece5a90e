/** What a control group has used and may use, of version 2 or 1 (cgroups(7)). */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Version 1 says "no limit" by a number near 2^63. */
const NO_LIMIT_BYTES = 2 ** 60

export interface CgroupCounters {
  /** CPU time of everything in it, microseconds. */
  readonly cpuUs: number | null
  /** CPUs that it may keep busy; null: all of the machine. */
  readonly cpus: number | null
  /** In use, without the page cache that the kernel would give back first. */
  readonly memoryBytes: number | null
  readonly memoryLimitBytes: number | null
}

interface Folders {
  readonly version: 1 | 2
  /** Mount points, and the paths of the group below them; null: there is no such controller. */
  readonly cpu: Place | null
  readonly usage: Place | null
  readonly memory: Place | null
}
interface Place {
  readonly mount: string
  readonly path: string
}

const readText = (path: string): string | null => {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return null
  }
}

/** Path by controller from /proc/PID/cgroup; version 2 is the empty name. */
const pathsOf = (text: string): Map<string, string> => {
  const paths = new Map<string, string>()
  for (const match of text.matchAll(/^\d+:([^:\n]*):(.*)$/gm))
    for (const controller of match[1]!.split(',')) paths.set(controller, match[2]!)
  return paths
}

/** The group's folder and those above it, up to the mount point. */
const upwards = ({ mount, path }: Place): string[] => {
  const parts = path.split('/').filter(Boolean)
  return parts.map((_, index) => join(mount, ...parts.slice(0, parts.length - index))).concat(mount)
}

const smallest = (values: readonly (number | null)[]): number | null => {
  const known = values.filter(value => value !== null)
  return known.length === 0 ? null : Math.min(...known)
}

/** "max 100000" or "150000 100000": CPUs. */
export const parseCpuMax = (text: string | null): number | null => {
  const [quota, period] = (text ?? 'max').split(/\s+/).map(Number)
  return quota! > 0 && period! > 0 ? quota! / period! : null
}

const cpuLimit = (version: 1 | 2, folder: string): number | null =>
  parseCpuMax(
    version === 2
      ? readText(join(folder, 'cpu.max'))
      : `${readText(join(folder, 'cpu.cfs_quota_us'))?.trim()} ${readText(join(folder, 'cpu.cfs_period_us'))}`,
  )

const memoryLimit = (version: 1 | 2, folder: string): number | null => {
  const limit = Number(
    readText(join(folder, version === 2 ? 'memory.max' : 'memory.limit_in_bytes')) ?? Number.NaN,
  )
  return limit < NO_LIMIT_BYTES ? limit : null
}

export class Cgroup {
  readonly #folders: Folders

  constructor(folders: Folders) {
    this.#folders = folders
  }

  /** Limits are those of the group or of one above it, whichever is smaller. */
  read(): CgroupCounters {
    const { version, cpu, memory } = this.#folders
    return {
      cpuUs: this.#cpuUs(),
      cpus: cpu === null ? null : smallest(upwards(cpu).map(folder => cpuLimit(version, folder))),
      memoryBytes: this.#memoryBytes(),
      memoryLimitBytes:
        memory === null ? null : smallest(upwards(memory).map(folder => memoryLimit(version, folder))),
    }
  }

  #cpuUs(): number | null {
    const { version, usage } = this.#folders
    if (usage === null) return null
    const folder = join(usage.mount, usage.path)
    if (version === 1) {
      const nanoseconds = readText(join(folder, 'cpuacct.usage'))
      return nanoseconds === null ? null : Number(nanoseconds) / 1000
    }
    const found = /^usage_usec (\d+)/m.exec(readText(join(folder, 'cpu.stat')) ?? '')
    return found === null ? null : Number(found[1])
  }

  #memoryBytes(): number | null {
    const { version, memory } = this.#folders
    if (memory === null) return null
    const folder = join(memory.mount, memory.path)
    const used = readText(join(folder, version === 2 ? 'memory.current' : 'memory.usage_in_bytes'))
    if (used === null) return null
    const name = version === 2 ? 'inactive_file' : 'total_inactive_file'
    const cache = new RegExp(`^${name} (\\d+)`, 'm').exec(readText(join(folder, 'memory.stat')) ?? '')
    return Math.max(0, Number(used) - Number(cache?.[1] ?? 0))
  }
}

export interface CgroupSearch {
  /** Where cgroups are mounted. */
  readonly root?: string
  /** Text of /proc/self/cgroup. */
  readonly own?: string
}

/**
 * The group whose use stands for this node: the one at `path` (below every hierarchy), the one that this process is in
 * (`own`: right where all of the node runs in it, as in a lab), or (null) the topmost that is visible if it has a limit, as
 * in a container. Null: there is none, all of the machine stands for the node.
 */
export const nodeCgroup = (path: string | 'own' | null, search: CgroupSearch = {}): Cgroup | null => {
  const { root = '/sys/fs/cgroup' } = search
  const own = pathsOf(search.own ?? readText('/proc/self/cgroup') ?? '')
  const version = existsSync(join(root, 'cgroup.controllers')) ? 2 : 1
  const place = (controller: string, file: string): Place | null => {
    const mount = version === 2 ? root : join(root, controller)
    const below = path === null ? '/' : path === 'own' ? own.get(version === 2 ? '' : controller) : path
    return below !== undefined && existsSync(join(mount, below, file)) ? { mount, path: below } : null
  }
  const folders: Folders =
    version === 2
      ? {
          version,
          cpu: place('cpu', 'cgroup.procs'),
          usage: place('cpu', 'cpu.stat'),
          memory: place('memory', 'memory.current'),
        }
      : {
          version,
          cpu: place('cpu', 'cpu.cfs_quota_us'),
          usage: place('cpuacct', 'cpuacct.usage'),
          memory: place('memory', 'memory.usage_in_bytes'),
        }
  const cgroup = new Cgroup(folders)
  const { cpuUs, cpus, memoryBytes, memoryLimitBytes } = cgroup.read()
  if (path === null) return cpus === null && memoryLimitBytes === null ? null : cgroup
  return cpuUs === null && memoryBytes === null ? null : cgroup
}
