import { getRandomValues } from 'node:crypto'
import { constants } from 'node:os'
import { NodeProbe, type NodeState, type ProbeTarget } from '../../health/node-probe.ts'
import { IcmpEchoSocket } from '../../os/icmp-socket.ts'

export type { NodeState, ProbeTarget }

const { EAGAIN, ENOBUFS, ENOMEM } = constants.errno
/** Replies taken in one turn; a flood of forged ones must not hold up the packet path. */
const MAX_REPLIES = 1024
const MAX_WAIT_MS = 1000

/** The probes' shell: socket and randomness around the core. Lives in the data plane worker, which calls `turn`. */
export class Prober {
  readonly #socket: IcmpEchoSocket
  readonly #core: NodeProbe
  readonly #random = new Uint32Array(256)
  #randomLeft = 0
  #refused = 0
  #nowMs = 0
  /** Replies that answered no recent probe. */
  strangers = 0

  private constructor(socket: IcmpEchoSocket) {
    this.#socket = socket
    this.#core = new NodeProbe({
      random: () => this.#nextRandom(),
      send: (ipv4, sequence, high, low) => socket.queue(ipv4, sequence, high, low),
    })
  }

  /** Probes leave from `ownAddress`. Throws OsError (EPERM without CAP_NET_RAW, EADDRNOTAVAIL). */
  static open(ownAddress: string): Prober {
    const identifier = getRandomValues(new Uint16Array(1))[0]
    return new Prober(IcmpEchoSocket.open(ownAddress, identifier))
  }

  /** Readable when replies wait. */
  get fd(): number {
    return this.#socket.fd
  }

  setTargets(targets: readonly ProbeTarget[], nowMs: number): void {
    this.#core.setTargets(targets, nowMs)
  }

  /** Takes replies, sends what is due; answers the changed states, or null. */
  turn(nowMs: number, readable: boolean): NodeState[] | null {
    const due = nowMs >= this.#core.wakeAtMs
    this.#nowMs = nowMs
    // Before anyone is judged, also without the poller's word: replies may have come since it looked.
    if (readable || due) this.#socket.receive(MAX_REPLIES, this.#reply)
    if (due) {
      this.#core.round(nowMs)
      if (this.#socket.flush() > 0 && this.#refusedByUs()) this.#core.unsent()
    }
    return this.#core.takeChanges()
  }

  /** Milliseconds until it wants its turn: 0 to 1000. */
  waitMs(nowMs: number): number {
    return Math.max(0, Math.min(MAX_WAIT_MS, this.#core.wakeAtMs - nowMs))
  }

  states(): NodeState[] {
    return this.#core.states()
  }

  close(): void {
    this.#socket.close()
  }

  readonly #reply = (source: number, _sequence: number, high: number, low: number): void => {
    if (!this.#core.answer(source, high, low, this.#nowMs)) this.strangers++
  }

  /** Whether more probes failed for want of buffers here; no route to the target is another thing, and counts against it. */
  #refusedByUs(): boolean {
    const before = this.#refused
    this.#refused = 0
    for (const number of [EAGAIN, ENOBUFS, ENOMEM]) this.#refused += this.#socket.errors.get(number) ?? 0
    return this.#refused > before
  }

  #nextRandom(): number {
    if (this.#randomLeft === 0) {
      getRandomValues(this.#random)
      this.#randomLeft = this.#random.length
    }
    return this.#random[--this.#randomLeft]
  }
}
