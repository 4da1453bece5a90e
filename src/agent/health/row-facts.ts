/** What there is to say of each endpoint that this node knows: how its application is, and what this node does with it. Pure. */
import type { AbsentRow } from '../../control/health-types.ts'
import type { HostState } from '../../health/allotment/states.ts'
import type { DirectiveState, Health, Row } from '../../health/types.ts'
import type { KnownTable } from './absent.ts'

export type AppWord = 'well' | 'failing' | 'absent' | 'unknown'
export type DirectiveWord = 'active' | 'overload' | 'draining' | 'inactive'

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

/** Null: an event of another kind says it (a failing application, an agent that stops), or it is about to end. */
const directiveWord = (state: DirectiveState, { cause }: Row): DirectiveWord | null => {
  if (state === 'active' || cause === 'health') return 'active'
  if (cause === 'overload') return 'overload'
  return cause === 'order' ? state : null
}

/**
 * @param name of this node, whose own directives are told by its table once all units follow (R-B6)
 * @param followed what this unit does with the hosts of a service; empty where this node is none
 */
export const rowFacts = (
  name: string,
  tables: readonly KnownTable[],
  absent: readonly AbsentRow[],
  followed: (service: string) => readonly HostState[],
  why: (row: Row) => string,
): RowFact[] => {
  const states = new Map<string, ReadonlyMap<string, DirectiveState>>()
  const stateOf = (service: string, host: string, row: Row): DirectiveState => {
    const known = states.get(service) ?? new Map(followed(service).map(each => [each.host, each.state]))
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
      const word = isOwn ? null : directiveWord(stateOf(service, host, row), row)
      return word === null ? [app] : [app, { host, service, of: 'directive', word }]
    }),
  )
  const missing = absent.map(({ host, service, capacity, order }): RowFact => {
    const missed = order === null && capacity > 0
    return { host, service, of: 'app', word: 'absent', why: '', missed }
  })
  return [...present, ...missing]
}
