/** What of a state is on the screen: its rows, and how many lines they have. */
import { isIP } from 'node:net'
import { arrange } from './list.ts'
import type { Place, State } from './model.ts'
import type { Row } from './screens/screen.ts'
import { screenOf } from './screens/table.ts'

/** Title, gauges, troubles, tabs, column heads, and the last line. */
const FRAME_LINES = 6

export const TOO_SMALL = { rows: 8, columns: 40 }
export const isTooSmall = (state: State): boolean =>
  state.rows < TOO_SMALL.rows || state.columns < TOO_SMALL.columns

/** Rows of a table that fit; `details` have one line more, for they have no heads. */
export const tableHeight = (state: State): number => Math.max(1, state.rows - FRAME_LINES)

export const shownPlace = (state: State): Place => state.places.at(-1)!

/** Flows that one look loads; a filter by address has the agent look for others. */
export const FLOWS_A_LOOK = 1_000

/** Query of the flows that the screen is about, '' when it is not about flows. */
export const flowsWanted = (state: State): string => {
  const at = state.places.findLast(place => place.kind === 'table')
  if (at?.screen !== 'flows') return ''
  const query = new URLSearchParams({ limit: String(FLOWS_A_LOOK), ...at.scope })
  if (isIP(at.list.filter) !== 0) query.set('client', at.list.filter)
  return String(query)
}

/** True while what the screen is about has been asked for, but not answered. */
export const isAsking = (state: State): boolean =>
  state.snapshot === null || (flowsWanted(state) !== '' && state.snapshot.flowsFor !== flowsWanted(state))

export const rowsOf = (state: State): Row[] => {
  const at = shownPlace(state)
  if (at.kind !== 'table' || state.snapshot === null || isAsking(state)) return []
  const screen = screenOf(at.screen)
  return arrange(screen.rows(state.snapshot, state.history, at.scope), screen.columns, at.list)
}

/** Key of the row that a command is about. */
export const chosenRow = (state: State): string | null => {
  const at = shownPlace(state)
  return at.kind === 'details' ? at.key : (rowsOf(state)[at.list.index]?.key ?? null)
}
