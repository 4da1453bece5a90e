/** Waiting for agents and web servers to be ready; every wait is bounded, and says what it waited for in vain. */
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { get } from '../control/client.ts'
import type { StatusData } from '../control/types.ts'
import { errorText, ShuntError } from '../errors.ts'
import { placeFiles } from './node-config.ts'
import { lastLines } from './nodes.ts'
import { isAlive } from './processes.ts'
import { type LabProcess, type LabState, labDir } from './state.ts'

const POLL_MS = 25

/** What a node still lacks, or null when it is ready. */
export const notReady = (status: StatusData): string | null => {
  if (status.state !== 'running') return `it is ${status.state}`
  const missing = status.peers.filter(p => p.state !== 'alive').map(p => `${p.name} ${p.state}`)
  return missing.length === 0 ? null : `its peers are not all alive: ${missing.join(', ')}`
}

/**
 * Until `lacks` answers null.
 * @throws ShuntError SHUNT_ERR_LAB when `timeoutMs` is over or the process has ended, with the end of its log
 */
const waitFor = async (
  p: LabProcess,
  log: string,
  timeoutMs: number,
  lacks: () => Promise<string | null>,
): Promise<void> => {
  const endAt = performance.now() + timeoutMs
  for (;;) {
    const alive = isAlive(p)
    const lack = alive ? await lacks() : 'it has ended'
    if (lack === null) return
    if (!alive || performance.now() > endAt)
      throw new ShuntError(
        'SHUNT_ERR_LAB',
        `the ${p.kind} of ${p.place} did not get ready within ${timeoutMs} ms: ${lack}. The end of its log:\n${lastLines(log)}`,
      )
    await delay(POLL_MS)
  }
}

/** Running, and in touch with every peer. */
export const waitForAgent = (state: LabState, p: LabProcess, timeoutMs: number): Promise<void> => {
  const files = placeFiles(labDir(state.name), p.place)
  return waitFor(p, files.agentLog, timeoutMs, async () => {
    try {
      return notReady((await get(files.socket, '/v1/status')).data as StatusData)
    } catch (error) {
      return errorText(error)
    }
  })
}

/** nginx writes its pid file when it listens. */
export const waitForWeb = (state: LabState, p: LabProcess, timeoutMs: number): Promise<void> => {
  const prefix = placeFiles(labDir(state.name), p.place).web
  return waitFor(p, `${prefix}/error.log`, timeoutMs, async () =>
    existsSync(`${prefix}/nginx.pid`) ? null : 'it does not listen yet',
  )
}
