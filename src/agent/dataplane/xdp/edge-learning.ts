/** What of a plan, and of the epochs that the host's core has seen, lets the kernel learn mappings by itself (bpf/learn.h). */
import type { DataplanePlan } from '../messages.ts'
import { timeWindowS } from '../time-window.ts'
import type { LearnKey, LearnTable } from './learn-table.ts'
import type { TunnelBook } from './tunnel-book.ts'

interface Sender {
  readonly ipv4: number
  readonly keys: readonly LearnKey[]
  readonly answer: LearnKey | null
}

export class EdgeLearning {
  readonly #table: LearnTable
  readonly #book: TunnelBook
  /** By tunnel address. */
  #senders = new Map<number, Sender>()
  readonly #epochs = new Map<number, number>()
  #graceMs = 0

  constructor(table: LearnTable, book: TunnelBook) {
    this.#table = table
    this.#book = book
  }

  /** Before the engine follows another plan, and before a tunnel that goes loses its index. */
  withdraw(plan: DataplanePlan): void {
    const stay = sendersOf(plan)
    for (const [tunnel, { ipv4 }] of this.#senders)
      if (stay.get(tunnel)?.ipv4 !== ipv4) {
        this.clear(tunnel)
        this.#epochs.delete(tunnel)
      }
    if (plan.host === null) this.stop()
  }

  /** After it did, and after tunnels that come have an index. */
  apply(plan: DataplanePlan): void {
    this.#senders = sendersOf(plan)
    this.#graceMs = plan.host === null ? 0 : plan.timeouts.unattended
    this.#table.configure({
      port: plan.mappingPort,
      windowS: timeWindowS(plan.timeouts.quarantine),
      own4: words(plan.clusterIpv4),
      own6: null,
    })
    for (const tunnel of this.#senders.keys())
      if (this.#epochs.has(tunnel)) this.#write(tunnel)
      // What an agent before has left may be of other keys.
      else this.clear(tunnel)
  }

  /** Nothing is learnt for the tunnel until an epoch is said: before its generation changes. */
  clear(tunnel: number): void {
    const index = this.#book.indexOf(tunnel)
    if (index !== 0) this.#table.clear(index)
  }

  epoch(tunnel: number, epoch: number): void {
    this.#epochs.set(tunnel, epoch)
    this.#write(tunnel)
  }

  /** See LearnTable.answeredNewer. */
  answeredNewer(tunnel: number, epoch: number, identifier: number, sequence: number): boolean {
    const index = this.#book.indexOf(tunnel)
    return index !== 0 && this.#table.answeredNewer(index, epoch, identifier, sequence)
  }

  /** The agent lives: see LearnTable.renew. */
  renew(bootMs: number, wallMs: number): void {
    if (this.#graceMs > 0) this.#table.renew(bootMs, wallMs, this.#graceMs)
  }

  stop(): void {
    this.#graceMs = 0
    this.#table.stop()
  }

  #write(tunnel: number): void {
    const index = this.#book.indexOf(tunnel)
    const sender = this.#senders.get(tunnel)
    const epoch = this.#epochs.get(tunnel)
    if (index === 0 || sender === undefined || epoch === undefined) return
    const { ipv4, keys, answer } = sender
    this.#table.set(index, {
      generation: this.#book.generations[index],
      epoch,
      sender: words(ipv4),
      keys,
      answer,
    })
  }
}

const words = (ipv4: number): Uint32Array => Uint32Array.of(0, 0, 0xffff, ipv4)

/** Forwarders elsewhere, by tunnel address, with the keys of what they may send to this node: of two with one number the first. And the one that this node signs by. */
const sendersOf = ({ host, directory, clusterIpv4, keys }: DataplanePlan): Map<number, Sender> => {
  if (host === null) return new Map()
  const known = new Map<number, Map<number, Uint32Array>>()
  for (const { tunnelIpv4, recipientIpv4, number, words } of keys) {
    if (recipientIpv4 !== clusterIpv4) continue
    const numbered = known.get(tunnelIpv4) ?? new Map<number, Uint32Array>()
    known.set(tunnelIpv4, numbered)
    if (!numbered.has(number)) numbered.set(number, words)
  }
  return new Map(
    directory.forwarders
      .filter(({ ipv4 }) => ipv4 !== clusterIpv4)
      .map(({ tunnelIpv4, ipv4 }) => {
        const numbered = [...(known.get(tunnelIpv4) ?? [])]
        const answer = keys.find(key => key.tunnelIpv4 === tunnelIpv4 && key.recipientIpv4 === ipv4) ?? null
        return [tunnelIpv4, { ipv4, keys: numbered.map(([number, words]) => ({ number, words })), answer }]
      }),
  )
}
