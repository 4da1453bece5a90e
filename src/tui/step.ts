/** The whole of `shunt top` but its terminal and its socket: one step on (state, event). Pure. */
import { MAX_EVENTS } from '../control/types.ts'
import { NO_HISTORY, record } from './history.ts'
import { stepKey } from './key-step.ts'
import { settle } from './list.ts'
import type { Effect, Look, Settings, State, Step, UiEvent } from './model.ts'
import { flowsWanted, rowsOf, shownPlace, tableHeight } from './rows.ts'
import { newList, SCREENS } from './screens/table.ts'

export const start = (settings: Settings, rows: number, columns: number): State => ({
  settings,
  rows,
  columns,
  snapshot: null,
  history: NO_HISTORY,
  away: null,
  paused: false,
  places: [{ kind: 'table', screen: 'nodes', scope: {}, list: newList('nodes') }],
  lists: Object.fromEntries(SCREENS.map(({ id }) => [id, newList(id)])) as State['lists'],
  overlay: null,
  message: '',
})

const withLook = (state: State, look: Look): State => {
  const { atMs, events, ...seen } = look
  const before = state.snapshot
  const goesOn = before !== null && before.status.instance === look.status.instance
  const known = goesOn ? before.events.filter(event => event.sequence <= events.last) : []
  const after = known.at(-1)?.sequence ?? 0
  const fresh = events.events.filter(event => event.sequence > after)
  return {
    ...state,
    away: null,
    history: record(state.history, look),
    snapshot: {
      ...seen,
      events: [...known, ...fresh].slice(-MAX_EVENTS),
      lastEvent: events.last,
    },
  }
}

/** The cursor and the window follow what the rows and the terminal have become. */
const settled = (state: State): State => {
  const at = shownPlace(state)
  if (at.kind !== 'table' || state.snapshot === null) return state
  const list = settle(at.list, rowsOf(state), tableHeight(state))
  return list === at.list ? state : { ...state, places: [...state.places.slice(0, -1), { ...at, list }] }
}

const apply = (state: State, event: UiEvent): Step => {
  const effects: Effect[] = []
  switch (event.on) {
    case 'key':
      return stepKey(state, event.key)
    case 'size':
      return { state: { ...state, rows: event.rows, columns: event.columns }, effects }
    case 'look':
      return { state: withLook(state, event.look), effects }
    case 'away':
      return { state: { ...state, away: event.why }, effects }
    case 'ended': {
      if (state.overlay?.kind !== 'running') return { state, effects }
      const overlay = { kind: 'result' as const, args: state.overlay.args, result: event.result }
      return { state: { ...state, overlay }, effects: [{ do: 'look' }] }
    }
  }
}

export const step = (before: State, event: UiEvent): Step => {
  const { state, effects } = apply(before, event)
  const now = flowsWanted(state)
  // Other flows than the ones that are there are not waited for.
  const asks = now !== '' && now !== flowsWanted(before)
  return { state: settled(state), effects: asks ? [...effects, { do: 'look' }] : effects }
}
