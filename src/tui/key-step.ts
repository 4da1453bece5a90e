/** What a key does: to the overlay, if there is one, else to the place that is shown. Pure. */
import { ACTIONS, isName } from './actions.ts'
import { type Command, commandOf } from './keys.ts'
import { moveTo, nextSort } from './list.ts'
import type { ListState, Place, ScreenId, State, Step } from './model.ts'
import { overlayKey } from './overlay-step.ts'
import { chosenRow, rowsOf, shownPlace, tableHeight } from './rows.ts'
import { newList, SCREENS, screenOf } from './screens/table.ts'

const only = (state: State): Step => ({ state, effects: [] })
const withPlace = (state: State, at: Place): State => ({
  ...state,
  places: [...state.places.slice(0, -1), at],
})

const withList = (state: State, change: (list: ListState) => ListState): State => {
  const at = shownPlace(state)
  return at.kind === 'table' ? withPlace(state, { ...at, list: change(at.list) }) : state
}

const move = (state: State, by: number): State => {
  const at = shownPlace(state)
  if (at.kind === 'details') return withPlace(state, { ...at, top: Math.max(0, at.top + by) })
  return withList(state, list => moveTo(list, rowsOf(state), list.index + by))
}

/** Tables of the number keys are found again as they were left. */
const toScreen = (state: State, id: ScreenId): State => {
  const root = state.places[0]!
  const lists = root.kind === 'table' ? { ...state.lists, [root.screen]: root.list } : state.lists
  return { ...state, lists, places: [{ kind: 'table', screen: id, scope: {}, list: lists[id] }] }
}

const cycle = (state: State, by: number): State => {
  const at = SCREENS.findIndex(screen => screen.id === shownPlace(state).screen)
  return toScreen(state, SCREENS[(at + by + SCREENS.length) % SCREENS.length]!.id)
}

/** The cursor stays with the row that was opened, also when it was the first by chance. */
const goTo = (state: State, key: string, to: Place): State => {
  const from = withList(state, list => ({ ...list, key }))
  return { ...from, places: [...from.places, to] }
}

const open = (state: State): State => {
  const at = shownPlace(state)
  const key = chosenRow(state)
  if (at.kind === 'details' || key === null) return state
  const to = screenOf(at.screen).open(key)
  if (to === null) return goTo(state, key, { kind: 'details', screen: at.screen, key, top: 0 })
  const { screen, ...scope } = to
  return goTo(state, key, { kind: 'table', screen, scope, list: newList(screen) })
}

const openFlows = (state: State): State => {
  const key = chosenRow(state)
  const scope = key === null ? undefined : screenOf(shownPlace(state).screen).flows?.(key)
  if (key === null || scope === undefined) return state
  return goTo(state, key, { kind: 'table', screen: 'flows', scope, list: newList('flows') })
}

const back = (state: State): State => {
  const at = shownPlace(state)
  if (at.kind === 'table' && at.list.filter !== '') return withList(state, list => ({ ...list, filter: '' }))
  return state.places.length > 1 ? { ...state, places: state.places.slice(0, -1) } : state
}

const act = (state: State, id: string): Step => {
  const action = ACTIONS.find(candidate => candidate.id === id)!
  const row = chosenRow(state)
  const { snapshot } = state
  if (row === null || snapshot === null) return only(state)
  const refusal = isName(row) ? action.refusal(row, snapshot) : `${row} is not the name of a ${action.of}`
  if (refusal !== null) return only({ ...state, message: refusal })
  const toggles = action.toggles(row, snapshot)
  if (toggles.length > 0)
    return only({ ...state, overlay: { kind: 'form', action: id, row, toggles, at: 0 } })
  const args = [...action.args(row, [])!, ...state.settings.commandOptions]
  return only({ ...state, overlay: { kind: 'confirm', title: action.title(row), args } })
}

const obey = (state: State, command: Command, key: string): Step => {
  const page = Math.max(1, tableHeight(state) - 1)
  if (command.startsWith('screen ')) return only(toScreen(state, command.slice(7) as ScreenId))
  if (command.startsWith('action ')) return act(state, command.slice(7))
  switch (command) {
    case 'up':
      return only(move(state, -1))
    case 'down':
      return only(move(state, 1))
    case 'page-up':
      return only(move(state, -page))
    case 'page-down':
      return only(move(state, page))
    case 'first':
      return only(move(state, -1e9))
    case 'last':
      return only(move(state, shownPlace(state).kind === 'details' ? page : 1e9))
    case 'next-screen':
      return only(cycle(state, 1))
    case 'previous-screen':
      return only(cycle(state, -1))
    case 'open':
      return only(open(state))
    case 'flows':
      return only(openFlows(state))
    case 'back':
      return only(back(state))
    case 'filter': {
      const at = shownPlace(state)
      return only(
        at.kind === 'table' ? { ...state, overlay: { kind: 'filter', before: at.list.filter } } : state,
      )
    }
    case 'sort':
      return only(withList(state, list => nextSort(list, screenOf(shownPlace(state).screen).columns)))
    case 'reverse':
      return only(withList(state, list => ({ ...list, reverse: !list.reverse })))
    case 'pause':
      return { state: { ...state, paused: !state.paused }, effects: state.paused ? [{ do: 'look' }] : [] }
    case 'help':
      return only({ ...state, overlay: { kind: 'help', top: 0 } })
    default:
      return { state, effects: [{ do: 'quit', code: key === 'ctrl-c' ? 130 : 0 }] }
  }
}

export const stepKey = (before: State, key: string): Step => {
  const state = before.message === '' ? before : { ...before, message: '' }
  if (key === 'ctrl-c') return obey(state, 'quit', key)
  if (state.overlay !== null) return overlayKey(state, state.overlay, key)
  const command = commandOf(key, state)
  if (command !== null) return obey(state, command, key)
  const refused = state.settings.readOnly && ACTIONS.some(action => action.key === key)
  return only(refused ? { ...state, message: 'read-only: started with --read-only' } : state)
}
