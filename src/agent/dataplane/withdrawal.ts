import type { DirectoryIndex } from './directory.ts'
import type { FlowTable } from './flows.ts'
import type { ForwarderPorts } from './forwarder-ports.ts'

/** The kernel counts a route's lease from when it gets it, a little after its flow's entry does. */
const KERNEL_LATE_MS = 50
/** Routes taken out of the kernel in one step. */
const ROUTES_PER_STEP = 1024

/**
 * Takes the routes of flows whose host is inactive out of the kernel (R-B1), some at a time, so that packets of others do not wait. The
 * flows stay in the table and go on when their host does.
 */
export class Withdrawal {
  readonly #flows: FlowTable
  readonly #directory: DirectoryIndex
  readonly #unplumbAll: ForwarderPorts['unplumbAll']
  #slots: number[] = []
  #done = 0

  constructor(parts: { flows: FlowTable; directory: DirectoryIndex; ports: ForwarderPorts }) {
    this.#flows = parts.flows
    this.#directory = parts.directory
    this.#unplumbAll = parts.ports.unplumbAll
  }

  get isPending(): boolean {
    return this.#done < this.#slots.length
  }

  /** Looks for such routes among all flows. */
  begin(nowMs: number): void {
    this.#slots = this.#flows.table.select(slot => this.#must(slot, nowMs))
    this.#done = 0
  }

  /** Some of them. */
  step(nowMs: number, most = ROUTES_PER_STEP): void {
    if (!this.isPending) return
    const { plumbedUntilMs } = this.#flows
    // A slot may belong to another flow by now.
    const slots = this.#slots.slice(this.#done, this.#done + most).filter(slot => this.#must(slot, nowMs))
    this.#done += most
    if (slots.length > 0) this.#unplumbAll(slots)
    for (const slot of slots) plumbedUntilMs[slot] = 0
    if (this.isPending) return
    this.#slots = []
    this.#done = 0
  }

  #must(slot: number, nowMs: number): boolean {
    const { plumbedUntilMs, service, host } = this.#flows
    if (plumbedUntilMs[slot] === 0 || plumbedUntilMs[slot] + KERNEL_LATE_MS <= nowMs) return false
    return this.#directory.isInactive(service[slot], host[slot])
  }
}
