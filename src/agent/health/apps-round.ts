/** One round of reading what the applications of this host use, bit by bit: there may be ten thousands of processes. */
import { type AppSample, applicationProcesses } from '../../health/system/app-state.ts'
import { countingEstablished } from '../../os/netlink/sock-diag.ts'
import { eachProcessId, type ProcessUsage, processMemory, processUsage } from '../../os/proc.ts'
import { countEstablishedOf } from '../../os/proc-net.ts'
import type { Listener } from './listener-look.ts'

export interface AppsRound {
  /** When it began: monotonic, ms. */
  readonly atMs: number
  readonly processes: ReadonlyMap<number, ProcessUsage>
  readonly apps: readonly AppSample[]
}

type Counts = ReadonlyMap<string, number>
type Ports = ReadonlySet<number>

/** What is read, a little at each call. */
export interface AppsSource {
  processes(): Iterable<number>
  /** Null once it has ended. */
  usage(pid: number): ProcessUsage | null
  memory(pid: number): { resident: number; anonymous: number }
  /** Established connections of this network namespace by local end. */
  connections(ports: Ports): Generator<void, Counts>
  /** Those of the namespace of a process. */
  connectionsOf(pid: number, ports: Ports): Counts
}

export const SYSTEM: AppsSource = {
  processes: eachProcessId,
  usage: processUsage,
  memory: processMemory,
  connections: countingEstablished,
  connectionsOf: countEstablishedOf,
}

/** A process of a container's network namespace; null: the namespace is this one; undefined: there is none. */
export type ProcessIn = (namespace: string) => number | null | undefined

const NONE: Counts = new Map()

function* readProcesses(source: AppsSource): Generator<void, Map<number, ProcessUsage>> {
  const found = new Map<number, ProcessUsage>()
  for (const pid of source.processes()) {
    const usage = source.usage(pid)
    if (usage !== null) found.set(pid, usage)
    yield
  }
  return found
}

function* readMemory(source: AppsSource, pids: readonly number[]): Generator<void, number> {
  let bytes = 0
  for (const [index, pid] of pids.entries()) {
    const { resident, anonymous } = source.memory(pid)
    // What children share with their parent counts once.
    bytes += index === 0 ? resident : anonymous
    yield
  }
  return bytes
}

function* readConnections(
  source: AppsSource,
  held: readonly Listener[],
  processIn: ProcessIn,
): Generator<void, Map<string | null, Counts>> {
  const established = new Map<string | null, Counts>()
  for (const [namespace, sockets] of Map.groupBy(held, listener => listener.namespace)) {
    const ports = new Set(sockets.filter(s => s.protocol === 'tcp').map(socket => socket.port))
    const inside = namespace === null ? null : processIn(namespace)
    if (inside === null) established.set(namespace, yield* source.connections(ports))
    else if (inside !== undefined) established.set(namespace, source.connectionsOf(inside, ports))
    yield
  }
  return established
}

export function* readApps(
  source: AppsSource,
  listeners: readonly Listener[],
  processIn: ProcessIn,
  atMs: number,
): Generator<void, AppsRound> {
  const processes = yield* readProcesses(source)
  const held = listeners.filter(listener => listener.owner !== null)
  const owners = Map.groupBy(held, listener => listener.owner!.pid)
  const trees = applicationProcesses(new Set(owners.keys()), [...processes.values()])
  const established = yield* readConnections(source, held, processIn)
  const apps: AppSample[] = []
  for (const [pid, sockets] of owners) {
    const { name, unit } = sockets[0]!.owner!
    const pids = trees.get(pid)!
    apps.push({
      ...{ pid, name, unit, sockets, pids },
      memoryBytes: yield* readMemory(source, pids),
      established: established.get(sockets[0]!.namespace) ?? NONE,
    })
  }
  return { atMs, processes, apps }
}
