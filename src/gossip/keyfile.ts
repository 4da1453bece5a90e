/** Small private files: made once with mode 0600, never overwritten, refused where others can read them. */
import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, fsyncSync, linkSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { errorText, ShuntError } from '../errors.ts'

const MAX_BYTES = 4096
const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

/**
 * Writes a new file with mode 0600: complete or not at all, also across a crash.
 * Throws SHUNT_ERR_IDENTITY if the file exists or cannot be written.
 */
export const writeKeyFile = (file: string, what: string, content: Uint8Array | string): void => {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.new`
  try {
    const fd = openSync(temporary, 'wx', 0o600)
    try {
      writeSync(fd, typeof content === 'string' ? Buffer.from(content) : content)
      fsyncSync(fd)
      // link() refuses an existing name, where rename() would replace it.
      linkSync(temporary, file)
    } finally {
      closeSync(fd)
      unlinkSync(temporary)
    }
  } catch (error) {
    const why =
      codeOf(error) === 'EEXIST'
        ? `it exists and is not overwritten; remove it first if the old ${what} is really to be lost`
        : codeOf(error) === 'ENOENT'
          ? 'its directory does not exist; make it first'
          : errorText(error)
    throw new ShuntError('SHUNT_ERR_IDENTITY', `cannot write the ${what} ${file}: ${why}`, { cause: error })
  }
}

/** Reads such a file. Throws SHUNT_ERR_IDENTITY if it is missing, too long, or open to other users. */
export const readKeyFile = (file: string, what: string): Uint8Array => {
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch (error) {
    const why = codeOf(error) === 'ENOENT' ? 'it does not exist; make it with shunt keygen' : errorText(error)
    throw new ShuntError('SHUNT_ERR_IDENTITY', `cannot read the ${what} ${file}: ${why}`, { cause: error })
  }
  try {
    const { mode } = fstatSync(fd)
    // A service group may read it; the rest of the world may not, and nobody else may replace it.
    if ((mode & 0o027) !== 0)
      throw new ShuntError(
        'SHUNT_ERR_IDENTITY',
        `the ${what} ${file} is open to other users (mode ${(mode & 0o777).toString(8)}): run chmod 600 ${file}`,
      )
    const buffer = new Uint8Array(MAX_BYTES + 1)
    const length = readSync(fd, buffer, 0, buffer.length, 0)
    if (length > MAX_BYTES)
      throw new ShuntError('SHUNT_ERR_IDENTITY', `the ${what} ${file} is too long to be one; check the path`)
    return buffer.slice(0, length)
  } catch (error) {
    if (error instanceof ShuntError) throw error
    throw new ShuntError('SHUNT_ERR_IDENTITY', `cannot read the ${what} ${file}: ${errorText(error)}`, {
      cause: error,
    })
  } finally {
    closeSync(fd)
  }
}
