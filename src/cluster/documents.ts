/** Parsed cluster documents by the hash of their statement: a text is parsed once, however often the view is computed. */
import { type ClusterDocument, parseDocument } from '../config/document.ts'
import { ShuntError } from '../errors.ts'

/** More than the revisions that a ledger keeps. */
const CAPACITY = 64
const parsed = new Map<string, ClusterDocument | null>()

const parse = (text: string): ClusterDocument | null => {
  try {
    return parseDocument(text, 'cluster document')
  } catch (error) {
    if (error instanceof ShuntError) return null
    throw error
  }
}

/** Null if this version cannot read the text. Callers do not change what they get. */
export const parsedDocument = (hash: string, text: string): ClusterDocument | null => {
  const known = parsed.get(hash)
  if (known !== undefined) return known
  const document = parse(text)
  const [oldest] = parsed.keys()
  if (parsed.size >= CAPACITY && oldest !== undefined) parsed.delete(oldest)
  parsed.set(hash, document)
  return document
}
