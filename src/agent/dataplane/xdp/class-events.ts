import type { BpfMap } from '../../../os/bpf/map.ts'
import { BpfRing } from '../../../os/bpf/ring.ts'
import { isIpv4 } from '../flow-key.ts'
import type { KernelFlow, KernelFlows } from '../kernel-flows.ts'
import { CLASS_EVENT, CLASS_EVENT_TYPE } from './layout/edge.ts'
import type { RouteKey } from './route-key.ts'
import { ROUTE_STATE } from './route-layout.ts'
import { type Route, unpackRoute } from './route-value.ts'
import type { ServiceNumbers } from './service-numbers.ts'

const { CLASS_OPENED, CLASS_MAPPED, CLASS_PROMOTED, CLASS_CLOSING, CLASS_REOPENED, CLASS_GONE } =
  CLASS_EVENT_TYPE
const { CLASS_ROUTE_GONE, CLASS_UNUSED } = CLASS_EVENT_TYPE

/** The low bits of an identifier are all 0 where this node is the host. */
const LOCAL_MASK = 0xffffff

const MOST = 4_096

/** What an entry of the kernel's tables says of a flow. */
export const kernelFlow = ({ identifier, mapped }: Pick<Route, 'identifier' | 'mapped'>): KernelFlow => ({
  host: identifier >>> 24,
  identifier: (identifier & LOCAL_MASK) === 0 ? 0 : identifier,
  mapped,
})

/** The flow key (ten words) of an entry; false: its service has gone, and its flows with it. */
export const flowKeyOf = (services: ServiceNumbers, key: RouteKey, out: Uint32Array): boolean => {
  const service = services.at(key.service)
  if (service === undefined) return false
  key.client(out, 0)
  out.set(service.vip, 4)
  out[8] = (key.port << 16) | service.port
  out[9] = service.protocol
  return true
}

/** Reads what programs tell of flows that they open (`class_events` of edge.bpf.c), and passes it on. */
export class ClassEvents {
  readonly ring: BpfRing
  readonly #services: ServiceNumbers
  readonly #key4: RouteKey
  readonly #key6: RouteKey
  readonly #routeGone: (words: Uint32Array) => void
  readonly #words = new Uint32Array(10)

  /** @param keys one of the tables' keys of each family, of its own. @param routeGone a route gave way to another */
  constructor(
    map: BpfMap,
    services: ServiceNumbers,
    keys: { readonly 4: RouteKey; readonly 6: RouteKey },
    routeGone: (words: Uint32Array) => void,
  ) {
    this.ring = new BpfRing(map)
    // Of an agent before: what is in the tables says more.
    while (this.ring.receive(MOST, () => {}) > 0);
    this.#services = services
    this.#key4 = keys[4]
    this.#key6 = keys[6]
    this.#routeGone = routeGone
  }

  /** Up to `most` events; answers how many there were. */
  drain(core: KernelFlows, most: number, nowMs: number): number {
    return this.ring.receive(most, (view, at) => this.#take(core, view, at, nowMs))
  }

  #take(core: KernelFlows, view: DataView, at: number, nowMs: number): void {
    const route = unpackRoute(view.getBigUint64(at + CLASS_EVENT.value, true))
    const type = view.getUint32(at + CLASS_EVENT.type, true)
    const sequence = view.getUint32(at + CLASS_EVENT.sequence, true)
    const flow = kernelFlow(route)
    if (type === CLASS_UNUSED) return core.unused(route.identifier, nowMs)
    const words = this.#words
    // Its top half word is the service's number in both families.
    const service = this.#services.at(view.getUint16(at + CLASS_EVENT.key + 6, true))
    const key = service === undefined || isIpv4(service.vip, 0) ? this.#key4 : this.#key6
    key.setStored(
      view.getBigUint64(at + CLASS_EVENT.key, true),
      view.getBigUint64(at + CLASS_EVENT.high, true),
      view.getBigUint64(at + CLASS_EVENT.low, true),
    )
    if (!flowKeyOf(this.#services, key, words)) return core.unused(flow.identifier, nowMs)
    if (type === CLASS_OPENED) core.opened(words, flow, sequence, nowMs)
    else if (type === CLASS_MAPPED) core.mapped(words, flow, sequence, nowMs)
    else if (type === CLASS_PROMOTED) core.promoted(words, flow, sequence, nowMs)
    else if (type === CLASS_CLOSING)
      core.ends(words, flow, route.state === ROUTE_STATE.RESET ? 'rst' : 'fin', sequence, nowMs)
    else if (type === CLASS_REOPENED) core.ends(words, flow, 'again', sequence, nowMs)
    else if (type === CLASS_GONE) core.gone(words, flow, nowMs)
    else if (type === CLASS_ROUTE_GONE) this.#routeGone(words)
  }

  close(): void {
    this.ring.close()
  }
}
