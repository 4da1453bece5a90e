/** What a screen is: columns, and rows of cells that know how they sort. */
import type { Rates } from '../../control/types.ts'
import type { Style } from '../lines.ts'
import type { Scope, ScreenId, Snapshot, State } from '../model.ts'
import { short } from '../text.ts'

export interface Column {
  id: string
  head: string
  /** Numbers line up at their ends. */
  right?: boolean
  /** Cells that a narrow screen must leave it; without it the column is never cut. */
  min?: number
  /** Takes what is left of the line, up to so many cells. */
  grow?: number
  /** Left out on a narrow screen, the highest number first; without it never. */
  drop?: number
  /** False where there is no order (sparklines). */
  sorts?: false
}

export interface Cell {
  text: string
  /** The text is used where there is none. */
  sort?: number | string
  /** For narrow screens. */
  short?: string
  /** Where its column has no room for all of the text. */
  narrow?: string
  style?: Style
  /** Shown as bars. */
  series?: readonly number[]
}

export interface Row {
  /** Stays the same from look to look. */
  key: string
  /** One a column. */
  cells: readonly Cell[]
}

export interface Details {
  title: string
  facts: readonly (readonly [string, string])[]
  /** Node whose events are shown below. */
  subject?: string
}

export interface Screen {
  id: ScreenId
  columns: readonly Column[]
  sort: { column: string; reverse: boolean }
  /** Flows are those of the scope already, since the agent is asked for them. */
  rows(snapshot: Snapshot, history: State['history'], scope: Scope): Row[]
  /** Where Enter leads: a narrower table, or `null` for the details of the row. */
  open(key: string): ({ screen: ScreenId } & Scope) | null
  /** Of which flows `f` tells; without it of none. */
  flows?(key: string): Scope
  /** `null` when the row is not there any more. */
  details(key: string, snapshot: Snapshot): Details | null
  /** Said when there are no rows at all. */
  empty: string
}

export const DASH = '-'
export const cell = (text: string | number | null, extra: Omit<Cell, 'text'> = {}): Cell =>
  text === null || text === ''
    ? { text: DASH, sort: -1, ...extra }
    : { text: String(text), ...(typeof text === 'number' ? { sort: text } : {}), ...extra }

/** Packets and bytes a second. An agent of an earlier version tells none. */
export const rateCells = (rates: Rates | null | undefined): Cell[] =>
  [rates?.packets, rates?.bytes].map(rate =>
    cell(rate === undefined ? null : short(rate), { sort: rate ?? -1 }),
  )

/** The word stays readable without colour. */
export const stateStyle = (word: string): Style | undefined =>
  ['alive', 'running', 'established', 'kernel', 'healthy', 'active'].includes(word)
    ? 'good'
    : ['dead', 'error', 'failing', 'absent'].includes(word)
      ? 'bad'
      : ['unknown', '-', 'info'].includes(word)
        ? 'dim'
        : 'odd'

export const stateCell = (word: string): Cell => ({ text: word, style: stateStyle(word) })
