/** Who leads the group of this host, since when, and what is told of it (R-B7). */
import type { GroupData } from '../../control/health-types.ts'
import { type Bucket, type BucketSettings, takeTokens } from '../../gossip/bucket.ts'
import type { HealthGroup } from '../../health/group/group.ts'
import type { EventLog } from '../events.ts'
import { listed } from './listed.ts'

/** Events; what comes sooner is told later, as it then is. */
const RATE = { ratePerS: 1 / 60, burst: 5 }
/** Names in an event. */
const NAMED = 8

export class GroupWatch {
  readonly #events: EventLog
  readonly #group: () => HealthGroup | null
  #sinceMs = performance.now()
  /** The leader of the last event. */
  #told: string | null = null
  #bucket: Bucket
  readonly #rate: BucketSettings
  #timer: NodeJS.Timeout | null = null

  constructor(events: EventLog, group: () => HealthGroup | null, rate: BucketSettings = RATE) {
    this.#rate = rate
    this.#bucket = { tokens: rate.burst, atMs: performance.now() }
    this.#events = events
    this.#group = group
  }

  /** Another one leads, or nobody. */
  changed(): void {
    this.#sinceMs = performance.now()
    this.#tell()
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  /** Null where this node is in no group that has a leader. */
  view(): GroupData | null {
    const group = this.#group()
    if (group === null || group.index === null) return null
    const { index, names, leader, generation } = group
    const sinceMs = Math.round(performance.now() - this.#sinceMs)
    return { index, members: names, leader, generation, sinceMs }
  }

  #tell(): void {
    this.stop()
    const view = this.view()
    // Between two leaders there is none for a moment.
    if (view !== null && view.leader === null) return
    const leader = view?.leader ?? null
    if (leader === this.#told) return
    const { bucket, waitMs } = takeTokens(this.#bucket, 1, performance.now(), this.#rate)
    if (waitMs > 0) {
      this.#timer = setTimeout(() => this.#tell(), waitMs)
      this.#timer.unref()
      return
    }
    this.#bucket = bucket
    this.#told = leader
    const text =
      view === null
        ? 'no host leads any more: each one sends its heartbeats itself'
        : `${leader} leads the group of ${listed(view.members, NAMED)}`
    this.#events.add('group.leader', 'info', leader ?? '-', text)
  }
}
