/** Processes: who holds which socket, which network namespaces there are, what each has used (proc_pid(5)). */
import { type Dir, existsSync, opendirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Listening sockets are opened early and have low numbers; a proxy may have a million connections above them. */
const MAX_DESCRIPTORS = 16_384
const MAX_NAMESPACES = 256
/** USER_HZ: 100 on every architecture that Node runs on (time(7)). */
const TICK_MS = 10

export interface SocketOwner {
  readonly pid: number
  /** As the kernel names it, at most 15 bytes. */
  readonly name: string
  /** Path in its hierarchy. */
  readonly cgroup: string
  /** systemd's unit by the path of the cgroup. */
  readonly unit: string | null
}

/** All processes in the kernel's order, some hundred looked up at a time. Throws the system's error when /proc cannot be read. */
export function* eachProcessId(): Generator<number, void> {
  const folder = opendirSync('/proc', { bufferSize: 256 })
  try {
    for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
      const pid = Number(entry.name)
      if (Number.isInteger(pid)) yield pid
    }
  } finally {
    folder.closeSync()
  }
}

export const processIds = (): number[] => readdirSync('/proc').map(Number).filter(Number.isInteger)

/** The empty text for what has ended or may not be read. */
const readText = (path: string): string => {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
const readLink = (path: string): string => {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/** Path and unit from /proc/PID/cgroup: of version 2, unless systemd keeps its units in a hierarchy of version 1. */
export const parseCgroup = (text: string): { cgroup: string; unit: string | null } => {
  const paths = new Map<string, string>()
  for (const match of text.matchAll(/^\d+:([^:\n]*):(.*)$/gm)) paths.set(match[1]!, match[2]!)
  const unified = paths.get('')
  const cgroup =
    unified === undefined || unified === '/' ? (paths.get('name=systemd') ?? unified ?? '/') : unified
  const unit = cgroup.split('/').findLast(part => part.endsWith('.service') || part.endsWith('.scope'))
  return { cgroup, unit: unit ?? null }
}

export const describeProcess = (pid: number): SocketOwner => ({
  pid,
  name: readText(`/proc/${pid}/comm`).trimEnd(),
  ...parseCgroup(readText(`/proc/${pid}/cgroup`)),
})

/** Inodes among `wanted` that a process holds open. */
const heldBy = (pid: number, wanted: ReadonlySet<number>): number[] => {
  const held: number[] = []
  let folder: Dir
  try {
    folder = opendirSync(`/proc/${pid}/fd`, { bufferSize: 256 })
  } catch {
    return held // ended, or not ours to look at (CAP_SYS_PTRACE)
  }
  try {
    for (let seen = 0; seen < MAX_DESCRIPTORS; seen++) {
      const entry = folder.readSync()
      if (entry === null) break
      const target = readLink(`/proc/${pid}/fd/${entry.name}`)
      if (!target.startsWith('socket:[')) continue
      const inode = Number(target.slice(8, -1))
      if (wanted.has(inode)) held.push(inode)
    }
  } catch {
    // Ended meanwhile.
  } finally {
    folder.closeSync()
  }
  return held
}

/**
 * Looks for the processes that hold sockets, one process each `next`; ends early when all are found. Of several holders
 * the smallest number wins, which is mostly the parent; process 1 only when it is alone, for it holds what it activates.
 */
export function* searchOwners(inodes: ReadonlySet<number>): Generator<void, Map<number, SocketOwner>> {
  const found = new Map<number, SocketOwner>()
  const left = new Set(inodes)
  const pids = processIds().sort((a, b) => a - b)
  if (pids[0] === 1) pids.push(pids.shift()!)
  for (const pid of pids) {
    if (left.size === 0) break
    const held = heldBy(pid, left)
    if (held.length > 0) {
      const owner = describeProcess(pid)
      for (const inode of held) {
        found.set(inode, owner)
        left.delete(inode)
      }
    }
    yield
  }
  return found
}

/** The same at once. Sockets of other users take CAP_SYS_PTRACE; those that nobody is seen to hold are left out. */
export const socketOwners = (inodes: ReadonlySet<number>): Map<number, SocketOwner> => {
  const search = searchOwners(inodes)
  for (;;) {
    const step = search.next()
    if (step.done === true) return step.value
  }
}

/** Settings that only the machine's first network namespace has; process 1 may not be ours to look at. */
const ofMachine = (own: string): boolean =>
  readLink('/proc/1/ns/net') === own || existsSync('/proc/sys/net/core/dev_weight')

/**
 * Network namespaces of other processes, by one process each. Only a process in the machine's own namespace (the first, or
 * that of process 1) sees containers below it; for one that is in a container or a lab itself, the others are its siblings. `id` is
 * the kernel's name of the namespace, `net:[4026532281]`: the process may end while the namespace stays.
 */
export const networkNamespaces = (): { id: string; path: string; pid: number }[] => {
  const own = readLink('/proc/thread-self/ns/net')
  if (own === '' || !ofMachine(own)) return []
  const seen = new Set([own, ''])
  const found: { id: string; path: string; pid: number }[] = []
  for (const pid of processIds()) {
    const path = `/proc/${pid}/ns/net`
    const id = networkNamespaceOf(pid)
    if (seen.has(id)) continue
    seen.add(id)
    if (found.push({ id, path, pid }) >= MAX_NAMESPACES) break
  }
  return found
}

/** The kernel's name of a process's network namespace; empty once it has ended, and without CAP_SYS_PTRACE. */
export const networkNamespaceOf = (pid: number): string => readLink(`/proc/${pid}/ns/net`)

export interface ProcessUsage {
  readonly pid: number
  readonly parent: number
  /** Ticks since boot; with `pid` it names a process for good. */
  readonly started: number
  /** Of its own threads, whole life, ms. */
  readonly cpuMs: number
}

/** /proc/PID/stat; null for what is cut. A name may hold spaces and parentheses. */
export const parseProcessStat = (text: string): ProcessUsage | null => {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ') // from field 3, the state
  if (fields.length < 20) return null
  return {
    pid: Number.parseInt(text, 10),
    parent: Number(fields[1]),
    started: Number(fields[19]),
    cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
  }
}

/** False also for one that has ended and whose parent has not asked for its status yet. */
export const processLives = (pid: number): boolean => {
  const text = readText(`/proc/${pid}/stat`)
  return text !== '' && !'ZX'.includes(text.charAt(text.lastIndexOf(')') + 2))
}

/** What a process has used; null once it has ended. */
export const processUsage = (pid: number): ProcessUsage | null =>
  parseProcessStat(readText(`/proc/${pid}/stat`))

/** Resident memory in bytes: all, and what is not shared with other processes. Zeros once it has ended. */
export const processMemory = (pid: number): { resident: number; anonymous: number } => {
  const status = readText(`/proc/${pid}/status`)
  const bytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024
  return { resident: bytes('VmRSS'), anonymous: bytes('RssAnon') }
}
