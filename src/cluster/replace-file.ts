/** Replaces a file as a whole: after a crash there is the old one or the new one. */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { errorText, ShuntError } from '../errors.ts'

const syncDirectory = (directory: string): void => {
  const fd = openSync(directory, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** @throws ShuntError SHUNT_ERR_STATE; then the old file is unchanged */
export const replaceFile = (file: string, content: string | Uint8Array, mode = 0o600): void => {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.new`
  let made = false
  try {
    const fd = openSync(temporary, 'wx', mode)
    made = true
    try {
      writeFileSync(fd, content)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(temporary, file)
    made = false
    syncDirectory(dirname(file))
  } catch (cause) {
    if (made) unlinkSync(temporary)
    const help =
      (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'its directory does not exist' : errorText(cause)
    throw new ShuntError('SHUNT_ERR_STATE', `cannot write ${file}: ${help}`, { cause })
  }
}
