/**
 * The statements that a node holds, on its disk: one file, replaced as a whole, so that a crash leaves the old or the new.
 * It holds the cluster secrets, hence mode 0600. The shell of the ledger.
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { errorText, ShuntError } from '../errors.ts'
import { readPrivate } from './private-file.ts'
import { replaceFile } from './replace-file.ts'
import { decodeStatement, encodeStatement } from './statement.ts'
import type { Statement } from './types.ts'

export const CLUSTER_FILE = 'cluster.json'
const VERSION = 1
/** 8,192 statements of which 32 documents: far below. */
const MAX_BYTES = 256 * 1024 * 1024

export interface StoredCluster {
  cluster: string
  statements: Statement[]
}

const checksum = (encoded: readonly string[]): string =>
  createHash('sha256').update(encoded.join('\n')).digest('hex')
const encode = (statement: Statement): string => Buffer.from(encodeStatement(statement)).toString()

export const clusterFile = (stateDir: string): string => join(stateDir, CLUSTER_FILE)

/** The text of the file. */
export const formatCluster = (cluster: string, statements: readonly Statement[]): string => {
  const encoded = statements.map(encode)
  const head = JSON.stringify({ version: VERSION, cluster, sha256: checksum(encoded) })
  return `${head.slice(0, -1)},"statements":[\n${encoded.join(',\n')}\n]}\n`
}

/**
 * Reads such a text; `file` is for messages. Signatures are not verified here: the ledger does that.
 * @throws ShuntError SHUNT_ERR_STATE when it is damaged or of a newer version
 */
export const parseCluster = (text: string, file: string): StoredCluster => {
  const damaged = (why: string, cause?: unknown): ShuntError =>
    new ShuntError(
      'SHUNT_ERR_STATE',
      `the saved state of the cluster, ${file}, is damaged (${why}): put a backup back with shunt restore, or join again with a new token`,
      { cause },
    )
  let value: { version?: unknown; cluster?: unknown; sha256?: unknown; statements?: unknown } | null
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw damaged('not JSON', cause)
  }
  if (value !== null && typeof value?.version === 'number' && value.version > VERSION)
    throw new ShuntError(
      'SHUNT_ERR_STATE',
      `${file} has format ${value.version}, written by a newer shunt; this one knows ${VERSION}: install the newer one, or put back an older backup with shunt restore`,
    )
  if (
    value?.version !== VERSION ||
    typeof value.cluster !== 'string' ||
    typeof value.sha256 !== 'string' ||
    !Array.isArray(value.statements)
  )
    throw damaged('fields are missing')
  let statements: Statement[]
  let encoded: string[]
  try {
    statements = value.statements.map(each => decodeStatement(Buffer.from(encode(each))))
    encoded = statements.map(encode)
  } catch (cause) {
    throw damaged(errorText(cause), cause)
  }
  if (checksum(encoded) !== value.sha256) throw damaged('its checksum is wrong')
  return { cluster: value.cluster, statements }
}

/**
 * What is stored in a state directory; null when there is nothing.
 * @throws ShuntError SHUNT_ERR_STATE when the file cannot be read or is damaged
 */
export const loadCluster = (stateDir: string): StoredCluster | null => {
  const file = clusterFile(stateDir)
  let text: string | null
  try {
    text = readPrivate(file, MAX_BYTES)
  } catch (cause) {
    throw new ShuntError('SHUNT_ERR_STATE', `cannot read ${file}: ${errorText(cause)}`, { cause })
  }
  return text === null ? null : parseCluster(text, file)
}

/**
 * Replaces what is stored; on disk when it returns.
 * @throws ShuntError SHUNT_ERR_STATE when it cannot be written; then the old file is unchanged
 */
export const saveCluster = (stateDir: string, cluster: string, statements: readonly Statement[]): void =>
  replaceFile(clusterFile(stateDir), formatCluster(cluster, statements))
