import type { DirectoryIndex } from './directory.ts'
import type { FlowTable } from './flows.ts'
import type { ForwarderCounters, ForwarderPorts, ForwarderSettings } from './forwarder-ports.ts'
import { createMappingHeader, fillWithoutFlow, KIND, type MappingHeader } from './mapping-header.ts'
import type { PacketRef } from './packet-ref.ts'

/** Answers to one of the last so many messages are taken for answers to ours. */
const RECENT = 65_536

/** Numbers of a forwarder's messages: each is used once, by whoever sends. */
export interface SequenceCounter {
  /** The last one that was taken. */
  readonly last: number
  /** Takes the next one. */
  next(): number
  /** So many have been taken by an agent before. */
  goOn(last: number): void
}

/** For a forwarder that alone sends under its tunnel address. */
export const ownSequence = (): SequenceCounter => {
  let last = 0
  return {
    get last() {
      return last
    },
    next: () => {
      last = (last + 1) >>> 0
      return last
    },
    goOn: taken => {
      last = taken
    },
  }
}

/** The mapping datagrams that a forwarder sends (decision 3): epoch, sequence, and the headers of its flows. */
export class FlowMapping {
  epoch: number
  readonly #sequence: SequenceCounter
  readonly #flows: FlowTable
  readonly #directory: DirectoryIndex
  readonly #ports: ForwarderPorts
  readonly #tunnelWords: Uint32Array
  readonly #counters: ForwarderCounters
  readonly #header: MappingHeader = createMappingHeader()

  constructor(
    parts: {
      flows: FlowTable
      directory: DirectoryIndex
      ports: ForwarderPorts
      settings: ForwarderSettings
      sequence?: SequenceCounter
    },
    counters: ForwarderCounters,
  ) {
    this.epoch = parts.settings.epoch
    this.#sequence = parts.sequence ?? ownSequence()
    this.#flows = parts.flows
    this.#directory = parts.directory
    this.#ports = parts.ports
    this.#tunnelWords = parts.settings.tunnelWords
    this.#counters = counters
  }

  /** The sequence that the next message will have at least. */
  get nextSequence(): number {
    return (this.#sequence.last + 1) >>> 0
  }

  /** The sequence is one of the last that we sent: bounds what a replayed answer can do. */
  isRecent(sequence: number): boolean {
    return (this.#sequence.last - sequence) >>> 0 <= RECENT
  }

  /** MAP for the flow of `slot`, to its host, with the packet behind it when given. */
  sendMapping(slot: number, packet: PacketRef | null): void {
    const host = this.#directory.host(this.#flows.host[slot])!
    const header = this.#headerFor(slot, KIND.MAP)
    header.identifier = this.#flows.identifier[slot]
    header.hostIndex = host.index
    this.#counters.mappingsSent++
    this.#ports.datagram(header, host.ipv4, packet)
  }

  /** CLASSIFY for the flow of `slot`. */
  askClassifier(slot: number, classifierIpv4: number, packet: PacketRef | null): void {
    this.#counters.classifySent++
    this.#ports.datagram(this.#headerFor(slot, KIND.CLASSIFY), classifierIpv4, packet)
  }

  /** UNKNOWN: the identifier is nobody's. */
  sendUnknown(identifier: number, hostIpv4: number): void {
    const header = this.#header
    fillWithoutFlow(header, KIND.UNKNOWN, this.epoch, this.#sequence.last, identifier)
    header.node.set(this.#tunnelWords)
    this.#ports.datagram(header, hostIpv4, null)
  }

  #headerFor(slot: number, kind: number): MappingHeader {
    const header = this.#header
    const { keys } = this.#flows.table
    const at = slot * 10
    header.kind = kind
    header.epoch = this.epoch
    header.sequence = this.#sequence.next()
    header.identifier = 0
    header.hostIndex = 0
    header.protocol = keys[at + 9]
    header.ports = keys[at + 8]
    for (let i = 0; i < 4; i++) {
      header.client[i] = keys[at + i]
      header.vip[i] = keys[at + 4 + i]
      header.node[i] = this.#tunnelWords[i]
    }
    return header
  }
}

/** The flow key of a header, into ten words. */
export const headerKey = (header: MappingHeader, key: Uint32Array): void => {
  for (let i = 0; i < 4; i++) {
    key[i] = header.client[i]
    key[4 + i] = header.vip[i]
  }
  key[8] = header.ports
  key[9] = header.protocol
}
