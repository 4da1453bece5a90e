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

/** What a node still lacks, or null when it is ready. `runs` says of a peer whether its agent has been started. */
export const notReady = (status: StatusData, runs: (peer: string) => boolean = () => true): string | null => {
  if (status.state !== 'running') return `it is ${status.state}`
  const missing = status.peers
    .filter(p => p.state !== 'alive' && runs(p.name))
    .map(p => `${p.name} ${p.state}`)
  return missing.length === 0 ? null : `its peers are not all alive: ${missing.join(', ')}`
}

/** What a process of a kind still lacks, and where it says why. */
interface Readiness {
  log: string
  lacks: () => Promise<string | null>
}

/** An agent is ready when it runs and is in touch with every peer whose agent runs. */
const agentReadiness = (state: LabState, place: string): Readiness => {
  const files = placeFiles(labDir(state.name), place)
  return {
    log: files.agentLog,
    lacks: () =>
      get(files.socket, '/v1/status').then(
        answer => notReady(answer.data as StatusData, peer => agentRuns(state, peer)),
        errorText,
      ),
  }
}

const agentRuns = (state: LabState, place: string): boolean =>
  state.processes.some(p => p.place === place && p.kind === 'agent' && isAlive(p))

/** nginx writes its pid file when it listens. */
const webReadiness = (state: LabState, place: string): Readiness => {
  const prefix = placeFiles(labDir(state.name), place).web
  return {
    log: `${prefix}/error.log`,
    lacks: async () => (existsSync(`${prefix}/nginx.pid`) ? null : 'it does not listen yet'),
  }
}

const waitFor = async (
  state: LabState,
  p: LabProcess,
  timeoutMs: number,
  stop: AbortSignal,
): Promise<void> => {
  const { log, lacks } = p.kind === 'agent' ? agentReadiness(state, p.place) : webReadiness(state, p.place)
  const endAt = performance.now() + timeoutMs
  const fail = (how: string): ShuntError =>
    new ShuntError(
      'SHUNT_ERR_LAB',
      `the ${p.kind} of ${p.place} ${how}. The end of its log:\n${lastLines(log)}`,
    )
  for (;;) {
    if (!isAlive(p)) throw fail('has ended before it was ready')
    const lack = await lacks()
    if (lack === null || stop.aborted) return
    if (performance.now() > endAt) throw fail(`was not ready within ${timeoutMs} ms: ${lack}`)
    await delay(POLL_MS)
  }
}

/**
 * Until all of them are ready.
 * @throws ShuntError SHUNT_ERR_LAB at the first that has ended or is not ready in time, with the end of its log
 */
export const waitForAll = async (
  state: LabState,
  processes: LabProcess[],
  timeoutMs: number,
): Promise<void> => {
  const stop = new AbortController()
  try {
    await Promise.all(processes.map(p => waitFor(state, p, timeoutMs, stop.signal)))
  } finally {
    stop.abort()
  }
}
