/** What happened lately, as an operator would tell it: a ring of fixed capacity, newest last. */
import type { EventKind, EventRow, EventsData, EventsQuery } from '../control/cluster-types.ts'

/** Longer sentences are cut: parts of them come from other machines. */
const MAX_TEXT = 500

export class EventLog {
  readonly #capacity: number
  readonly #now: () => number
  readonly #listeners = new Set<(event: EventRow) => void>()
  #rows: EventRow[] = []
  #last = 0

  /** @param now Unix milliseconds */
  constructor(capacity: number | undefined, now: () => number) {
    this.#capacity = capacity ?? 1000
    this.#now = now
  }

  /** @param subject the node that it is about, '-' for the whole cluster; @param text a sentence */
  add(kind: EventKind, severity: EventRow['severity'], subject: string, text: string): void {
    const event: EventRow = {
      sequence: ++this.#last,
      time: new Date(this.#now()).toISOString(),
      kind,
      severity,
      subject,
      text: text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text,
    }
    this.#rows.push(event)
    if (this.#rows.length > this.#capacity) this.#rows.shift()
    for (const listener of this.#listeners) listener(event)
  }

  /**
   * The newest `limit` of the events after the one asked for. A number that is still to come is of an earlier run of
   * the agent: then all events are new to the one who asks, and earlier ones are missed.
   */
  query({ after, limit }: EventsQuery): EventsData {
    const earlierRun = after > this.#last
    const later = earlierRun ? this.#rows : this.#rows.filter(event => event.sequence > after)
    const events = later.slice(-limit)
    const expected = earlierRun ? 0 : this.#last - after
    return { last: this.#last, missed: earlierRun || events.length < expected, events }
  }

  /** Calls back for each event from now on, until the returned function is called. */
  follow(listener: (event: EventRow) => void): () => void {
    // A listener of its own for each caller, even if two pass the same function.
    const own = (event: EventRow): void => listener(event)
    this.#listeners.add(own)
    return () => void this.#listeners.delete(own)
  }
}
