/** What there is to say of each endpoint that this node knows: how its application is, and what this node does with it. Pure. */
import type { AbsentRow } from '../../control/health-types.ts'
import type { Allotment } from '../../health/allotment/handler.ts'
import type { DirectiveState, Health, Row } from '../../health/types.ts'
import type { KnownTable } from './absent.ts'

export type AppWord = 'well' | 'failing' | 'absent' | 'unknown'
/** health: held back because it fails; with -used: it gets new connections all the same, for want of better hosts (R-B10). */
export type DirectiveWord =
  | 'active'
  | 'overload'
  | 'draining'
  | 'inactive'
  | 'health'
  | 'health-used'
  | 'overload-used'
/** What this unit does with the hosts of a service. */
export type Followed = Pick<Allotment, 'states' | 'panic' | 'overload'>

export type RowFact = {
  readonly host: string
  readonly service: string
} & (
  | {
      readonly of: 'app'
      readonly word: AppWord
      /** What the health rests on; empty: not known here. */
      readonly why: string
      /** False when the operator wants nothing new there anyway. */
      readonly missed: boolean
    }
  | { readonly of: 'directive'; readonly word: DirectiveWord }
)

const HEALTH: Record<Health, AppWord> = { healthy: 'well', failing: 'failing', unknown: 'unknown' }

/** Null: an event of another kind says it (an agent that stops), or it is about to end. */
const directiveWord = (
  state: DirectiveState,
  { cause }: Row,
  followed: Followed | null,
): DirectiveWord | null => {
  // What is followed may be a moment behind the row.
  if (state === 'active' && followed?.panic === true && cause === 'health') return 'health-used'
  if (state === 'active' && followed?.overload === true && cause === 'overload') return 'overload-used'
  if (state === 'active') return 'active'
  if (cause === 'overload' || cause === 'health') return cause
  return cause === 'order' ? state : null
}

/**
 * @param name of this node, whose own directives are told by its table once all units follow (R-B6)
 * @param followed null where this node is no unit
 */
export const rowFacts = (
  name: string,
  tables: readonly KnownTable[],
  absent: readonly AbsentRow[],
  followed: (service: string) => Followed | null,
  why: (row: Row) => string,
): RowFact[] => {
  const states = new Map<string, ReadonlyMap<string, DirectiveState>>()
  const stateOf = (service: string, host: string, row: Row): DirectiveState => {
    const known =
      states.get(service) ?? new Map(followed(service)?.states.map(each => [each.host, each.state]))
    states.set(service, known)
    return known.get(host) ?? row.current
  }
  const present = tables.flatMap(({ host, rows }) =>
    [...rows].flatMap(([service, row]): RowFact[] => {
      const isOwn = host === name
      const app: RowFact = {
        ...{ host, service, of: 'app', word: HEALTH[row.health], missed: true },
        why: isOwn ? why(row) : '',
      }
      const word = isOwn ? null : directiveWord(stateOf(service, host, row), row, followed(service))
      return word === null ? [app] : [app, { host, service, of: 'directive', word }]
    }),
  )
  const missing = absent.map(({ host, service, capacity, order }): RowFact => {
    const missed = order === null && capacity > 0
    return { host, service, of: 'app', word: 'absent', why: '', missed }
  })
  return [...present, ...missing]
}
