/** Keys while something lies over the screen: the filter's line, the help, an action's form. Pure. */
import { ACTIONS, type ActionOverlay } from './actions.ts'
import type { Overlay, State, Step } from './model.ts'
import { shownPlace } from './rows.ts'

/** Longer ones find nothing. */
const MAX_FILTER = 128

const only = (state: State): Step => ({ state, effects: [] })
const show = (state: State, overlay: Overlay | null): Step => only({ ...state, overlay })

const withFilter = (state: State, change: (filter: string) => string): State => {
  const at = shownPlace(state)
  if (at.kind !== 'table') return state
  const filter = change(at.list.filter).slice(0, MAX_FILTER)
  return { ...state, places: [...state.places.slice(0, -1), { ...at, list: { ...at.list, filter } }] }
}

const filterKey = (state: State, before: string, key: string): Step => {
  if (key === 'enter') return show(state, null)
  if (key === 'esc')
    return show(
      withFilter(state, () => before),
      null,
    )
  if (key === 'backspace') return only(withFilter(state, text => text.slice(0, -1)))
  if (key === 'ctrl-u') return only(withFilter(state, () => ''))
  const character = key === 'space' ? ' ' : key
  return only([...character].length === 1 ? withFilter(state, text => text + character) : state)
}

const helpKey = (state: State, top: number, key: string): Step => {
  if (key === 'down' || key === 'j') return show(state, { kind: 'help', top: top + 1 })
  if (key === 'up' || key === 'k') return show(state, { kind: 'help', top: Math.max(0, top - 1) })
  return show(state, null)
}

const formKey = (state: State, form: ActionOverlay & { kind: 'form' }, key: string): Step => {
  const { toggles, at } = form
  switch (key) {
    case 'esc':
    case 'q':
      return show(state, null)
    case 'up':
    case 'k':
      return show(state, { ...form, at: Math.max(0, at - 1) })
    case 'down':
    case 'j':
      return show(state, { ...form, at: Math.min(toggles.length - 1, at + 1) })
    case 'space':
      return show(state, {
        ...form,
        toggles: toggles.map((toggle, i) => (i === at ? { ...toggle, on: !toggle.on } : toggle)),
      })
    case 'enter': {
      const action = ACTIONS.find(candidate => candidate.id === form.action)!
      const args = action.args(form.row, toggles)
      if (args === null) return only({ ...state, overlay: null, message: 'nothing was changed' })
      const all = [...args, ...state.settings.commandOptions]
      return show(state, { kind: 'confirm', title: action.title(form.row), args: all })
    }
    default:
      return only(state)
  }
}

export const overlayKey = (state: State, overlay: Overlay, key: string): Step => {
  switch (overlay.kind) {
    case 'filter':
      return filterKey(state, overlay.before, key)
    case 'help':
      return helpKey(state, overlay.top, key)
    case 'form':
      return formKey(state, overlay, key)
    case 'confirm':
      if (key !== 'y' && key !== 'Y') return only({ ...state, overlay: null, message: 'nothing was changed' })
      return {
        state: { ...state, overlay: { kind: 'running', args: overlay.args } },
        effects: [{ do: 'run', args: overlay.args }],
      }
    case 'running':
      return only({ ...state, message: 'the command is still running; Ctrl-C leaves it to itself' })
    case 'result':
      return show(state, null)
  }
}
