/** Looks at the endpoints that this node knows whenever something may have changed, and tells what is news. */
import type { EventLog } from '../events.ts'
import { RowEvents } from './row-events.ts'
import type { RowFact } from './row-facts.ts'

/** Rows of several hosts change within a moment. */
const SOON_MS = 250
/** Node has no longer timers, and clocks of leases go on. */
const MAX_WAIT_MS = 60_000

export class RowWatch {
  readonly #log: EventLog
  readonly #look: () => RowFact[]
  readonly #events = new RowEvents()
  #timer: NodeJS.Timeout | null = null
  #atMs = Number.POSITIVE_INFINITY
  #stopped = false

  constructor(log: EventLog, look: () => RowFact[]) {
    this.#log = log
    this.#look = look
  }

  /** Something may have changed. */
  soon(): void {
    this.#wakeAt(performance.now() + SOON_MS)
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #wakeAt(atMs: number): void {
    if (this.#stopped || this.#atMs <= atMs) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#atMs = atMs
    const delayMs = Math.min(MAX_WAIT_MS, Math.max(0, atMs - performance.now()))
    this.#timer = setTimeout(() => this.#tell(), delayMs)
    this.#timer.unref()
  }

  #tell(): void {
    this.#timer = null
    this.#atMs = Number.POSITIVE_INFINITY
    const { events, wakeAtMs } = this.#events.observe(this.#look(), performance.now())
    for (const { kind, severity, subject, text } of events) this.#log.add(kind, severity, subject, text)
    this.#wakeAt(wakeAtMs)
  }
}
