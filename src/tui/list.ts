/** A table's rows as chosen: filtered, in order, and a window of them around the cursor. */
import type { ListState } from './model.ts'
import type { Column, Row } from './screens/screen.ts'

const matches = (row: Row, words: readonly string[]): boolean => {
  const text = row.cells
    .map(cell => cell.text)
    .join(' ')
    .toLowerCase()
  return words.every(word => text.includes(word))
}

/** Digits in names count as numbers: h2 comes before h10. */
const collator = new Intl.Collator('en', { numeric: true })
const compare = (a: string | number, b: string | number): number =>
  typeof a === 'number' && typeof b === 'number' ? a - b : collator.compare(String(a), String(b))

/** Rows that have every word of the filter, in the order of the list; equal ones by their key. */
export const arrange = (rows: readonly Row[], columns: readonly Column[], list: ListState): Row[] => {
  const words = list.filter.toLowerCase().split(' ').filter(Boolean)
  const at = Math.max(
    0,
    columns.findIndex(column => column.id === list.sort),
  )
  const sign = list.reverse ? -1 : 1
  const sortOf = (row: Row): string | number => row.cells[at]!.sort ?? row.cells[at]!.text
  return rows
    .filter(row => words.length === 0 || matches(row, words))
    .sort((a, b) => sign * compare(sortOf(a), sortOf(b)) || collator.compare(a.key, b.key))
}

/** The cursor stays with its row, or where its row was; the window holds the cursor. */
export const settle = (list: ListState, rows: readonly Row[], height: number): ListState => {
  const found = list.key === null ? 0 : rows.findIndex(row => row.key === list.key)
  const index = Math.max(0, Math.min(found < 0 ? list.index : found, rows.length - 1))
  const visible = Math.max(1, height)
  const top = Math.max(
    0,
    Math.min(Math.max(Math.min(list.top, index), index - visible + 1), rows.length - visible),
  )
  // A filter or a pause may bring the row back: its key is kept while nothing is there.
  const key = list.key === null || rows.length === 0 ? list.key : rows[index]!.key
  return index === list.index && top === list.top && key === list.key ? list : { ...list, index, top, key }
}

/** Puts the cursor on a row; the first one means "whatever comes first". */
export const moveTo = (list: ListState, rows: readonly Row[], index: number): ListState => {
  const to = Math.max(0, Math.min(index, rows.length - 1))
  return { ...list, index: to, key: to === 0 ? null : rows[to]!.key }
}

/** The next column that has an order. */
export const nextSort = (list: ListState, columns: readonly Column[]): ListState => {
  const sortable = columns.filter(column => column.sorts !== false)
  const at = sortable.findIndex(column => column.id === list.sort)
  return { ...list, sort: sortable[(at + 1) % sortable.length]!.id, reverse: false }
}
