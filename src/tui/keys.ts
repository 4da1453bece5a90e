/** The one table of keys: the bindings and the help come from it. */
import { ACTIONS } from './actions.ts'
import type { ScreenId, State } from './model.ts'
import { SCREENS } from './screens/table.ts'

export type Command =
  | 'up'
  | 'down'
  | 'page-up'
  | 'page-down'
  | 'first'
  | 'last'
  | 'next-screen'
  | 'previous-screen'
  | `screen ${ScreenId}`
  | 'open'
  | 'flows'
  | 'back'
  | 'filter'
  | 'sort'
  | 'reverse'
  | 'pause'
  | 'help'
  | 'quit'
  | `action ${string}`

export interface Binding {
  keys: readonly string[]
  does: Command
  help: string
  group: 'Move' | 'Screens' | 'Look' | 'Change' | 'Program'
  /** For the last line. */
  hint?: string
  /** Only there. */
  screens?: readonly ScreenId[]
}

const FIXED: readonly Binding[] = [
  { group: 'Move', keys: ['up', 'k'], does: 'up', help: 'one row up' },
  { group: 'Move', keys: ['down', 'j'], does: 'down', help: 'one row down' },
  { group: 'Move', keys: ['pgup', 'ctrl-b'], does: 'page-up', help: 'one page up' },
  { group: 'Move', keys: ['pgdn', 'ctrl-f'], does: 'page-down', help: 'one page down' },
  { group: 'Move', keys: ['home', 'g'], does: 'first', help: 'first row' },
  { group: 'Move', keys: ['end', 'G'], does: 'last', help: 'last row' },
  ...SCREENS.map(
    (screen, i): Binding => ({
      group: 'Screens',
      keys: [String(i + 1)],
      does: `screen ${screen.id}`,
      help: screen.id,
    }),
  ),
  { group: 'Screens', keys: ['tab'], does: 'next-screen', help: 'next screen' },
  { group: 'Screens', keys: ['shift-tab'], does: 'previous-screen', help: 'screen before' },
  { group: 'Look', keys: ['enter'], does: 'open', help: 'open the row', hint: 'open' },
  {
    ...{ group: 'Look', keys: ['f'], does: 'flows', help: 'flows of the row', hint: 'flows' },
    screens: SCREENS.filter(({ flows }) => flows !== undefined).map(({ id }) => id),
  },
  { group: 'Look', keys: ['esc', 'backspace'], does: 'back', help: 'back, or drop the filter' },
  { group: 'Look', keys: ['/'], does: 'filter', help: 'filter the rows', hint: 'filter' },
  { group: 'Look', keys: ['s'], does: 'sort', help: 'sort by the next column', hint: 'sort' },
  { group: 'Look', keys: ['S'], does: 'reverse', help: 'reverse the order' },
  { group: 'Look', keys: ['space'], does: 'pause', help: 'pause, go on', hint: 'pause' },
  ...ACTIONS.map(
    (action): Binding => ({
      group: 'Change',
      keys: [action.key],
      does: `action ${action.id}`,
      help: action.help,
      hint: action.id,
      screens: action.screens,
    }),
  ),
  { group: 'Program', keys: ['?'], does: 'help', help: 'these keys', hint: 'help' },
  { group: 'Program', keys: ['q', 'ctrl-c'], does: 'quit', help: 'quit', hint: 'quit' },
]

/** With --read-only there are no keys that change something. */
export const bindings = (readOnly: boolean): readonly Binding[] =>
  readOnly ? FIXED.filter(binding => binding.group !== 'Change') : FIXED

export const commandOf = (key: string, { settings, places }: State): Command | null => {
  const { screen } = places.at(-1)!
  const binding = bindings(settings.readOnly).find(
    ({ keys, screens }) => keys.includes(key) && (screens === undefined || screens.includes(screen)),
  )
  return binding?.does ?? null
}

const NAMES: Record<string, string> = {
  up: 'Up',
  down: 'Down',
  pgup: 'PgUp',
  pgdn: 'PgDn',
  home: 'Home',
  end: 'End',
  enter: 'Enter',
  esc: 'Esc',
  tab: 'Tab',
  'shift-tab': 'Shift-Tab',
  space: 'Space',
  backspace: 'Backspace',
}
/** As people write it. */
export const keyName = (key: string): string =>
  NAMES[key] ?? (key.startsWith('ctrl-') ? `Ctrl-${key.slice(5).toUpperCase()}` : key)
