/**
 * The agent's side of mappings that the kernel learns by itself (bpf/learn.h): tells the host's core of each, by the ring of events, and of
 * those whose event found no room, by looking at all that wait.
 */
import type { BpfRing } from '../../../os/bpf/ring.ts'
import { addressEquals } from '../flow-key.ts'
import { createMappingHeader, KIND } from '../mapping-header.ts'
import type { PlumbLearning, PlumbUse } from '../plumber.ts'
import type { EdgeLearning } from './edge-learning.ts'
import { createLearnt, type Learnt, type LearntMap, readMappingEvent } from './learnt-map.ts'
import type { KernelMappings } from './mapping-table.ts'
import type { ServiceNumbers } from './service-numbers.ts'
import { usedMs } from './tick.ts'
import type { TunnelBook } from './tunnel-book.ts'

/** Looked for without a sign that events were lost. */
const EVERY_MS = 10_000
/** Of those that wait, in one step. */
const AT_ONCE = 1024

export interface LearntParts {
  readonly ring: BpfRing
  readonly learnt: LearntMap
  /** Events lost so far. */
  readonly lost: () => number
  readonly learning: EdgeLearning
  /** Of both families. */
  readonly mappings: readonly KernelMappings[]
  readonly services: ServiceNumbers
  readonly tunnels: TunnelBook
  readonly use: PlumbUse
  readonly tick: () => number
}

export class LearntFollower implements PlumbLearning {
  readonly counters = { learntEvents: 0, learntCloses: 0, learntRepaired: 0, learntOutdated: 0 }
  readonly #parts: LearntParts
  readonly #record = createLearnt()
  readonly #header = createMappingHeader()
  #lost = 0
  #lookedMs = Number.NEGATIVE_INFINITY

  constructor(parts: LearntParts) {
    this.#parts = parts
  }

  get fd(): number {
    return this.#parts.ring.fd
  }

  receive(max: number): number {
    return this.#parts.ring.receive(max, this.#handle)
  }

  readonly #handle = (view: DataView, offset: number, length: number): void => {
    const record = this.#record
    if (readMappingEvent(view, offset, length, record) === 'learnt') {
      this.counters.learntEvents++
      this.#tell(record)
      return
    }
    this.counters.learntCloses++
    const tunnel = this.#tunnelOf(record)
    if (tunnel !== null) this.#parts.use.mappingCloses?.(tunnel, record.identifier)
  }

  /** Null: another forwarder's by now, or of an earlier epoch. */
  #tunnelOf({ tunnel, generation }: Learnt): number | null {
    const { tunnels } = this.#parts
    return tunnels.generations[tunnel] === generation ? (tunnels.addressOf(tunnel) ?? null) : null
  }

  /** The kernel has acknowledged something newer since, and this is not in force any more. */
  #isOver(tunnel: number, record: Learnt): boolean {
    const { learnt, learning } = this.#parts
    const { epoch, identifier, sequence } = record
    if (!learning.answeredNewer(tunnel, epoch, identifier, sequence)) return false
    const now = learnt.get(record.tunnel, record.generation, identifier)
    return now === null || !isSame(now, record)
  }

  #tell(record: Learnt): void {
    const { services, learnt, use } = this.#parts
    const tunnel = this.#tunnelOf(record)
    const service = services.at(record.service)
    if (tunnel === null || service === undefined || service.protocol !== record.protocol) {
      this.counters.learntOutdated++
      learnt.delete(record.tunnel, record.generation, record.identifier)
      return
    }
    if (this.#isOver(tunnel, record)) {
      this.counters.learntOutdated++
      return
    }
    const header = this.#header
    header.kind = KIND.MAP
    header.epoch = record.epoch
    header.sequence = record.sequence
    header.identifier = record.identifier
    header.protocol = record.protocol
    header.hostIndex = record.host
    header.ports = ((record.port << 16) | service.port) >>> 0
    header.client.set(record.client)
    header.vip.set(service.vip)
    header.node[3] = tunnel
    use.mappingLearnt?.(header, record.tcpFlags, record.tunnelled)
  }

  drain(): void {
    while (this.receive(AT_ONCE) === AT_ONCE);
    for (const record of this.#parts.learnt.some(Number.MAX_SAFE_INTEGER)) this.#tell(record)
  }

  /** Bounded work, several times a second. */
  sweep(nowMs: number): void {
    const lost = this.#parts.lost()
    if (lost === this.#lost && nowMs - this.#lookedMs < EVERY_MS) return
    this.#lookedMs = nowMs
    this.receive(AT_ONCE)
    const waiting = this.#parts.learnt.some(AT_ONCE)
    for (const record of waiting) {
      this.counters.learntRepaired++
      this.#tell(record)
    }
    // Each that was told of has left the map, so the others come next.
    if (waiting.length < AT_ONCE) this.#lost = lost
  }

  epoch(tunnel: number, epoch: number): void {
    this.#parts.learning.epoch(tunnel, epoch)
  }

  supersedes(tunnel: number, epoch: number, identifier: number, sequence: number): boolean {
    const { tunnels, learnt, learning } = this.#parts
    const index = tunnels.indexOf(tunnel)
    if (index === 0) return false
    const now = learnt.get(index, tunnels.generations[index], identifier)
    if (now !== null) this.#tell(now)
    return learning.answeredNewer(tunnel, epoch, identifier, sequence)
  }

  forget(tunnel: number, identifier: number): void {
    const { tunnels, learnt } = this.#parts
    const index = tunnels.indexOf(tunnel)
    if (index !== 0) learnt.delete(index, tunnels.generations[index], identifier)
  }

  usedMs(tunnel: number, identifier: number, nowMs: number): number {
    const { tunnels, mappings, tick } = this.#parts
    const index = tunnels.indexOf(tunnel)
    if (index === 0) return 0
    const key = { tunnel: index, generation: tunnels.generations[index], identifier }
    for (const table of mappings) {
      const mapping = table.get(key)
      if (mapping !== null) return usedMs(mapping.stamp, tick(), nowMs)
    }
    return 0
  }
}

const isSame = (a: Learnt, b: Learnt): boolean =>
  a.port === b.port && a.service === b.service && addressEquals(a.client, 0, b.client, 0)
