import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FILE = 'epoch'
const ATOMS_FILE = 'atoms-incarnation'

const stored = (stateDir: string, file: string): number => {
  try {
    const value = Number(readFileSync(join(stateDir, file), 'utf8').trim())
    return Number.isInteger(value) && value >= 0 && value < 2 ** 32 ? value : 0
  } catch {
    return 0
  }
}

/** Written whole, then renamed: a crash leaves the old one. */
const save = (stateDir: string, file: string, value: number): void => {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const path = join(stateDir, file)
  writeFileSync(`${path}.new`, `${value}\n`)
  renameSync(`${path}.new`, path)
}

const next = (stateDir: string, file: string, unixS: number): number => {
  const value = Math.max(stored(stateDir, file) + 1, unixS) >>> 0
  save(stateDir, file, value)
  return value
}

/** Records that `epoch` is in use. */
export const saveEpoch = (stateDir: string, epoch: number): void => save(stateDir, FILE, epoch)

/**
 * A new epoch for this tunnel address (decision 2): above the stored one, and above all that ran before the state
 * directory was lost, as long as the clock does not go back (hosts refuse an older epoch, and the forwarder then
 * goes past theirs).
 */
export const nextEpoch = (stateDir: string, unixS: number): number => next(stateDir, FILE, unixS)

/** A new incarnation of this node's atom table, which begins empty: by the same rule, for the same reasons. */
export const nextIncarnation = (stateDir: string, unixS: number): number => next(stateDir, ATOMS_FILE, unixS)
