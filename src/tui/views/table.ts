/** A table's head and the rows of its window. */
import { GAP, place } from '../layout.ts'
import { cut, type Line, type Span, span } from '../lines.ts'
import type { Place, State } from '../model.ts'
import { isAsking, rowsOf } from '../rows.ts'
import type { Column, Row } from '../screens/screen.ts'
import { screenOf } from '../screens/table.ts'
import { clean, fit, sparkline } from '../text.ts'

/** The chosen row is marked, not only coloured. */
const MARK = '> '
const NO_MARK = '  '

const arrow = (reverse: boolean, unicode: boolean): string =>
  unicode ? (reverse ? '↓' : '↑') : reverse ? 'v' : '^'

const cleaned = (row: Row): Row => ({
  ...row,
  cells: row.cells.map(cell => ({ ...cell, text: clean(cell.text) })),
})

const emptyText = (state: State, at: Place & { kind: 'table' }): string => {
  if (isAsking(state)) return state.away === null ? 'asking the agent' : ''
  return at.list.filter === ''
    ? screenOf(at.screen).empty
    : `nothing matches "${at.list.filter}"; Esc drops the filter`
}

export const tableLines = (state: State, at: Place & { kind: 'table' }, height: number): Line[] => {
  const { columns } = screenOf(at.screen)
  const { list } = at
  const { unicode } = state.settings
  const rows = rowsOf(state).map(cleaned)
  const mark = arrow(list.reverse, unicode)
  const heads = columns.map(column => (column.id === list.sort ? `${column.head}${mark}` : column.head))
  const { placed, short } = place(columns, heads, rows, state.columns - MARK.length)
  const line = (part: (column: Column, at: number, width: number) => Span, first: Span): Line => {
    const spans: Span[] = [first]
    for (const [i, { at: index, width }] of placed.entries()) {
      if (i > 0) spans.push(span(' '.repeat(GAP)))
      spans.push(part(columns[index]!, index, width))
    }
    return cut(spans, state.columns)
  }
  const head = line(
    (column, index, width) => span(fit(heads[index]!, width, column.right), 'head'),
    span(NO_MARK),
  )
  if (rows.length === 0)
    return [head, cut([span(NO_MARK), span(clean(emptyText(state, at)), 'dim')], state.columns)]
  const body = rows.slice(list.top, list.top + height).map((row, i) => {
    const chosen = list.top + i === list.index
    const drawn = line(
      (column, index, width) => {
        const cell = row.cells[index]!
        if (cell.series !== undefined)
          return span(
            fit(sparkline(cell.series, Math.min(width, column.grow ?? width), unicode), width),
            'good',
          )
        const wanted = short ? (cell.short ?? cell.text) : cell.text
        const text = wanted.length > width ? (cell.narrow ?? wanted) : wanted
        return span(fit(text, width, column.right), cell.style)
      },
      span(chosen ? MARK : NO_MARK),
    )
    if (!chosen) return drawn
    const used = drawn.reduce((sum, part) => sum + part.text.length, 0)
    return [span(drawn.map(part => part.text).join('') + ' '.repeat(state.columns - used), 'chosen')]
  })
  return [head, ...body]
}
