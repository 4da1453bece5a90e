/** The server state table's row of a host, from two samples of its counters (R-F4). */
import type { ServerState } from '../types.ts'

export interface ServerCounters {
  /** Monotonic, ms. */
  readonly atMs: number
  /** CPU time that the node has used so far, microseconds. */
  readonly cpuUsedUs: number
  /** CPUs that it may keep busy; may be a fraction. */
  readonly cpus: number
  readonly memoryBytes: number
  readonly memoryFreeBytes: number
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Bits a second in each direction; null: not known. */
  readonly speedBits: number | null
  readonly connections: number
}

const whole = (value: number, most = Number.MAX_SAFE_INTEGER): number =>
  Number.isFinite(value) ? Math.round(Math.max(Math.min(value, most), 0)) : 0

/** Per cent of `cpus` that `usedUs` within `elapsedMs` is: 0 to 100; 0 for a counter that began anew. */
export const cpuPercent = (usedUs: number, elapsedMs: number, cpus: number): number =>
  elapsedMs > 0 && cpus > 0 ? whole(usedUs / 10 / (elapsedMs * cpus), 100) : 0

/**
 * All whole numbers. Links carry as much each way at once, so the busier direction is what is in use (`bandwidthBits`) and
 * what leaves less. Without an earlier sample rates are 0.
 */
export const serverState = (before: ServerCounters | null, after: ServerCounters): ServerState => {
  const elapsedMs = before === null ? 0 : after.atMs - before.atMs
  const rate = (bytes: (sample: ServerCounters) => number): number =>
    before === null || elapsedMs <= 0 ? 0 : Math.max(0, ((bytes(after) - bytes(before)) * 8000) / elapsedMs)
  const busyBits = Math.max(
    rate(sample => sample.receivedBytes),
    rate(sample => sample.sentBytes),
  )
  return {
    connections: whole(after.connections, 0xffff_ffff),
    cpuPercent: before === null ? 0 : cpuPercent(after.cpuUsedUs - before.cpuUsedUs, elapsedMs, after.cpus),
    memoryBytes: whole(after.memoryBytes),
    memoryFreeBytes: whole(after.memoryFreeBytes, whole(after.memoryBytes)),
    bandwidthBits: whole(busyBits),
    bandwidthFreeBits: after.speedBits === null ? 0 : whole(after.speedBits - busyBits),
  }
}
