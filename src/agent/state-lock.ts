/**
 * One agent at a time has a node's state: its files, the tables in memory that it shares with the next agent, pins, rules, addresses. The
 * kernel frees the lock however its holder ends.
 */
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ShuntError } from '../errors.ts'
import { tryLock } from '../os/flock.ts'
import { prepareStateDir } from './kernel-state.ts'

const FILE = 'lock'
const RETRY_MS = 50

/**
 * @param patienceMs how long one that is about to end is waited for
 * @returns the function that frees it
 * @throws ShuntError SHUNT_ERR_OS when another process holds it, SHUNT_ERR_CAPABILITY for a directory that cannot be used
 */
export const lockState = async (stateDir: string, patienceMs = 2000): Promise<() => void> => {
  prepareStateDir(stateDir)
  const fd = openSync(join(stateDir, FILE), 'a', 0o600)
  const untilMs = performance.now() + patienceMs
  while (!tryLock(fd)) {
    if (performance.now() < untilMs) {
      await sleep(RETRY_MS)
      continue
    }
    closeSync(fd)
    throw new ShuntError(
      'SHUNT_ERR_OS',
      `another agent has the state directory ${stateDir}: stop it first (systemctl stop shunt), or set node.stateDir if it is another node's`,
    )
  }
  return () => closeSync(fd)
}
