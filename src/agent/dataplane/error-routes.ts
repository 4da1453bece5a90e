import type { Allotment } from '../classify/allotment.ts'
import type { DirectoryIndex } from './directory.ts'
import { DROP } from './drops.ts'
import type { FlowLife } from './flow-life.ts'
import type { FlowMapping } from './flow-mapping.ts'
import { FLOW_FLAG, type FlowTable } from './flows.ts'
import type { ForwarderPorts, ForwarderSettings } from './forwarder-ports.ts'

type Find = (key: Uint32Array, nowMs: number) => number

/** Where ICMP errors from clients' paths go: to the host of the flow that they are about. */
export class ErrorRoutes {
  readonly #flows: FlowTable
  readonly #directory: DirectoryIndex
  readonly #allotment: Allotment
  readonly #settings: ForwarderSettings
  readonly #ports: ForwarderPorts
  readonly #life: FlowLife
  readonly #mapping: FlowMapping
  readonly #known: Find
  readonly #open: Find

  /** @param parts.known the slot of a flow, or -1; `open`: gives it a place, or answers -1 */
  constructor(parts: {
    readonly flows: FlowTable
    readonly directory: DirectoryIndex
    readonly allotment: Allotment
    readonly settings: ForwarderSettings
    readonly ports: ForwarderPorts
    readonly life: FlowLife
    readonly mapping: FlowMapping
    readonly known: Find
    readonly open: Find
  }) {
    this.#flows = parts.flows
    this.#directory = parts.directory
    this.#allotment = parts.allotment
    this.#settings = parts.settings
    this.#ports = parts.ports
    this.#life = parts.life
    this.#mapping = parts.mapping
    this.#known = parts.known
    this.#open = parts.open
  }

  /**
   * The slot of a flow, whose host has been told of its identifier; -1, counted: the error goes nowhere. An error says nothing of whether
   * its flow lives, so times and state of the flow stay as they are. A flow that is not known here (routers spread errors over
   * forwarders by other rules than their flows) has the host that a packet from its middle would go to.
   * @param mayOpen whether a flow that is not known may get a place; asked only then
   */
  find(key: Uint32Array, mayOpen: () => boolean, nowMs: number): number {
    const flows = this.#flows
    let slot = this.#known(key, nowMs)
    if (slot < 0) {
      if (!mayOpen()) return this.#nowhere(DROP.ICMP_RATE)
      slot = this.#open(key, nowMs)
      if (slot < 0) return -1
    }
    const reason = this.#hostFor(slot, nowMs)
    if (reason !== DROP.NONE) return this.#nowhere(reason)
    const self = this.#directory.host(flows.host[slot])?.self
    // Goes first, by the same way: mostly the host knows the identifier when the error comes. One that is lost comes again.
    if (!self && !flows.has(slot, FLOW_FLAG.MAPPED)) this.#mapping.sendMapping(slot, null)
    return slot
  }

  #nowhere(reason: number): number {
    this.#ports.drop(reason)
    return -1
  }

  #hostFor(slot: number, nowMs: number): number {
    const flows = this.#flows
    const service = this.#directory.serviceAt(flows.service[slot])
    if (this.#directory.host(flows.host[slot]) !== undefined)
      return this.#directory.isInactive(flows.service[slot], flows.host[slot]) ? DROP.INACTIVE : DROP.NONE
    if (!this.#settings.hasClassifier) {
      const classifier = this.#directory.classifier()
      if (classifier === undefined) return DROP.NO_CLASSIFIER
      // The next error finds its answer.
      this.#mapping.askClassifier(slot, classifier.ipv4, null)
      return DROP.ICMP_NO_FLOW
    }
    const chosen =
      service === undefined ? 0 : this.#allotment.choose(service, flows.table.keys, slot * 10, false)
    if (chosen === 0) return DROP.NO_HOST
    return this.#life.assign(slot, chosen, this.#mapping.nextSequence, nowMs)
      ? DROP.NONE
      : DROP.IDENTIFIERS_EXHAUSTED
  }
}
