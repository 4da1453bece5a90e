/** Digests of parts of a table, so that a snapshot holds only what differs. */
import { ByteWriter } from './bytes.ts'
import { writeRow } from './codec-rows.ts'
import { sha256 } from './hash.ts'
import { CHUNKS, type Row } from './types.ts'

/** The chunk, 0 to 15, that holds a row. */
export const chunkOf = (id: number): number => id & (CHUNKS - 1)

/**
 * CHUNKS numbers: for each chunk the first 4 bytes of SHA-256 over its rows as they are on the wire, sorted by id; 0 for an
 * empty chunk, and for no other. Throws RangeError for a row that has no encoding.
 */
export const tableDigests = (rows: Iterable<Row>): number[] => {
  const chunks = Array.from({ length: CHUNKS }, (): Row[] => [])
  for (const row of rows) chunks[chunkOf(row.id)]!.push(row)
  return chunks.map(chunkDigest)
}

const chunkDigest = (rows: Row[]): number => {
  if (rows.length === 0) return 0
  const out = new ByteWriter()
  for (const row of rows.sort((a, b) => a.id - b.id)) writeRow(out, row)
  return sha256(out.take()).readUInt32BE(0) || 1
}
