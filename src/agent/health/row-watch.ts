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

  /** What is to be told follows from how the application of `service` on `host` is: that is told before. */
  before(service: string, host: string): void {
    if (this.#stopped) return
    this.#tell(
      fact => fact.of === 'app' && fact.word !== 'absent' && fact.service === service && fact.host === host,
    )
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

  #tell(isAsked?: (fact: RowFact) => boolean): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#atMs = Number.POSITIVE_INFINITY
    const { events, wakeAtMs } = this.#events.observe(this.#look(), performance.now(), isAsked)
    for (const { kind, severity, subject, text } of events) this.#log.add(kind, severity, subject, text)
    this.#wakeAt(wakeAtMs)
  }
}
