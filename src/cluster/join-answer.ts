/** What a joining machine is told: everything, except earlier documents where they are too long; it gets those by replication. Pure. */
import { encodeList, MAX_ANSWER_BYTES, MAX_ANSWER_STATEMENTS } from './join-wire.ts'
import { encodeStatement } from './statement.ts'
import type { Statement } from './types.ts'

/** Tag and count. */
const OVERHEAD_BYTES = 64

/** Documents last, newest first, so that those which do not fit are the oldest. */
const rank = ({ body }: Statement): number =>
  body.kind === 'config' ? -body.revision : Number.NEGATIVE_INFINITY

export const answerList = (statements: readonly Statement[]): Uint8Array => {
  const entries: Uint8Array[] = []
  let bytes = OVERHEAD_BYTES
  for (const statement of statements.toSorted((a, b) =>
    rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0,
  )) {
    const entry = encodeStatement(statement)
    if (bytes + 4 + entry.length > MAX_ANSWER_BYTES || entries.length === MAX_ANSWER_STATEMENTS) break
    bytes += 4 + entry.length
    entries.push(entry)
  }
  return encodeList(entries)
}
