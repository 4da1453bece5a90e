/** Text that other machines, files and callers gave, before it goes to a terminal. Pure. */
import { stripVTControlCharacters } from 'node:util'

/** Marks that change the order in which a terminal shows what is beside them: U+061C, U+200E, U+200F, U+202A..202E, U+2066..2069. */
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g
/** Also the line and the paragraph separator. */
const CONTROL = /[\p{Cc}\u2028\u2029]/gu
const CONTROL_IN_LINE = /[^\P{Cc}\n]|[\u2028\u2029]/gu

/** Without escape sequences, control characters and marks of direction; newlines stay. */
export const plain = (text: string): string =>
  stripVTControlCharacters(text).replaceAll('\r\n', '\n').replace(BIDI, '').replace(CONTROL_IN_LINE, ' ')

/** As plain(), on one line: a text that is only a part of a line must not make others. */
export const oneLine = (text: string): string =>
  stripVTControlCharacters(text).replace(BIDI, '').replace(CONTROL, ' ')

/** For a message that another program made: its lines become one, parted by semicolons. */
export const joinLines = (text: string): string => oneLine(text.trim().replace(/\s*[\r\n]+\s*/g, '; '))

/** The same JSON with what a terminal would obey in the escaped form. */
export const plainJson = (text: string): string =>
  text.replace(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
