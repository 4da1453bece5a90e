/**
 * Directives of this host that every unit follows now, as events (R-B6). What settles together is told together, and an application that
 * flaps does not fill the ring of events: what comes too fast is told later, as it then is.
 */
import { type Bucket, type BucketSettings, takeTokens } from '../../gossip/bucket.ts'
import { RateByKey } from '../../gossip/rate-by-key.ts'
import type { EventLog } from '../events.ts'
import { listed } from './listed.ts'
import type { SettledNews } from './services.ts'

export interface SettledRates {
  /** Of one service: operators are no faster. */
  readonly each: BucketSettings
  /** Of all together; a turn of many may leave a debt. */
  readonly all: BucketSettings
  readonly retryMs: number
}
const RATES: SettledRates = {
  each: { ratePerS: 1 / 15, burst: 6 },
  all: { ratePerS: 0.5, burst: 20 },
  retryMs: 2_000,
}
/** More of a kind than this are told in one sentence. */
const FEW = 3
/** Names in such a sentence. */
const NAMED = 3

const textOf = (news: readonly SettledNews[]): string => {
  const [{ host, what }] = news as [SettledNews]
  const names = news.map(({ service }) => service ?? 'a former service')
  const of = names.length === 1 ? 'application of' : 'applications of'
  return `every unit has the ${of} ${listed(names, NAMED)} on ${host} ${what}`
}

export class SettledWatch {
  readonly #events: EventLog
  readonly #before: (services: ReadonlySet<string | undefined>, host: string) => void
  readonly #rates: SettledRates
  readonly #each: RateByKey
  #all: Bucket
  /** The last of each service. */
  readonly #waiting = new Map<string, SettledNews>()
  #timer: NodeJS.Timeout | null = null

  /** @param before called once for all that is about to be told: what it follows from is told first */
  constructor(
    events: EventLog,
    before: (services: ReadonlySet<string | undefined>, host: string) => void,
    rates: SettledRates = RATES,
  ) {
    this.#events = events
    this.#before = before
    this.#rates = rates
    this.#each = new RateByKey(rates.each)
    this.#all = { tokens: rates.all.burst, atMs: performance.now() }
  }

  /** These have settled, at once. */
  add(news: readonly SettledNews[]): void {
    if (news.length === 0) return
    for (const each of news) {
      const key = each.service ?? ''
      this.#waiting.delete(key)
      this.#waiting.set(key, each)
    }
    this.#tell()
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #tell(): void {
    this.stop()
    const nowMs = performance.now()
    const isFree = takeTokens(this.#all, 0, nowMs, this.#rates.all).waitMs === 0
    const ready = isFree
      ? [...this.#waiting].filter(([key]) => this.#each.take(key, nowMs)).map(([, news]) => news)
      : []
    for (const { service } of ready) this.#waiting.delete(service ?? '')
    for (const [host, news] of Map.groupBy(ready, ({ host }) => host)) {
      this.#before(new Set(news.map(({ service }) => service)), host)
      this.#add(host, news, nowMs)
    }
    if (this.#waiting.size > 0) this.#timer = setTimeout(() => this.#tell(), this.#rates.retryMs).unref()
  }

  #add(host: string, all: readonly SettledNews[], nowMs: number): void {
    const parts = [...Map.groupBy(all, ({ what }) => what).values()].flatMap(same =>
      same.length > FEW ? [same] : same.map(news => [news]),
    )
    this.#all = takeTokens(this.#all, parts.length, nowMs, this.#rates.all).bucket
    for (const part of parts) this.#events.add('directive.settled', 'info', host, textOf(part))
  }
}
