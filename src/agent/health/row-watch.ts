/** Looks at the endpoints that this node knows whenever something may have changed, and tells what is news. */
import type { EventLog } from '../events.ts'
import { RowEvents } from './row-events.ts'
import type { RowFact } from './row-facts.ts'
import { inTime, SHARE, type SlicesOptions } from './slices.ts'

/** Rows of several hosts change within a moment. */
const SOON_MS = 250
/** Node has no longer timers, and clocks of leases go on. */
const MAX_WAIT_MS = 60_000
/** However long a look took: another program may have had the CPU. */
const MAX_REST_MS = 5_000

export class RowWatch {
  readonly #log: EventLog
  readonly #look: () => RowFact[]
  readonly #events = new RowEvents()
  readonly #nowMs: () => number
  readonly #later: (run: () => void, ms: number) => () => void
  #callOff = (): void => {}
  #atMs = Number.POSITIVE_INFINITY
  /** Looking takes SHARE of the time at most: hundreds of hosts may have hundreds of rows each. */
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #stopped = false

  constructor(
    log: EventLog,
    look: () => RowFact[],
    { nowMs = () => performance.now(), later = inTime }: SlicesOptions = {},
  ) {
    this.#nowMs = nowMs
    this.#later = later
    this.#log = log
    this.#look = look
  }

  /** Something may have changed. */
  soon(): void {
    this.#wakeAt(this.#nowMs() + SOON_MS)
  }

  /** What is to be told follows from how the applications of `services` on `host` are: that is told before. */
  before(services: ReadonlySet<string | undefined>, host: string): void {
    if (this.#stopped) return
    this.#tell(
      fact => fact.of === 'app' && fact.word !== 'absent' && services.has(fact.service) && fact.host === host,
    )
  }

  stop(): void {
    this.#stopped = true
    this.#callOff()
  }

  #wakeAt(wantedMs: number): void {
    const atMs = Math.max(wantedMs, this.#notBeforeMs)
    if (this.#stopped || this.#atMs <= atMs) return
    this.#callOff()
    this.#atMs = atMs
    this.#callOff = this.#later(() => this.#tell(), Math.min(MAX_WAIT_MS, Math.max(0, atMs - this.#nowMs())))
  }

  #tell(isAsked?: (fact: RowFact) => boolean): void {
    this.#callOff()
    this.#atMs = Number.POSITIVE_INFINITY
    const startedMs = this.#nowMs()
    const { events, wakeAtMs } = this.#events.observe(this.#look(), startedMs, isAsked)
    const endMs = this.#nowMs()
    this.#notBeforeMs = endMs + Math.min(MAX_REST_MS, (endMs - startedMs) * (1 / SHARE - 1))
    for (const { kind, severity, subject, text } of events) this.#log.add(kind, severity, subject, text)
    this.#wakeAt(wakeAtMs)
  }
}
