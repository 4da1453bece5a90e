import type { DirectoryIndex } from '../dataplane/directory.ts'
import { DROP } from '../dataplane/drops.ts'
import type { FirstClients } from '../dataplane/first-clients.ts'
import { ipv4Word } from '../dataplane/flow-key.ts'
import { KIND, type MappingHeader } from '../dataplane/mapping-header.ts'
import { isSyn, type PacketRef } from '../dataplane/packet-ref.ts'
import { SlotTable } from '../dataplane/slot-table.ts'
import { type Allotment, WAITS } from './allotment.ts'

const TCP = 6

export interface ClassifierPorts {
  /** Send the answer, with the packet when it came along, back to the forwarder. */
  datagram(header: MappingHeader, destinationIpv4: number, packet: PacketRef | null): void
  /** Queue the route for the forwarder's kept stream (batched): key words are valid during the call only. */
  plumb(forwarderIpv4: number, key: Uint32Array, hostWords: Uint32Array): void
  drop(reason: number): void
}

/**
 * A classifier that serves forwarders on other nodes (R-A3, R-D4): chooses a host for each first packet, passes
 * the packet on at once by way of the forwarder, plumbs the route over the kept stream, and keeps an inventory of
 * what it plumbed. The inventory holds the newest `capacity` sessions: a flood pushes out old entries, which costs
 * nothing but their place in the listing, because the choice is deterministic.
 */
export class ClassifierCore {
  readonly counters = { classified: 0, noHost: 0, ended: 0, inventoryEvicted: 0 }
  readonly inventory: SlotTable
  readonly host: Uint8Array
  readonly #directory: DirectoryIndex
  readonly #allotment: Allotment
  readonly #ports: ClassifierPorts
  readonly #clients: Pick<FirstClients, 'hold'> | undefined
  /** Milliseconds after which a session that nobody mentioned leaves the inventory. */
  idleMs: number
  readonly #key = new Uint32Array(10)

  constructor(parts: {
    directory: DirectoryIndex
    allotment: Allotment
    ports: ClassifierPorts
    /** Left out: nobody is asked about clients. */
    clients?: Pick<FirstClients, 'hold'>
    capacity: number
    idleMs: number
    k0: number
    k1: number
  }) {
    this.#directory = parts.directory
    this.#allotment = parts.allotment
    this.#ports = parts.ports
    this.#clients = parts.clients
    this.idleMs = parts.idleMs
    this.inventory = new SlotTable({
      capacity: parts.capacity,
      keyWords: 10,
      lists: 1,
      k0: parts.k0,
      k1: parts.k1,
    })
    this.host = new Uint8Array(parts.capacity)
  }

  /** A CLASSIFY datagram whose tag was verified. */
  classify(header: MappingHeader, inner: PacketRef | null, sourceIpv4: number, nowMs: number): void {
    const forwarder = this.#directory.forwarderAt(ipv4Word(header.node, 0))
    if (forwarder === undefined || forwarder.ipv4 !== sourceIpv4)
      return this.#ports.drop(DROP.MAPPING_NOT_A_PEER)
    const service = this.#directory.service(header.vip, 0, header.ports & 0xffff, header.protocol)
    if (service === undefined) return this.#ports.drop(DROP.NOT_A_SERVICE)
    const key = this.#key
    key.set(header.client, 0)
    key.set(header.vip, 4)
    key[8] = header.ports
    key[9] = header.protocol
    const known = this.inventory.find(key)
    const before = known < 0 ? undefined : this.#directory.host(this.host[known])
    // What is under way stays where it is, as long as that lives; a first segment on the same ports is something new.
    const opens = inner !== null && isSyn(inner.view.tcpFlags)
    const stays = before?.live && (!opens || this.#directory.takesNew(service, before))
    if (stays && this.#directory.isInactive(service.index, before.index))
      return this.#ports.drop(DROP.INACTIVE)
    const chosen = stays
      ? before.index
      : this.#allotment.choose(service, key, 0, opens || header.protocol !== TCP)
    if (chosen === WAITS) {
      // The answer is here before the client sends it again.
      this.#clients?.hold(service, key, 0, null, nowMs)
      return this.#ports.drop(DROP.UNRESOLVED)
    }
    const host = this.#directory.host(chosen)
    if (host === undefined) {
      this.counters.noHost++
      return this.#ports.drop(DROP.NO_HOST)
    }
    this.#record(known, key, chosen, nowMs)
    this.counters.classified++
    header.kind = KIND.CLASSIFIED
    header.node.set(host.words)
    this.#ports.datagram(header, sourceIpv4, inner)
    this.#ports.plumb(sourceIpv4, key, host.words)
  }

  #record(known: number, key: Uint32Array, chosen: number, nowMs: number): void {
    const { inventory } = this
    let slot = known
    if (slot < 0) {
      if (inventory.size >= inventory.capacity) {
        inventory.remove(inventory.oldest(0))
        this.counters.inventoryEvicted++
      }
      slot = inventory.insert(key, 0, 0, nowMs)
    } else inventory.touch(slot, nowMs)
    this.host[slot] = chosen
  }

  /** The forwarder purged the session (R-D4). */
  ended(key: Uint32Array): void {
    const slot = this.inventory.find(key)
    if (slot < 0) return
    this.counters.ended++
    this.inventory.remove(slot)
  }

  /** The directory has changed: a session of a service or host that is gone must not be taken for another's. */
  reconfigured(): void {
    const { inventory } = this
    const { keys } = inventory
    const gone = inventory.select(slot => {
      const service = this.#directory.serviceOf(keys, slot * 10)
      return service === undefined || this.#directory.host(this.host[slot]) === undefined
    })
    for (const slot of gone) inventory.remove(slot)
  }

  tick(nowMs: number, maxWork = 4096): void {
    for (let work = maxWork; work > 0; work--) {
      const slot = this.inventory.oldest(0)
      if (slot < 0 || nowMs - this.inventory.lastUse[slot] < this.idleMs) return
      this.inventory.remove(slot)
    }
  }
}
