/**
 * A process is known by its id and its start time, so that an id that was given out again is never signalled.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'

export interface ProcessId {
  pid: number
  /** Clock ticks after boot, field 22 of /proc/PID/stat. */
  startTime: string
}

interface Stat {
  state: string
  startTime: string
}

const readStat = (pid: number): Stat | null => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The command name may hold spaces and parentheses; the fields go on after the last one.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0], startTime: fields[19] }
  } catch {
    return null
  }
}

/** The identity of a process that runs now, or null. */
export const identify = (pid: number): ProcessId | null => {
  const stat = readStat(pid)
  return stat === null ? null : { pid, startTime: stat.startTime }
}

export const sameProcess = (a: ProcessId, b: ProcessId): boolean =>
  a.pid === b.pid && a.startTime === b.startTime

/** A zombie is not alive: nothing of it is left but its exit status. */
export const isAlive = (p: ProcessId): boolean => {
  const stat = readStat(p.pid)
  return stat !== null && stat.startTime === p.startTime && stat.state !== 'Z' && stat.state !== 'X'
}

/** Sends a signal to exactly that process; false when it is gone. */
export const signalProcess = (p: ProcessId, signal: NodeJS.Signals): boolean => {
  if (!isAlive(p)) return false
  try {
    return process.kill(p.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** Name of a process's program, at most 15 characters; empty when it is gone. */
export const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}

/** All processes inside the named network namespaces; names that do not exist are left out. */
export const processesInside = (netnsNames: string[]): ProcessId[] => {
  const inodes = new Set<string>()
  for (const name of netnsNames) {
    const found = statSync(`/run/netns/${name}`, { throwIfNoEntry: false })
    if (found !== undefined) inodes.add(`net:[${found.ino}]`)
  }
  // Someone who runs this inside a lab's namespace must not end himself, nor everything of the machine.
  inodes.delete(readlinkSync('/proc/self/ns/net'))
  if (inodes.size === 0) return []
  const inside: ProcessId[] = []
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      if (!inodes.has(readlinkSync(`/proc/${entry}/ns/net`))) continue
    } catch {
      continue // ended meanwhile
    }
    const id = identify(Number(entry))
    if (id !== null) inside.push(id)
  }
  return inside
}

const KILL_MS = 5_000
const sleepCell = new Int32Array(new SharedArrayBuffer(4))
/** Blocks the thread: for the clean-up, which must also work in an 'exit' handler, where nothing can be awaited. */
export const sleepSync = (ms: number): void => {
  Atomics.wait(sleepCell, 0, 0, ms)
}

/** Asks all of them to end, then makes them; blocks for at most `graceMs` plus KILL_MS. */
export const endProcesses = (find: () => ProcessId[], graceMs: number): void => {
  const wait = (boundMs: number): ProcessId[] => {
    const endAt = performance.now() + boundMs
    for (;;) {
      const left = find().filter(isAlive)
      if (left.length === 0 || performance.now() >= endAt) return left
      sleepSync(5)
    }
  }
  if (graceMs > 0) for (const p of find()) signalProcess(p, 'SIGTERM')
  for (const p of wait(graceMs)) signalProcess(p, 'SIGKILL')
  // A killed process is gone at once, or, on a machine that has much else to do, a little later.
  wait(KILL_MS)
}
