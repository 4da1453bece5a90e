/** Names of keys, from what a terminal sent. */

/** The part of the terminal library's key that is used here. */
export interface KeyFlags {
  upArrow: boolean
  downArrow: boolean
  pageUp: boolean
  pageDown: boolean
  home: boolean
  end: boolean
  return: boolean
  escape: boolean
  tab: boolean
  shift: boolean
  backspace: boolean
  delete: boolean
  ctrl: boolean
  meta: boolean
}

const NAMED: readonly (readonly [keyof KeyFlags, string])[] = [
  ['upArrow', 'up'],
  ['downArrow', 'down'],
  ['pageUp', 'pgup'],
  ['pageDown', 'pgdn'],
  ['home', 'home'],
  ['end', 'end'],
  ['return', 'enter'],
  ['escape', 'esc'],
  ['backspace', 'backspace'],
  ['delete', 'backspace'],
]

const CHARACTERS: Record<string, string> = {
  '\r': 'enter',
  '\n': 'enter',
  '\t': 'tab',
  '\x7f': 'backspace',
  '\b': 'backspace',
  '\x1b': 'esc',
  ' ': 'space',
}

const nameOf = (character: string): string => {
  const named = CHARACTERS[character]
  if (named !== undefined) return named
  const code = character.codePointAt(0)!
  if (code < 32) return `ctrl-${String.fromCharCode(code + 96)}`
  return character
}

/** Several characters may come at once: fast typing, a slow line, a paste. */
export const keysOf = (input: string, flags: KeyFlags): string[] => {
  if (flags.tab) return [flags.shift ? 'shift-tab' : 'tab']
  const named = NAMED.find(([flag]) => flags[flag])
  if (named !== undefined) return [named[1]]
  if (flags.ctrl && input.length === 1 && input >= 'a' && input <= 'z') return [`ctrl-${input}`]
  const keys = [...input].map(nameOf)
  // Esc and a key in one chunk look like Alt and that key.
  return flags.meta ? ['esc', ...keys] : keys
}
