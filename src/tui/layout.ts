/** Widths of columns: what a narrow screen cannot hold is cut or left out, what a wide one has left is used. */
import type { Column, Row } from './screens/screen.ts'

export interface Placed {
  /** Index of the column. */
  at: number
  width: number
}

/** Cells between two columns. */
export const GAP = 2

const total = (widths: readonly number[]): number =>
  widths.reduce((sum, width) => sum + width, 0) + GAP * Math.max(0, widths.length - 1)

/**
 * @param heads as they are drawn, with the mark of the order
 * @param width of the whole line
 * @returns the columns that are shown, in order, and whether cells use their short form
 */
export const place = (
  columns: readonly Column[],
  heads: readonly string[],
  rows: readonly Row[],
  width: number,
): { placed: Placed[]; short: boolean } => {
  const natural = (at: number, short: boolean): number =>
    rows.reduce((most, row) => {
      const cell = row.cells[at]!
      return Math.max(most, (short ? (cell.short ?? cell.text) : cell.text).length)
    }, heads[at]!.length)
  const all = columns.map((_, at) => at)
  const long = all.map(at => natural(at, false))
  const isShort = total(long) > width
  const wanted = isShort ? all.map(at => natural(at, true)) : long
  const least = all.map(at =>
    Math.min(wanted[at]!, Math.max(columns[at]!.min ?? wanted[at]!, heads[at]!.length)),
  )
  let kept = all
  while (total(kept.map(at => least[at]!)) > width) {
    const next = kept.reduce<number | null>(
      (most, at) => ((columns[at]!.drop ?? 0) > (most === null ? 0 : columns[most]!.drop!) ? at : most),
      null,
    )
    if (next === null) break
    kept = kept.filter(at => at !== next)
  }
  const widths = new Map(kept.map(at => [at, least[at]!]))
  let left = width - total([...widths.values()])
  const give = (at: number, upTo: number): void => {
    const more = Math.max(0, Math.min(left, upTo - widths.get(at)!))
    widths.set(at, widths.get(at)! + more)
    left -= more
  }
  for (const at of kept) give(at, wanted[at]!)
  for (const at of kept) give(at, columns[at]!.grow ?? 0)
  return { placed: kept.map(at => ({ at, width: widths.get(at)! })), short: isShort }
}
