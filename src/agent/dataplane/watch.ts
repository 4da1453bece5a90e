import type { EventFd } from '../../os/eventfd.ts'
import { Poller } from '../../os/poller.ts'
import type { CaptureDesk } from './capture-desk.ts'
import type { Devices } from './devices.ts'
import type { Plumbing } from './plumbing.ts'
import type { ProbeDesk } from './probe-desk.ts'

/** All that the worker sleeps on. Made anew when there is something else to wait for. */
export class Watch {
  readonly #poller: Poller
  readonly #mappings: number
  readonly #messages: number
  /** To probes; null: there are none. */
  readonly #replies: number | null

  /** @param wake messages of the main thread */
  constructor(
    { rings, socket }: Devices,
    { first, plumber: { learning } }: Plumbing,
    { fds }: CaptureDesk,
    probes: ProbeDesk,
    wake: EventFd,
  ) {
    const poller = new Poller(rings.size + 5 + fds.length)
    for (const fd of fds) poller.add(fd)
    if (first !== null) poller.add(first.fd)
    for (const ring of rings.values()) poller.add(ring.fd)
    if (learning !== undefined) poller.add(learning.fd)
    this.#poller = poller
    this.#mappings = poller.add(socket.fd)
    this.#messages = poller.add(wake.fd)
    this.#replies = probes.fd === null ? null : poller.add(probes.fd)
  }

  /** Sleeps so long (ms) at most. Whether something has come; what it is, the others say until the next sleep. */
  wait(timeoutMs: number): boolean {
    return this.#poller.wait(timeoutMs) > 0
  }

  get hasMappings(): boolean {
    return this.#poller.ready(this.#mappings)
  }

  get hasMessages(): boolean {
    return this.#poller.ready(this.#messages)
  }

  get hasReplies(): boolean {
    return this.#replies !== null && this.#poller.ready(this.#replies)
  }
}
