/** How a worker's routes and mappings get into the kernel: by XDP if its plan asks for that and the machine can, else by nftables. */
import { errorText } from '../../errors.ts'
import { SetElements } from '../../os/netlink/nftables-elements.ts'
import type { CaptureOrder, CaptureSource } from './capture.ts'
import type { Engine } from './engine.ts'
import type { DataplanePlan, XdpState } from './messages.ts'
import { NftPlumber } from './nft/plumber.ts'
import type { Plumber, PlumbFailures, PlumbUse } from './plumber.ts'
import { mappingGone, mappingUsed, routeGone, routeUsed } from './route-use.ts'
import type { KernelLooks } from './trace.ts'
import { kernelFlow } from './xdp/class-events.ts'
import { Edge, type EdgeStatus } from './xdp/edge.ts'
import { localHostOf } from './xdp/edge-tables.ts'
import { FirstPackets } from './xdp/first-packets.ts'
import { kernelLooks } from './xdp/kernel-looks.ts'
import type { RouteTable } from './xdp/route-table.ts'
import { tickNow } from './xdp/tick.ts'
import { XdpPlumber, type XdpTables } from './xdp/xdp-plumber.ts'

export class Plumbing {
  readonly plumber: Plumber
  readonly #elements = new SetElements()
  readonly #xdp: { readonly edge: Edge; readonly plumber: XdpPlumber } | null
  /** The kernel's own choices for first packets; null: there is no XDP. */
  readonly first: FirstPackets | null
  /** Why XDP is not in force though the plan has it. */
  readonly #refused: string | null

  /** @param engine that is told; it is asked for when there is something to tell. Throws when the plan has XDP at all costs, and it cannot be */
  constructor(
    plan: DataplanePlan,
    engine: () => Engine,
    nowS: () => number,
    clockOf: (ipv4: number) => number,
  ) {
    const failed: PlumbFailures = {
      route: slot => engine().forwarder?.plumbFailed(slot),
      mapping: slot => engine().host?.commitFailed(slot),
    }
    const opened = openEdge(plan)
    this.#refused = 'refused' in opened ? opened.refused : null
    this.#xdp = null
    this.first = null
    if (!('edge' in opened)) {
      this.plumber = new NftPlumber(
        this.#elements,
        plan.table,
        failed,
        tunnel => engine().directory.forwarderAt(tunnel)?.tunnelWords6,
      )
      return
    }
    const told = toldOf(engine, nowS)
    const { tables, classMaps } = opened.edge
    const plumber = new XdpPlumber(tables, failed, told, tickNow, opened.edge.follow(told, tickNow))
    plumber.localHost = localHostOf(plan)
    this.#xdp = { edge: opened.edge, plumber }
    this.first = new FirstPackets(classMaps, plan, tables.services, engine, clockOf, tickNow)
    this.plumber = plumber
  }

  /** Before the engine follows another plan. */
  withdraw(plan: DataplanePlan): void {
    this.first?.withdraw(plan)
    this.#xdp?.edge.withdraw(plan)
    // What was learnt until then is judged by the plan that it was learnt by.
    this.#xdp?.plumber.learning?.drain()
  }

  /** The agent lives: the kernel may go on by itself for another while. Several times a second. */
  renew({ bootMs, wallMs }: { readonly bootMs: number; readonly wallMs: number }): void {
    this.#xdp?.edge.renew(bootMs, wallMs)
  }

  /** After it did. */
  apply(plan: DataplanePlan): void {
    if (this.#xdp === null || !plan.xdp) return
    this.#xdp.edge.apply(plan, plan.xdp)
    this.#xdp.plumber.localHost = localHostOf(plan)
    this.first?.apply(plan)
  }

  get state(): XdpState {
    const edge = this.#xdp?.edge
    if (edge !== undefined) return { text: edge.text, reasons: edge.reasons }
    return { text: null, reasons: this.#refused === null ? [] : [this.#refused] }
  }

  /** Made in the kernel so far, by the names of `shunt status`. */
  get changes(): Record<string, number> {
    const { batches, changes, batchFailures, changeFailures } = this.plumber.counters
    return {
      kernel_batches: batches,
      kernel_changes: changes,
      kernel_batch_failures: batchFailures,
      kernel_change_failures: changeFailures,
    }
  }

  edgeStatus(): EdgeStatus | null {
    return this.#xdp?.edge.status() ?? null
  }

  /** Null: not by XDP. */
  capture(order: CaptureOrder): CaptureSource | null {
    return this.#xdp?.edge.capture(order) ?? null
  }

  /** Null: not XDP. */
  get looks(): KernelLooks | null {
    if (this.#xdp === null) return null
    const { tables, classMaps } = this.#xdp.edge
    return kernelLooks(tables, classMaps.flows, tickNow)
  }

  /** Tables of routes and mappings that the kernel looks up; null: nftables has them. */
  get tables(): XdpTables | null {
    return this.#xdp?.edge.tables ?? null
  }

  /** Half-open flows of the kernel's own, of each family; none: not XDP. */
  get embryos(): readonly RouteTable[] {
    if (this.#xdp === null) return []
    const { flows } = this.#xdp.edge.classMaps
    return [flows[4].embryos, flows[6].embryos]
  }

  /** What an agent before had and this one begins anew; a sentence each. */
  get notes(): readonly string[] {
    return this.#xdp?.edge.notes ?? []
  }

  /** @param keep the programs stay at work */
  close(keep: boolean): void {
    this.first?.close()
    if (keep) this.#xdp?.edge.leave()
    else this.#xdp?.edge.close()
    this.#elements.close()
  }
}

const openEdge = (plan: DataplanePlan): { edge: Edge } | { refused: string } | Record<never, never> => {
  const { xdp } = plan
  if (!xdp) return {}
  try {
    return { edge: new Edge(plan, xdp) }
  } catch (error) {
    // What an agent before left is still at work then, and nothing else may be put behind it.
    if (xdp.asked === 'xdp' || plan.lasting?.adopt) throw error
    return { refused: errorText(error) }
  }
}

const toldOf = (engine: () => Engine, nowS: () => number): PlumbUse => ({
  mappingLearnt: (header, tcpFlags, tunnelled) =>
    engine().host?.learnt(header, tcpFlags, tunnelled, performance.now(), nowS()),
  mappingCloses: (tunnel, identifier) => engine().host?.closes(tunnel, identifier, performance.now()),
  routeUsed: (key, usedMs, identifier) => {
    const { forwarder } = engine()
    if (forwarder === null) return
    const slot = routeUsed(forwarder.flows, key, usedMs)
    if (slot >= 0) return forwarder.kernel.used(slot, usedMs)
    forwarder.kernel.found(key, kernelFlow({ identifier, mapped: true }), performance.now())
  },
  routeGone: key => {
    const flows = engine().forwarder?.flows
    if (flows !== undefined) routeGone(flows, key, performance.now())
  },
  mappingUsed: (tunnel, identifier, usedMs) => {
    const mappings = engine().host?.mappings
    if (mappings !== undefined) mappingUsed(mappings, tunnel, identifier, usedMs)
  },
  mappingGone: (tunnel, identifier) => {
    const mappings = engine().host?.mappings
    if (mappings !== undefined) mappingGone(mappings, tunnel, identifier, performance.now())
  },
})
