/** What this node, its applications and this process have used: reads the counters that the pure parts compare. */
import { type AppInfo, appInfo, applicationProcesses } from '../../health/system/app-state.ts'
import { cpuPercent, type ServerCounters, serverState } from '../../health/system/server-state.ts'
import type { ServerState } from '../../health/types.ts'
import type { Cgroup } from '../../os/cgroup.ts'
import { bandwidthCounters, connectionCount, cpuCounters, memoryCounters } from '../../os/counters.ts'
import { countEstablished, countingEstablished } from '../../os/netlink/sock-diag.ts'
import { type ProcessUsage, processMemory, processUsage } from '../../os/proc.ts'
import { countEstablishedOf } from '../../os/proc-net.ts'
import type { Listener } from './listener-look.ts'

/** Up to so many connections are counted at once; more are counted in slices, and the last count is told meanwhile. */
const COUNT_AT_ONCE = 5_000

export interface SystemSample {
  readonly server: ServerState
  readonly apps: AppInfo[]
  /** This process: per cent of the CPU time that the node may use, and resident memory. */
  readonly self: { readonly cpuPercent: number; readonly memoryBytes: number }
}

type Processes = ReadonlyMap<number, ProcessUsage>
interface Earlier {
  readonly server: ServerCounters
  readonly processes: Processes
  readonly selfUs: number
}

const serverCounters = (cgroup: Cgroup | null, nowMs: number): ServerCounters => {
  const cpu = cpuCounters()
  const memory = memoryCounters()
  const group = cgroup?.read()
  const limit = Math.min(group?.memoryLimitBytes ?? memory.totalBytes, memory.totalBytes)
  const used = group?.memoryLimitBytes != null ? group.memoryBytes : null
  return {
    atMs: nowMs,
    cpuUsedUs: group?.cpuUs ?? cpu.usedUs,
    cpus: Math.min(group?.cpus ?? cpu.cpus, cpu.cpus),
    memoryBytes: limit,
    // A group may not use what the machine has not.
    memoryFreeBytes: Math.min(used === null ? limit : limit - used, memory.availableBytes),
    ...bandwidthCounters(),
    connections: connectionCount(),
  }
}

const memoryOf = (pids: readonly number[]): number =>
  // What children share with their parent counts once.
  pids.reduce((sum, pid, index) => {
    const { resident, anonymous } = processMemory(pid)
    return sum + (index === 0 ? resident : anonymous)
  }, 0)

export class SystemSampler {
  readonly #cgroup: Cgroup | null
  #before: Earlier | null = null
  #counts = new Map<string, number>()
  #counting: Generator<void, Map<string, number>> | null = null

  constructor(cgroup: Cgroup | null) {
    this.#cgroup = cgroup
  }

  /** Rates are since the last call; the first has none. `processIn`: a process of a container's namespace. */
  sample(
    listeners: readonly Listener[],
    processIn: (namespace: string) => number | null | undefined,
    nowMs: number,
  ): SystemSample {
    const server = serverCounters(this.#cgroup, nowMs)
    const processes: Processes = new Map(processUsage().map(usage => [usage.pid, usage]))
    const { user, system } = process.cpuUsage()
    const before = this.#before
    this.#before = { server, processes, selfUs: user + system }
    const elapsedMs = before === null ? 0 : nowMs - before.server.atMs
    return {
      server: serverState(before?.server ?? null, server),
      apps: this.#apps(listeners, processIn, server).map(app =>
        appInfo(app, before?.processes ?? new Map(), processes, elapsedMs, server.cpus),
      ),
      self: {
        cpuPercent: cpuPercent(user + system - (before?.selfUs ?? user + system), elapsedMs, server.cpus),
        memoryBytes: process.memoryUsage.rss(),
      },
    }
  }

  close(): void {
    this.#counting?.return(new Map())
    this.#counting = null
  }

  #apps(
    listeners: readonly Listener[],
    processIn: (namespace: string) => number | null | undefined,
    server: ServerCounters,
  ) {
    const held = listeners.filter(listener => listener.owner !== null)
    const owners = Map.groupBy(held, listener => listener.owner!.pid)
    const trees = applicationProcesses(new Set(owners.keys()), [...this.#before!.processes.values()])
    const established = new Map<string | null, Map<string, number>>()
    for (const [namespace, sockets] of Map.groupBy(held, listener => listener.namespace)) {
      const ports = new Set(sockets.filter(s => s.protocol === 'tcp').map(socket => socket.port))
      const inside = namespace === null ? null : processIn(namespace)
      if (inside === null) established.set(null, this.#countHere(ports, server.connections))
      else if (inside !== undefined) established.set(namespace, countEstablishedOf(inside, ports))
    }
    return [...owners].map(([pid, sockets]) => ({
      pid,
      name: sockets[0]!.owner!.name,
      unit: sockets[0]!.owner!.unit,
      sockets,
      pids: trees.get(pid)!,
      memoryBytes: memoryOf(trees.get(pid)!),
      established: established.get(sockets[0]!.namespace) ?? new Map<string, number>(),
    }))
  }

  #countHere(ports: ReadonlySet<number>, connections: number): Map<string, number> {
    if (this.#counting !== null) return this.#counts
    if (connections <= COUNT_AT_ONCE) {
      this.#counts = countEstablished(ports)
      return this.#counts
    }
    this.#counting = countingEstablished(ports)
    setImmediate(() => this.#countOn())
    return this.#counts
  }

  #countOn(): void {
    if (this.#counting === null) return // closed meanwhile
    try {
      const step = this.#counting.next()
      if (step.done !== true) {
        setImmediate(() => this.#countOn())
        return
      }
      this.#counts = step.value
    } catch {
      // The kernel refused: the count before stays, and the next sample tries again.
    }
    this.#counting = null
  }
}
