/** What this node, its applications and this process have used: reads the counters that the pure parts compare. */
import { type AppInfo, appInfo } from '../../health/system/app-state.ts'
import { cpuPercent, type ServerCounters, serverState } from '../../health/system/server-state.ts'
import type { ServerState } from '../../health/types.ts'
import type { Cgroup } from '../../os/cgroup.ts'
import { bandwidthCounters, connectionCount, cpuCounters, memoryCounters } from '../../os/counters.ts'
import { type AppsRound, type AppsSource, type ProcessIn, readApps, SYSTEM } from './apps-round.ts'
import type { Listener } from './listener-look.ts'
import { Slices, type SlicesOptions } from './slices.ts'

export interface SystemSample {
  readonly server: ServerState
  /** As the last whole round of reading saw them; none before it. */
  readonly apps: AppInfo[]
  /** This process: per cent of the CPU time that the node may use, and resident memory. */
  readonly self: { readonly cpuPercent: number; readonly memoryBytes: number }
}

interface Earlier {
  readonly server: ServerCounters
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

export class SystemSampler {
  readonly #cgroup: Cgroup | null
  readonly #source: AppsSource
  readonly #reading: Slices<AppsRound>
  #before: Earlier | null = null
  #round: AppsRound | null = null
  #roundBefore: AppsRound | null = null

  constructor(cgroup: Cgroup | null, source: AppsSource = SYSTEM, slices: SlicesOptions = {}) {
    this.#cgroup = cgroup
    this.#source = source
    this.#reading = new Slices(slices)
  }

  /**
   * Rates are since the last call, those of applications between whole rounds of reading, which take several calls where there
   * is much to read; the first have none.
   */
  sample(listeners: readonly Listener[], processIn: ProcessIn, nowMs: number): SystemSample {
    const server = serverCounters(this.#cgroup, nowMs)
    const { user, system } = process.cpuUsage()
    const before = this.#before
    this.#before = { server, selfUs: user + system }
    const elapsedMs = before === null ? 0 : nowMs - before.server.atMs
    const round = this.#reading.turn(() => readApps(this.#source, listeners, processIn, nowMs))
    if (round !== this.#round) {
      this.#roundBefore = this.#round
      this.#round = round
    }
    return {
      server: serverState(before?.server ?? null, server),
      apps: this.#apps(server.cpus),
      self: {
        cpuPercent: cpuPercent(user + system - (before?.selfUs ?? user + system), elapsedMs, server.cpus),
        memoryBytes: process.memoryUsage.rss(),
      },
    }
  }

  close(): void {
    this.#reading.stop()
  }

  #apps(cpus: number): AppInfo[] {
    const [before, now] = [this.#roundBefore, this.#round]
    if (now === null) return []
    const elapsedMs = before === null ? 0 : now.atMs - before.atMs
    return now.apps.map(app => appInfo(app, before?.processes ?? new Map(), now.processes, elapsedMs, cpus))
  }
}
