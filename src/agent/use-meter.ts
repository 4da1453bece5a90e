/** Looks at the counters of this process for usage.ts: now, and a while ago. */
import type { FunctionUse } from '../control/types.ts'
import type { WorkerStatus } from './dataplane/messages.ts'
import type { KernelCounters } from './kernel-counters.ts'
import { functionUse, NO_USE, type UsageLook } from './usage.ts'

/** Looks closer together than this give no rates worth telling. */
const LEAST_MS = 1_000

type Counters = Readonly<Record<string, number>>

const lookNow = (worker: WorkerStatus, kernel: KernelCounters, links: Counters): UsageLook => {
  const { user, system } = process.threadCpuUsage()
  const { counters } = worker
  return {
    atMs: performance.now(),
    mainCpuMs: (user + system) / 1000,
    workerCpuMs: worker.cpuMs,
    packets: {
      forwarder: counters.forwarder_slow_packets ?? 0,
      classifier: counters.classifier_classified ?? 0,
      host: counters.host_slow_packets ?? 0,
    },
    bytes: {
      forwarder: kernel.route_hit?.bytes ?? 0,
      classifier: 0,
      host: kernel.decap_hit?.bytes ?? 0,
      control: (links.bytes_in ?? 0) + (links.bytes_out ?? 0),
    },
  }
}

const START: UsageLook = {
  ...{ atMs: performance.now(), mainCpuMs: 0, workerCpuMs: 0, packets: NO_USE },
  bytes: { ...NO_USE, control: 0 },
}

export class UseMeter {
  #before = START
  #last = START

  look(
    worker: WorkerStatus,
    kernel: KernelCounters,
    links: Counters,
    rssBytes: number,
    roles: readonly string[],
  ): FunctionUse[] {
    const now = lookNow(worker, kernel, links)
    if (now.atMs - this.#last.atMs >= LEAST_MS) {
      this.#before = this.#last
      this.#last = now
    }
    return functionUse(this.#before, now, worker.tableBytes, rssBytes, roles)
  }
}
