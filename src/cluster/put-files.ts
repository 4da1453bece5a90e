/** Puts several files in place: all of them, or things are as they were. */
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { errorText, ShuntError } from '../errors.ts'

export interface FileToPut {
  path: string
  content: Uint8Array
  mode: number
}

const stage = (path: string, { content, mode }: FileToPut): void => {
  const fd = openSync(path, 'wx', mode)
  try {
    writeFileSync(fd, content)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/**
 * New files are complete before the first name changes; old ones are kept until the last one has.
 * @throws ShuntError SHUNT_ERR_STATE; then every file is as before
 */
export const putFiles = (files: readonly FileToPut[]): void => {
  const suffix = randomBytes(6).toString('hex')
  const staged = files.map(file => ({
    ...file,
    next: `${file.path}.${suffix}.new`,
    before: `${file.path}.${suffix}.old`,
  }))
  const placed: typeof staged = []
  try {
    for (const file of staged) {
      mkdirSync(dirname(file.path), { recursive: true, mode: file.mode === 0o600 ? 0o700 : 0o755 })
      stage(file.next, file)
      if (existsSync(file.path)) linkSync(file.path, file.before)
    }
    for (const file of staged) {
      renameSync(file.next, file.path)
      placed.push(file)
    }
  } catch (cause) {
    for (const file of placed)
      if (existsSync(file.before)) renameSync(file.before, file.path)
      else rmSync(file.path, { force: true })
    throw new ShuntError('SHUNT_ERR_STATE', `nothing was changed: ${errorText(cause)}`, { cause })
  } finally {
    for (const { next, before } of staged) {
      rmSync(next, { force: true })
      rmSync(before, { force: true })
    }
  }
}
