/** Changes of endpoints as events, in sentences: what changes together is told together, and all of it at a bounded rate. Pure. */
import type { EventRow } from '../../control/cluster-types.ts'
import { type Bucket, takeTokens } from '../../gossip/bucket.ts'
import { listed } from './listed.ts'
import { type RowChange, RowChanges } from './row-changes.ts'
import type { RowFact } from './row-facts.ts'

export type RowEvent = Pick<EventRow, 'kind' | 'severity' | 'subject' | 'text'>

/** The ring of events has 1,000 places: rows alone turn it over in half an hour at worst. */
const RATE = { ratePerS: 0.5, burst: 20 }
/** Orders do not wait behind what flaps. */
const ORDERS = { ratePerS: 0.5, burst: 20 }
/** More of a kind than this are told in one sentence. */
const FEW = 3
/** Names in such a sentence. */
const NAMED = 3

/** A sentence about one endpoint, and about several; WHERE stands for them. */
interface Wording {
  readonly kind: EventRow['kind']
  readonly severity: EventRow['severity']
  readonly one: string
  readonly many: string
}

const wording = (kind: Wording['kind'], severity: Wording['severity'], one: string, many = one): Wording => ({
  ...{ kind, severity, one, many },
})

const DIRECTIVES: Record<string, Wording> = {
  active: wording(
    'directive.followed',
    'info',
    'WHERE gets new connections from here again',
    'WHERE get new connections from here again',
  ),
  overload: wording(
    'directive.followed',
    'warning',
    'WHERE is overloaded: no new connections from here until its load falls',
    'WHERE are overloaded: no new connections from here until their load falls',
  ),
  health: wording(
    'directive.followed',
    'info',
    'WHERE is held back here now because its application fails',
    'WHERE are held back here now because their applications fail',
  ),
  'health-used': wording(
    'directive.followed',
    'warning',
    'WHERE fails, and gets new connections from here all the same: no host of it is better off',
    'WHERE fail, and get new connections from here all the same: no host is better off',
  ),
  'overload-used': wording(
    'directive.followed',
    'warning',
    'WHERE is overloaded, and gets new connections from here all the same: no host of it is better off',
    'WHERE are overloaded, and get new connections from here all the same: no host is better off',
  ),
  draining: wording('directive.followed', 'info', 'WHERE: no new connections from here, by order'),
  inactive: wording('directive.followed', 'info', 'WHERE: no packets at all from here, by order'),
}
/** It got them before, too, for want of better hosts. */
const IN_ITS_OWN_RIGHT = wording(
  'directive.followed',
  'info',
  'WHERE gets new connections from here in its own right again',
  'WHERE get new connections from here in their own right again',
)
const FAILS = wording(
  'app.health',
  'warning',
  'the application of WHERE fails',
  'the applications of WHERE fail',
)
const HEALTHY = wording(
  'app.health',
  'info',
  'the application of WHERE is healthy again',
  'the applications of WHERE are healthy again',
)
const LOST = wording('app.lost', 'warning', 'nothing listens for WHERE')
const ENDED = wording('app.lost', 'info', 'nothing listens for WHERE, which is to take nothing new anyway')
const BACK = wording('app.back', 'info', 'an application listens again for WHERE')

const wordingOf = ({ fact, from }: RowChange): Wording => {
  if (fact.of === 'directive')
    return fact.word === 'active' && from.endsWith('-used') ? IN_ITS_OWN_RIGHT : DIRECTIVES[fact.word]!
  if (fact.word === 'failing') return FAILS
  if (fact.word === 'absent') return fact.missed ? LOST : ENDED
  return from === 'absent' ? BACK : HEALTHY
}

interface Group {
  wording: Wording
  changes: readonly RowChange[]
  /** Which of the two the changes have in common; null: a change alone. */
  by: 'host' | 'service' | null
}

const large = (
  changes: readonly RowChange[],
  by: 'host' | 'service',
): { many: RowChange[][]; rest: RowChange[] } => {
  const groups = [...Map.groupBy(changes, ({ fact }) => fact[by]).values()]
  const many = groups.filter(group => group.length > FEW)
  return { many, rest: groups.filter(group => group.length <= FEW).flat() }
}

/** Those of one host together, then those of one service. */
const grouped = (changes: readonly RowChange[]): Group[] =>
  [...Map.groupBy(changes, wordingOf)].flatMap(([words, all]): Group[] => {
    const hosts = large(all, 'host')
    const services = large(hosts.rest, 'service')
    return [
      ...hosts.many.map((group): Group => ({ wording: words, changes: group, by: 'host' })),
      ...services.many.map((group): Group => ({ wording: words, changes: group, by: 'service' })),
      ...services.rest.map((change): Group => ({ wording: words, changes: [change], by: null })),
    ]
  })

const whyOf = (fact: RowFact): string => (fact.of === 'app' && fact.why !== '' ? `: ${fact.why}` : '')

const eventOf = ({ wording: words, changes, by }: Group): RowEvent => {
  const [{ fact, times }] = changes as [RowChange]
  const { kind, severity } = words
  const { host, service } = fact
  const say = (text: string, where: string): string => text.replace('WHERE', () => where)
  if (by === null) {
    const often = times > 1 ? ` (${times} changes since it was last told of)` : ''
    const text = `${say(words.one, `${service} on ${host}`)}${words === FAILS || words === HEALTHY ? whyOf(fact) : ''}${often}`
    return { kind, severity, subject: host, text }
  }
  const names = changes.map(change => (by === 'host' ? change.fact.service : change.fact.host))
  const where = by === 'host' ? `${listed(names, NAMED)} on ${host}` : `${service} on ${listed(names, NAMED)}`
  return { kind, severity, subject: by === 'host' ? host : '-', text: say(words.many, where) }
}

export class RowEvents {
  readonly #changes = new RowChanges()
  #bucket: Bucket = { tokens: RATE.burst, atMs: 0 }
  #orders: Bucket = { tokens: ORDERS.burst, atMs: 0 }

  /**
   * All that is known now. Answers what to tell, and when to ask again at the latest (infinite: at the next change). Monotonic ms.
   * @param isAsked news of these are told now, as far as the rate allows it
   */
  observe(
    facts: readonly RowFact[],
    nowMs: number,
    isAsked?: (fact: RowFact) => boolean,
  ): { events: RowEvent[]; wakeAtMs: number } {
    const due = this.#changes.due(facts, nowMs, isAsked)
    let { wakeAtMs } = due
    const events: RowEvent[] = []
    for (const group of grouped(due.changes)) {
      const waitMs = this.#take(
        group.changes.some(({ isOrder }) => isOrder),
        nowMs,
      )
      if (waitMs > 0) {
        // It is told later, and more of it together.
        wakeAtMs = Math.min(wakeAtMs, nowMs + waitMs)
        continue
      }
      this.#changes.told(group.changes, nowMs)
      events.push(eventOf(group))
    }
    return { events, wakeAtMs }
  }

  #take(isOrder: boolean, nowMs: number): number {
    const { bucket, waitMs } = takeTokens(
      isOrder ? this.#orders : this.#bucket,
      1,
      nowMs,
      isOrder ? ORDERS : RATE,
    )
    if (waitMs > 0) return waitMs
    if (isOrder) this.#orders = bucket
    else this.#bucket = bucket
    return 0
  }
}
