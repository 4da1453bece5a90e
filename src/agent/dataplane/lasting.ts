/** A worker's state that outlives it (R-G4): the tables' columns, and how a new worker goes on with them and with the kernel's tables. */
import { errorText } from '../../errors.ts'
import { readColumnsHead, SharedColumns } from '../../os/shared-columns.ts'
import { adoptFlows, adoptMapping, adoptRoute, type ForwarderTables } from './adopt.ts'
import type { Engine } from './engine.ts'
import { PLUMB_AFTER_PACKETS } from './engine-parts.ts'
import { FLOW_FLAG, FLOW_KEY_WORDS } from './flows.ts'
import type { Adopted } from './lasting-plan.ts'
import type { DataplanePlan } from './messages.ts'
import type { Plumbing } from './plumbing.ts'
import { adoptEmbryos, adoptMappings, adoptRoutes, clearRoutes } from './xdp/left-entries.ts'
import type { RouteTable } from './xdp/route-table.ts'
import { tickNow } from './xdp/tick.ts'
import type { XdpTables } from './xdp/xdp-plumber.ts'

/** Of the columns: another one when a table has another shape, or its words another meaning. */
const VERSION = 1

interface Head {
  readonly version: number
  /** CLOCK_MONOTONIC (ms) when this process's times began. */
  readonly originMs: number
  readonly flows: number
  readonly embryonic: number
  readonly mappings: number
}

const originMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000 - performance.now()

const headOf = ({ limits }: DataplanePlan): Head => ({
  ...{ version: VERSION, originMs: originMs() },
  ...{ flows: limits.flows, embryonic: limits.embryonicFlows, mappings: limits.mappings },
})

/** Whether the columns are of the tables that this version makes by this plan. */
const readHead = (folder: string, plan: DataplanePlan): Head | null => {
  try {
    const head = JSON.parse(readColumnsHead(folder) ?? 'null') as Head | null
    const now = headOf(plan)
    const same = (['version', 'flows', 'embryonic', 'mappings'] as const).every(
      key => head?.[key] === now[key],
    )
    return same && Number.isFinite(head!.originMs) ? head : null
  } catch {
    return null
  }
}

/** Flows that the kernel has begun by itself, and those of the agent before that are half-open there. */
const adoptKernelFlows = (
  { forwarder }: Engine,
  embryos: readonly RouteTable[],
  { services }: XdpTables,
  continued: boolean,
  nowMs: number,
): void => {
  // Of an earlier epoch, or of nobody: their next packet begins anew.
  if (!continued || forwarder === null) embryos.forEach(clearRoutes)
  if (forwarder === null) return
  const { flows, kernel } = forwarder
  for (const table of embryos) adoptEmbryos(table, services, key => kernel.search(key, 0, nowMs))
  const { table } = flows
  for (const slot of table.select(slot => flows.has(slot, FLOW_FLAG.KERNEL))) {
    const key = table.keys.slice(slot * FLOW_KEY_WORDS, (slot + 1) * FLOW_KEY_WORDS)
    if (kernel.search(key, 0, nowMs) < 0 && table.listOf(slot) >= 0) flows.clear(slot, FLOW_FLAG.KERNEL)
  }
}

export class Lasting {
  readonly columns: SharedColumns
  /** What is in the columns is an earlier agent's. */
  readonly continued: boolean
  readonly #plan: DataplanePlan
  readonly #laterMs: number

  private constructor(columns: SharedColumns, plan: DataplanePlan, before: Head | null) {
    this.columns = columns
    this.continued = before !== null
    this.#plan = plan
    this.#laterMs = before === null ? 0 : before.originMs - originMs()
  }

  /** Null, with a note: this machine has no place for columns, so flows are known from the kernel's tables alone. */
  static open(plan: DataplanePlan, notes: string[]): Lasting | null {
    const { lasting } = plan
    if (!lasting) return null
    const head = lasting.adopt ? readHead(lasting.columns, plan) : null
    try {
      if (head !== null) return new Lasting(SharedColumns.continue(lasting.columns), plan, head)
      if (lasting.adopt) notes.push('its tables are of another form: flows are known from the kernel alone')
      return new Lasting(SharedColumns.create(lasting.columns), plan, null)
    } catch (error) {
      notes.push(`flows will not be known to the next agent (${errorText(error)})`)
      return null
    }
  }

  /** Takes in what there is, before the first packet; what nftables had, the rules' replacement ended. */
  adopt(
    engine: Engine,
    { tables, embryos }: Pick<Plumbing, 'tables' | 'embryos'>,
    notes: readonly string[],
  ): Adopted | null {
    const nowMs = performance.now()
    const { forwarder, host, identifiers, directory } = engine
    const mine: ForwarderTables | null =
      forwarder === null || identifiers === null
        ? null
        : { flows: forwarder.flows, identifiers, tally: forwarder.tally, directory }
    if (this.continued) {
      if (mine !== null) adoptFlows(mine, this.#laterMs, nowMs)
      host?.adopt(this.#laterMs)
    }
    const kernel = { routes: 0, mappings: 0 }
    if (tables !== null && this.#plan.lasting?.adopt) {
      const now = { tick: tickNow(), ms: nowMs }
      kernel.routes = adoptRoutes(
        tables,
        now,
        route => mine !== null && adoptRoute(mine, route, this.continued, PLUMB_AFTER_PACKETS),
      )
      kernel.mappings = adoptMappings(
        tables,
        now,
        mapping => host !== null && adoptMapping(host.mappings, mapping),
      )
    }
    if (tables !== null) adoptKernelFlows(engine, embryos, tables, this.continued, nowMs)
    forwarder?.adopted()
    identifiers?.restReserved(nowMs)
    this.columns.settled()
    this.columns.seal(JSON.stringify(headOf(this.#plan)))
    if (!this.#plan.lasting?.adopt) return null
    return {
      flows: mine?.flows.table.size ?? 0,
      mappings: host?.mappings.table.size ?? 0,
      routesInKernel: kernel.routes,
      mappingsInKernel: kernel.mappings,
      sameEpoch: this.continued,
      notes,
    }
  }

  close(): void {
    this.columns.release()
  }
}
