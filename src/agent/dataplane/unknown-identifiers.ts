import { DROP } from './drops.ts'
import { type HeldPackets, loadHeld } from './held.ts'
import { createMappingHeader, fillWithoutFlow, KIND, type MappingHeader } from './mapping-header.ts'
import { createPacketRef, type PacketRef } from './packet-ref.ts'

/** How long a packet waits for its mapping, and how long before a request is repeated the first time. */
const HOLD_MS = 1000
const ASK_RETRY_MS = 50

/** The forwarder that gives out a tunnel address's identifiers. */
export interface Asked {
  readonly ipv4: number
  readonly epoch: number
}

export interface UnknownIdentifiersParts {
  readonly held: HeldPackets
  /** Requests a second, in all. */
  readonly asksPerSecond: number
  readonly forwarder: (tunnelIpv4: number) => Asked | undefined
  readonly datagram: (header: MappingHeader, destinationIpv4: number) => void
  readonly drop: (reason: number) => void
}

interface Waiting {
  readonly tunnel: number
  readonly identifier: number
  readonly name: string
}

/**
 * A host's packets whose identifier nobody told it (decision 3): they wait, bounded, in order, while the forwarder is
 * asked, rate-limited; they are delivered when the mapping comes, or dropped and counted. None is ever reset. Pure.
 */
export class UnknownIdentifiers {
  readonly counters = { asksSent: 0, heldPackets: 0 }
  readonly #parts: UnknownIdentifiersParts
  /** Owner numbers of HeldPackets by (tunnel address, identifier). */
  readonly #numbers = new Map<string, number>()
  readonly #waiting = new Map<number, Waiting>()
  readonly #header = createMappingHeader()
  readonly #replay = createPacketRef()
  #lastNumber = 0
  #tokens: number
  #tokensAtMs = 0

  constructor(parts: UnknownIdentifiersParts) {
    this.#parts = parts
    this.#tokens = parts.asksPerSecond
  }

  wait(tunnel: number, identifier: number, packet: PacketRef, nowMs: number): void {
    const name = `${tunnel}/${identifier}`
    const known = this.#numbers.get(name)
    const number = known ?? ++this.#lastNumber
    const { held, drop } = this.#parts
    if (!held.hold(number, packet, nowMs, nowMs + ASK_RETRY_MS)) return drop(DROP.HOLD_FULL)
    this.counters.heldPackets++
    if (known !== undefined) return
    this.#numbers.set(name, number)
    this.#waiting.set(number, { tunnel, identifier, name })
    this.#ask(tunnel, identifier, nowMs)
  }

  #ask(tunnel: number, identifier: number, nowMs: number): void {
    const { asksPerSecond, forwarder, datagram } = this.#parts
    const asked = forwarder(tunnel)
    const refill = ((nowMs - this.#tokensAtMs) * asksPerSecond) / 1000
    this.#tokens = Math.min(asksPerSecond, this.#tokens + refill)
    this.#tokensAtMs = nowMs
    if (asked === undefined || this.#tokens < 1) return
    this.#tokens--
    this.counters.asksSent++
    const header = this.#header
    fillWithoutFlow(header, KIND.ASK, asked.epoch, 0, identifier)
    header.node.set([0, 0, 0xffff, tunnel])
    datagram(header, asked.ipv4)
  }

  /** The mapping came: hands what waited for it to `deliver`, oldest first. */
  release(tunnel: number, identifier: number, deliver: (packet: PacketRef) => void): void {
    if (this.#numbers.size === 0) return
    const number = this.#numbers.get(`${tunnel}/${identifier}`)
    if (number === undefined) return
    const packet = this.#replay
    for (const held of this.#forget(number)) {
      loadHeld(packet, held)
      deliver(packet)
    }
  }

  /** The forwarder does not know the identifier either: what waited for it belongs to nobody. */
  belongsToNobody(tunnel: number, identifier: number): void {
    const number = this.#numbers.get(`${tunnel}/${identifier}`)
    if (number === undefined) return
    for (const _ of this.#forget(number)) this.#parts.drop(DROP.UNKNOWN_IDENTIFIER)
  }

  /** The tunnel address is nobody's any more, or somebody else's. */
  forgetTunnel(tunnel: number): void {
    for (const waiting of [...this.#waiting.values()])
      if (waiting.tunnel === tunnel) this.belongsToNobody(tunnel, waiting.identifier)
  }

  /** Asks again, and gives up. */
  tick(nowMs: number): void {
    for (const [number, queue] of this.#parts.held.queues) {
      if (queue.retryAtMs > nowMs) continue
      const waiting = this.#waiting.get(number)
      if (waiting === undefined || nowMs - queue.sinceMs > HOLD_MS) {
        for (const _ of this.#forget(number)) this.#parts.drop(DROP.HOLD_TIMEOUT)
        continue
      }
      queue.retryAtMs = nowMs + ASK_RETRY_MS * 2 ** Math.min(++queue.tries, 4)
      this.#ask(waiting.tunnel, waiting.identifier, nowMs)
    }
  }

  #forget(number: number): ReturnType<HeldPackets['take']> {
    const waiting = this.#waiting.get(number)
    if (waiting !== undefined) this.#numbers.delete(waiting.name)
    this.#waiting.delete(number)
    return this.#parts.held.take(number)
  }
}
