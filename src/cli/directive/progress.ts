/** How far a host and the load balancing units have come with an order (R-B6). Pure. */
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { OwnRow, WaitingUnit } from '../../control/types.ts'
import { isStricter } from '../../health/host/directive.ts'
import type { DirectiveState } from '../../health/types.ts'
import { duration } from '../format.ts'
import { ALL, orderedState } from './target.ts'

export interface Progress {
  settled: boolean
  /** Units that some row still waits for, in order of names. */
  waiting: WaitingUnit[]
  /** From now: so long at most units that stay silent are waited for. `null`: not known. */
  atMostMs: number | null
}

const stricter = (a: DirectiveState, b: DirectiveState): DirectiveState => (isStricter(a, b) ? a : b)

/** Rows that an order about `app` is about. */
export const rowsOf = (rows: readonly OwnRow[], app: string): OwnRow[] =>
  rows.filter(row => app === ALL || row.service === app)

const wantedOf = (row: OwnRow, orders: readonly DirectiveOrder[]): DirectiveState => {
  const all = orderedState(orders, ALL)
  return row.service === null ? all : stricter(all, orderedState(orders, row.service))
}

/** A failing application is as its service says, whatever milder was ordered. */
const isThere = (row: OwnRow, orders: readonly DirectiveOrder[]): boolean => {
  // While some unit may not follow it yet, the row says for whom it waits.
  if (row.target !== row.current || row.waiting !== null) return false
  const wanted = wantedOf(row, orders)
  if (wanted === 'active') return row.cause !== 'order'
  const least = row.health === 'failing' ? stricter(wanted, row.whenFailing ?? 'inactive') : wanted
  return row.cause === 'order' && row.target === least
}

/**
 * @param rows the table of the host itself
 * @param orders about that host, in force
 */
export const progressOf = (
  rows: readonly OwnRow[],
  orders: readonly DirectiveOrder[],
  app: string,
): Progress => {
  const open = rowsOf(rows, app).filter(row => !isThere(row, orders))
  const units = new Map<string, WaitingUnit>()
  for (const { unit, why } of open.flatMap(row => row.waiting?.units ?? []))
    if (!units.has(unit)) units.set(unit, { unit, why })
  // An agent of an earlier version does not say how long.
  const times = open.flatMap(row => row.waiting?.atMostMs ?? [])
  return {
    settled: open.length === 0,
    atMostMs: times.length === 0 ? null : Math.max(...times),
    waiting: [...units.values()].sort((a, b) => (a.unit < b.unit ? -1 : 1)),
  }
}

/** `c1 (no answer yet), f2 (silent)`; `node`, the host itself, when no unit is to blame. */
export const waitingText = (waiting: readonly WaitingUnit[], node: string): string =>
  waiting.map(({ unit, why }) => `${unit} (${why})`).join(', ') || `${node} itself`

/** Until when the silent ones of them are waited for; '' where that is not known. */
export const silentText = (waiting: readonly WaitingUnit[], atMostMs: number | null): string => {
  const silent = waiting.filter(({ why }) => why === 'silent').map(({ unit }) => unit)
  if (silent.length === 0 || !atMostMs) return ''
  return `${silent.join(', ')}: at most ${duration(atMostMs)} more, then its lease is over`
}

/** What an order that is followed has come to, one line. `left`: connections that go on. `held`: what else holds back, or is stricter. */
export const outcomeText = (
  name: string,
  app: string,
  state: DirectiveState,
  rows: readonly OwnRow[],
  { left = '', held = '' }: { left?: string; held?: string } = {},
): string => {
  const after = left === '' ? '' : `; ${left}`
  if (held !== '') {
    const done = state === 'active' ? 'the order is withdrawn' : 'the order is followed'
    return `${name}: ${done} on all units; ${held}${after}`
  }
  if (rowsOf(rows, app).length === 0) return `${name}: ${state}; nothing listens there now${after}`
  return `${name}: ${state} on all units${after}`
}
