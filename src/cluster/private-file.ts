/** Files that hold secrets or decide who is let in: read only where nobody else can have written them. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'

/** Others may not read it, the group may not write it. */
const FORBIDDEN_MODE = 0o027

/**
 * The text of a file; null when it is not there.
 * @throws Error that says how to put it right
 */
export const readPrivate = (file: string, maxBytes: number): string | null => {
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  try {
    const { size, mode, uid } = fstatSync(fd)
    if (size > maxBytes) throw new Error(`it has ${size} bytes`)
    if (uid !== 0 && uid !== process.geteuid?.())
      throw new Error(
        `it belongs to another user (${uid}): if its content is to be trusted, run chown root ${file}`,
      )
    if ((mode & FORBIDDEN_MODE) !== 0)
      throw new Error(`it is open to other users: if its content is to be trusted, run chmod 600 ${file}`)
    return readFileSync(fd, 'utf8')
  } finally {
    closeSync(fd)
  }
}
