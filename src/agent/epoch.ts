import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FILE = 'epoch'

const stored = (stateDir: string): number => {
  try {
    const value = Number(readFileSync(join(stateDir, FILE), 'utf8').trim())
    return Number.isInteger(value) && value >= 0 && value < 2 ** 32 ? value : 0
  } catch {
    return 0
  }
}

/** Records that `epoch` is in use. Written whole, then renamed: a crash leaves the old one. */
export const saveEpoch = (stateDir: string, epoch: number): void => {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const path = join(stateDir, FILE)
  writeFileSync(`${path}.new`, `${epoch}\n`)
  renameSync(`${path}.new`, path)
}

/**
 * A new epoch for this tunnel address (decision 2): above the stored one, and above all that ran before the state
 * directory was lost, as long as the clock does not go back (hosts refuse an older epoch, and the forwarder then
 * goes past theirs).
 */
export const nextEpoch = (stateDir: string, unixS: number): number => {
  const epoch = Math.max(stored(stateDir) + 1, unixS) >>> 0
  saveEpoch(stateDir, epoch)
  return epoch
}
