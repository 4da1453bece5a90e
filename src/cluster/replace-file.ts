/** Replaces a file as a whole: after a crash there is the old one or the new one. */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { errorText, ShuntError } from '../errors.ts'

const SUFFIX_BYTES = 6
const LEFTOVER = new RegExp(`^\\.[0-9a-f]{${2 * SUFFIX_BYTES}}\\.new$`)

/** Removes what writers of a file left beside it when they were killed. To be called while nobody writes it; never throws. */
export const removeLeftovers = (file: string): void => {
  const name = basename(file)
  try {
    for (const entry of readdirSync(dirname(file)))
      if (entry.startsWith(name) && LEFTOVER.test(entry.slice(name.length)))
        unlinkSync(join(dirname(file), entry))
  } catch {
    // They only take room.
  }
}

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
  const temporary = `${file}.${randomBytes(SUFFIX_BYTES).toString('hex')}.new`
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

/** Writes a new file with mode 0600; throws SHUNT_ERR_GUARD when it exists, SHUNT_ERR_STATE when it cannot be written. */
export const writeNew = (file: string, content: string): void => {
  let fd: number
  try {
    fd = openSync(file, 'wx', 0o600)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST')
      throw new ShuntError('SHUNT_ERR_GUARD', `${file} exists and is not overwritten; give another name`, {
        cause,
      })
    throw new ShuntError('SHUNT_ERR_STATE', `cannot write ${file}: ${errorText(cause)}`, { cause })
  }
  try {
    writeFileSync(fd, content)
    fsyncSync(fd)
  } catch (cause) {
    unlinkSync(file)
    throw new ShuntError('SHUNT_ERR_STATE', `cannot write ${file}: ${errorText(cause)}`, { cause })
  } finally {
    closeSync(fd)
  }
}
