/** Changes of the rows held of one host. All of a change is taken or none; the rows before stay as they are. */
import { chunkOf } from '../digest.ts'
import { CHUNKS, MAX_ROWS, type Row, type RowOperation } from '../types.ts'

export type Rows = ReadonlyMap<number, Row>
/** The rows after the change, or why it does not fit what is held. */
export type Changed = { rows: Rows } | { unfit: string }

const TOO_MANY: Changed = { unfit: `more than ${MAX_ROWS} rows` }

/** R-B5 row change. */
export const applyOperations = (before: Rows, operations: readonly RowOperation[]): Changed => {
  if (operations.length === 0) return { rows: before }
  const rows = new Map(before)
  for (const change of operations) {
    const id = change.operation === 'delete' ? change.id : change.row.id
    const held = rows.get(id)
    if ((held === undefined) !== (change.operation === 'add'))
      return { unfit: `${change.operation} of row ${id}, which is ${held === undefined ? 'not ' : ''}held` }
    if (change.operation === 'delete') rows.delete(id)
    else if (change.operation === 'add') rows.set(id, change.row)
    else rows.set(id, { ...held!, ...change.row })
  }
  return rows.size > MAX_ROWS ? TOO_MANY : { rows }
}

/** R-B5 table snapshot: the chunks that are there replace those that are held. */
export const replaceChunks = (
  before: Rows,
  chunks: readonly { readonly index: number; readonly rows: readonly Row[] }[],
): Changed => {
  if (chunks.length === 0) return { rows: before }
  const replaced = new Set(chunks.map(chunk => chunk.index))
  if (replaced.size !== chunks.length || [...replaced].some(index => !(index >= 0 && index < CHUNKS)))
    return { unfit: 'chunks that come twice or do not exist' }
  const rows = new Map([...before].filter(([id]) => !replaced.has(chunkOf(id))))
  for (const chunk of chunks)
    for (const row of chunk.rows) {
      if (chunkOf(row.id) !== chunk.index) return { unfit: `row ${row.id} in chunk ${chunk.index}` }
      if (rows.has(row.id)) return { unfit: `row ${row.id} twice` }
      rows.set(row.id, row)
    }
  return rows.size > MAX_ROWS ? TOO_MANY : { rows }
}
