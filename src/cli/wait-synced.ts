/** Waits until every member whose agent is alive knows what the asked one knows. */
import { setTimeout as delay } from 'node:timers/promises'
import type { NodesData } from '../control/types.ts'
import { askNodes } from './operator.ts'

const POLL_MS = 100

export interface Synced {
  /** Agents that are alive and do not know it yet. */
  behind: string[]
  /** Agents that cannot be heard. */
  away: string[]
}

export const syncedOf = ({ nodes }: NodesData): Synced => ({
  behind: nodes.filter(n => n.agent === 'alive' && !n.synced).map(n => n.name),
  away: nodes.filter(n => n.agent !== 'alive').map(n => n.name),
})

/** As it is when all are, or when the time is over. `waitMs` 0: as it is now. */
export const waitSynced = async (socket: string, waitMs: number, signal: AbortSignal): Promise<Synced> => {
  const untilMs = performance.now() + waitMs
  for (;;) {
    const synced = syncedOf(await askNodes(socket, signal))
    if (synced.behind.length === 0 || performance.now() >= untilMs) return synced
    await delay(POLL_MS, undefined, { signal })
  }
}
