import { ATOM_KIND } from '../../dam/types.ts'
import type { Affinity } from '../classify/affinity.ts'
import { writeClientKey } from '../classify/client-key.ts'
import type { ServiceEntry } from './directory.ts'
import { DROP, type DropCounters } from './drops.ts'
import { FLOW_KEY_WORDS } from './flow-key.ts'
import type { ForwarderCore } from './forwarder-core.ts'
import { loadHeld } from './held.ts'
import { type DataplanePlan, RESOLVE_WORDS } from './messages.ts'
import { createPacketRef, type PacketRef } from './packet-ref.ts'
import { RecordQueue } from './record-queue.ts'
import { Resolution } from './resolution.ts'

/** Clients that are looked at again in a tick, whether the host of their session has been heard of. */
const MOST_LOOKED_AT = 1_024

/**
 * First packets of clients that a unit which has just begun does not know: they wait, in order, while the other units are asked for the client's
 * session (R-C2), and for the first word of its host. Bounded as all questions are (Resolution), in time as well: then it is chosen without. Pure.
 */
export class FirstClients {
  /** For the main thread: records of RESOLVE_WORDS. */
  readonly questions: RecordQueue
  readonly counters = { affinity_asked: 0, affinity_unanswered: 0 }
  readonly #affinity: Affinity
  readonly #make: () => Resolution
  readonly #drops: DropCounters
  readonly #forwarder: () => Pick<ForwarderCore, 'packet'> | null
  /** Takes its memory when the first client has to be asked about. */
  #resolution: Resolution | null = null
  readonly #key = new Uint32Array(FLOW_KEY_WORDS)
  readonly #replay = createPacketRef()
  #nowMs = 0

  constructor(
    { limits: { heldPackets: capacity }, tableKey }: Pick<DataplanePlan, 'limits' | 'tableKey'>,
    affinity: Affinity,
    drops: DropCounters,
    forwarder: () => Pick<ForwarderCore, 'packet'> | null,
  ) {
    const [k0, k1] = tableKey
    this.#affinity = affinity
    this.#drops = drops
    this.#forwarder = forwarder
    this.questions = new RecordQueue(RESOLVE_WORDS, capacity)
    this.#make = () =>
      new Resolution(capacity, k1, k0, {
        ask: (keys, at, service, again) => {
          this.counters.affinity_asked++
          this.questions.add(keys, at, ATOM_KIND.clientAddress, service, again ? 1 : 0)
        },
        drop: reason => drops.add(reason),
        unanswered: key => {
          if (affinity.isStarting) return true
          this.counters.affinity_unanswered++
          this.#goOn(key, false)
          return false
        },
      })
  }

  /** Clients for which something waits. */
  get size(): number {
    return this.#resolution?.size ?? 0
  }

  /** @param packet null: the first packet was for another forwarder, which sends the client's next one again */
  hold(service: ServiceEntry, flow: Uint32Array, at: number, packet: PacketRef | null, nowMs: number): void {
    if (service.affinity === undefined) return
    this.#resolution ??= this.#make()
    writeClientKey(flow, at, service.affinity, this.#key)
    if (packet === null) this.#resolution.ask(this.#key, service.index, nowMs)
    else if (!this.#resolution.hold(this.#key, service.index, packet, nowMs))
      this.#drops.add(DROP.RESOLVE_FULL)
  }

  /** @param hostIpv4 of the client's session, its cluster address; 0: no other unit has one */
  answered(key: Uint32Array, hostIpv4: number, nowMs: number): void {
    this.#nowMs = nowMs
    if (hostIpv4 !== 0) this.#affinity.learnt(key, hostIpv4)
    else this.#affinity.nobodys(key)
    // Of a host that nothing has been heard of yet it is not known whether it can take the client.
    if (hostIpv4 === 0 || !this.#affinity.waits(key)) this.#goOn(key.slice(), true)
  }

  tick(nowMs: number): void {
    const resolution = this.#resolution
    if (resolution === null || resolution.size === 0) return
    this.#nowMs = nowMs
    for (const key of resolution.keys().slice(0, MOST_LOOKED_AT))
      if (!this.#affinity.waits(key)) this.#goOn(key, false)
    resolution.tick(nowMs)
  }

  #goOn(key: Uint32Array, certain: boolean): void {
    const waiting = this.#resolution?.take(key) ?? []
    const forwarder = this.#forwarder()
    this.#affinity.goesOn(key, certain, () => {
      for (const held of waiting) {
        loadHeld(this.#replay, held)
        if (forwarder === null) this.#drops.add(DROP.UNRESOLVED)
        else forwarder.packet(this.#replay, this.#nowMs)
      }
    })
  }
}
