/** A backup of a node: its private files in one text, with a checksum. Pure. */
import { createHash } from 'node:crypto'
import { errorText, ShuntError } from '../errors.ts'

export const BACKUP_SCHEMA = 'shunt.backup/1'
const PARTS = ['node-file', 'identity', 'cluster', 'tokens', 'operator-key'] as const
export type BackupPart = (typeof PARTS)[number]

export interface BackupFile {
  part: BackupPart
  /** Where it was. */
  path: string
  content: Uint8Array
}
export interface Backup {
  /** ISO 8601. */
  madeAt: string
  node: string
  files: BackupFile[]
}

const checksum = (body: unknown): string => createHash('sha256').update(JSON.stringify(body)).digest('hex')

export const formatBackup = ({ madeAt, node, files }: Backup): string => {
  const body = {
    madeAt,
    node,
    files: files.map(({ part, path, content }) => ({
      part,
      path,
      content: Buffer.from(content).toString('base64'),
    })),
  }
  return `${JSON.stringify({ schema: BACKUP_SCHEMA, sha256: checksum(body), ...body }, null, 1)}\n`
}

interface Stored {
  part: string
  path: string
  content: string
}

const FIELDS = ['part', 'path', 'content'] as const
const isList = (files: unknown): files is Stored[] =>
  Array.isArray(files) &&
  files.every(file => FIELDS.every(field => typeof (file as Stored | null)?.[field] === 'string'))

/** @throws ShuntError SHUNT_ERR_STATE when it is none, or damaged */
export const parseBackup = (text: string, name: string): Backup => {
  const refuse = (why: string): ShuntError =>
    new ShuntError('SHUNT_ERR_STATE', `${name} cannot be restored: ${why}; use another backup`)
  let value: { schema?: unknown; sha256?: unknown; madeAt?: unknown; node?: unknown; files?: unknown } | null
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw refuse(`it is cut or no backup (${errorText(error)})`)
  }
  if (typeof value?.schema !== 'string' || !value.schema.startsWith('shunt.backup/'))
    throw refuse('it is no backup of shunt')
  if (value.schema !== BACKUP_SCHEMA)
    throw refuse(`it is of format ${value.schema}, this shunt knows ${BACKUP_SCHEMA}`)
  const { schema: _, sha256, ...body } = value
  if (checksum(body) !== sha256) throw refuse('it is damaged (its checksum is wrong)')
  const { files } = body
  if (!isList(files)) throw refuse('its list of files is not right')
  const missing = (['node-file', 'identity', 'cluster'] as const).find(
    part => !files.some(f => f.part === part),
  )
  if (missing !== undefined) throw refuse(`it has no ${missing}`)
  if (
    new Set(files.map(f => f.part)).size !== files.length ||
    files.some(f => !(PARTS as readonly string[]).includes(f.part))
  )
    throw refuse('it holds parts that this shunt does not know')
  return {
    madeAt: String(body.madeAt),
    node: String(body.node),
    files: files.map(({ part, path, content }) => ({
      part: part as BackupPart,
      path,
      content: new Uint8Array(Buffer.from(content, 'base64')),
    })),
  }
}
