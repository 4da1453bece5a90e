/** The application information table of a host: what each process that waits for clients uses (R-F4). */
import { cpuPercent } from './server-state.ts'

export interface ProcessSample {
  readonly pid: number
  readonly parent: number
  /** With `pid` it names a process for good. */
  readonly started: number
  /** CPU time so far, ms. */
  readonly cpuMs: number
}

export interface AppSocket {
  readonly protocol: 'tcp' | 'udp'
  readonly address: string
  readonly port: number
  /** Accept queue and its limit (0: not known); TCP only. */
  readonly queue: number
  readonly backlog: number
}

export interface AppInfo {
  readonly pid: number
  readonly name: string
  readonly unit: string | null
  /** Of the process and those that it started. */
  readonly memoryBytes: number
  /** Per cent of the CPU time that the node may use. */
  readonly cpuPercent: number
  /** Established connections to its sockets. */
  readonly connections: number
  readonly sockets: readonly AppSocket[]
}

/**
 * Processes of each application: the owner of its sockets and all that it started, but not other applications below it.
 * Process 1 starts everything and stands for itself alone.
 */
export const applicationProcesses = (
  owners: ReadonlySet<number>,
  processes: readonly ProcessSample[],
): Map<number, number[]> => {
  const children = Map.groupBy(processes, process => process.parent)
  const collect = (owner: number): number[] => {
    const found = [owner]
    for (let at = 0; at < found.length && owner !== 1; at++)
      for (const child of children.get(found[at]!) ?? []) if (!owners.has(child.pid)) found.push(child.pid)
    return found
  }
  return new Map([...owners].map(owner => [owner, collect(owner)]))
}

/** CPU time in ms that these processes used between two samples; one that is new used all of its own since. */
export const usedBetween = (
  pids: readonly number[],
  before: ReadonlyMap<number, ProcessSample>,
  after: ReadonlyMap<number, ProcessSample>,
): number => {
  let used = 0
  for (const pid of pids) {
    const now = after.get(pid)
    if (now === undefined) continue
    const old = before.get(pid)
    used += now.cpuMs - (old?.started === now.started ? old.cpuMs : 0)
  }
  return used
}

const WILDCARDS = ['0.0.0.0', '::']

/** Connections at a set of sockets: `established` counts by local end, `address:port`. Each end counts once. */
export const connectionsAt = (
  sockets: readonly AppSocket[],
  established: ReadonlyMap<string, number>,
): number => {
  const tcp = sockets.filter(socket => socket.protocol === 'tcp')
  const exact = new Set(tcp.map(socket => `${socket.address}:${socket.port}`))
  const anywhere = new Set(tcp.filter(s => WILDCARDS.includes(s.address)).map(s => s.port))
  let count = 0
  for (const [end, connections] of established)
    if (exact.has(end) || anywhere.has(Number(end.slice(end.lastIndexOf(':') + 1)))) count += connections
  return count
}

export interface AppSample {
  readonly pid: number
  readonly name: string
  readonly unit: string | null
  readonly sockets: readonly AppSocket[]
  readonly pids: readonly number[]
  readonly memoryBytes: number
  readonly established: ReadonlyMap<string, number>
}

/** `elapsedMs` lies between the samples; 0, without an earlier one, gives no CPU use. */
export const appInfo = (
  app: AppSample,
  before: ReadonlyMap<number, ProcessSample>,
  after: ReadonlyMap<number, ProcessSample>,
  elapsedMs: number,
  cpus: number,
): AppInfo => ({
  pid: app.pid,
  name: app.name,
  unit: app.unit,
  memoryBytes: app.memoryBytes,
  cpuPercent: cpuPercent(usedBetween(app.pids, before, after) * 1000, elapsedMs, cpus),
  connections: connectionsAt(app.sockets, app.established),
  sockets: app.sockets.map(({ protocol, address, port, queue, backlog }) => ({
    protocol,
    address,
    port,
    queue,
    backlog,
  })),
})

/** Per cent of the fullest accept queue: at 100 the kernel turns connections away. */
export const queuePercent = (sockets: readonly AppSocket[]): number =>
  sockets.reduce(
    (most, { queue, backlog }) => Math.max(most, backlog > 0 ? Math.min(100, (queue * 100) / backlog) : 0),
    0,
  )
