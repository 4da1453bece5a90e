/** The one capture that may run in the data plane's thread at a time. */
import { errorText } from '../../errors.ts'
import { link } from '../../os/netlink/route.ts'
import { Capture, type CaptureBatch, type CaptureOrder, type CaptureSource } from './capture.ts'
import type { DataplanePlan } from './messages.ts'
import { SocketCapture } from './socket-capture.ts'

export class CaptureDesk {
  readonly #edge: (order: CaptureOrder) => CaptureSource | null
  readonly #post: (batch: CaptureBatch) => void
  #capture: Capture | null = null

  /** @param edge XDP's own, null where it is not in force */
  constructor(edge: (order: CaptureOrder) => CaptureSource | null, post: (batch: CaptureBatch) => void) {
    this.#edge = edge
    this.#post = post
  }

  /** Null, or why it cannot. */
  begin(plan: DataplanePlan, order: CaptureOrder, nowMs: number): string | null {
    if (this.#capture !== null) return 'another capture runs on this node'
    try {
      const source = (order.at === 'client' ? this.#edge(order) : null) ?? socketCapture(plan, order)
      this.#capture = new Capture(source, order, nowMs, this.#post)
      return null
    } catch (error) {
      return errorText(error)
    }
  }

  get fds(): readonly number[] {
    return this.#capture?.fds ?? []
  }

  /** Milliseconds until it must be looked at, whatever comes. */
  waitMs(nowMs: number): number {
    return this.#capture?.waitMs(nowMs) ?? Number.POSITIVE_INFINITY
  }

  /** Hands on what came. True: it ended, and its descriptors are closed. */
  turn(nowMs: number): boolean {
    if (this.#capture === null || !this.#capture.turn(nowMs)) return false
    this.#capture = null
    return true
  }

  /** Whoever asked is gone, or this thread ends. */
  stop(): void {
    this.#capture?.close()
    this.#capture = null
  }
}

const socketCapture = (plan: DataplanePlan, order: CaptureOrder): CaptureSource => {
  const links = plan.links.map(({ index }) => index)
  // The agent hands packets to the own stack by its tun device.
  if (order.at === 'stack' && plan.host !== null) links.push(link(plan.host.tun).index)
  return new SocketCapture(links, order)
}
