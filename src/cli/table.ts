/** Columns without borders: stable to read, to grep and to cut. */
import { oneLine } from '../plain-text.ts'

export interface Column<T> {
  head: string
  /** `null`, `undefined` and '' are shown as `-`. */
  cell(row: T): string | number | boolean | null | undefined
  /** Numbers line up at their ends. */
  right?: boolean
  paint?(text: string, row: T): string
}

const textOf = (value: string | number | boolean | null | undefined): string => {
  if (value === null || value === undefined || value === '') return '-'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return oneLine(String(value))
}

/** A head and a line a row; two spaces between columns, none at the end. Without rows, only the head. */
export const table = <T>(columns: readonly Column<T>[], rows: readonly T[]): string => {
  const cells = rows.map(row => columns.map(column => textOf(column.cell(row))))
  const widths = columns.map((column, i) =>
    cells.reduce((w, row) => Math.max(w, row[i]!.length), column.head.length),
  )
  const line = (texts: readonly string[], row?: T): string => {
    const parts = texts.map((text, i) => {
      const column = columns[i]!
      const space = ' '.repeat(widths[i]! - text.length)
      const shown = row !== undefined && column.paint ? column.paint(text, row) : text
      if (column.right) return space + shown
      return i === columns.length - 1 ? shown : shown + space
    })
    return `${parts.join('  ')}\n`
  }
  return line(columns.map(c => c.head)) + cells.map((texts, i) => line(texts, rows[i])).join('')
}

/** `name  value` lines. */
export const pairs = (
  rows: readonly (readonly [string, string | number | boolean | null | undefined])[],
): string => {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${textOf(value)}\n`).join('')
}
