/** Waits until a revision of the cluster document is in force wherever an agent can be heard. */
import { setTimeout as delay } from 'node:timers/promises'
import type { ConfigData } from '../../control/types.ts'
import { ShuntError } from '../../errors.ts'
import { askConfig } from './current.ts'

const LOOK_MS = 200

export type RolloutRow = ConfigData['rollout'][number]

export interface Rollout {
  rollout: RolloutRow[]
  /** Heard, and not there yet. */
  behind: string[]
  /** Whose agents cannot be heard: they follow when they can. */
  unheard: string[]
}

/** Pure. */
export const rolloutOf = (rows: readonly RolloutRow[], revision: number): Rollout => ({
  rollout: [...rows],
  behind: rows.filter(r => r.revision !== null && r.revision < revision).map(r => r.node),
  unheard: rows.filter(r => r.revision === null).map(r => r.node),
})

/**
 * Whether the text that was applied as `revision` is still what the cluster runs by, or was replaced by a later revision.
 * Two operators at nodes that cannot reach each other may both be accepted; then one of them loses everywhere.
 * @throws ShuntError SHUNT_ERR_CONFLICT
 */
export const checkStillWon = (config: ConfigData, revision: number, text: string): void => {
  if (config.revision !== revision || config.text === text) return
  throw new ShuntError(
    'SHUNT_ERR_CONFLICT',
    `revision ${revision} of another operator came at the same time and won; nothing of yours is in force. Look at it with shunt config show, and apply again`,
  )
}

/**
 * @param waitMs at most this long; 0 looks once
 * @param signal gives up waiting early
 */
export const awaitRollout = async (
  socket: string,
  revision: number,
  text: string,
  waitMs: number,
  signal: AbortSignal,
): Promise<Rollout> => {
  const endMs = performance.now() + waitMs
  for (;;) {
    const { data } = await askConfig(socket, undefined, signal)
    checkStillWon(data, revision, text)
    const rollout = rolloutOf(data.rollout, revision)
    // An agent that is not heard is worth waiting for only while others are awaited too.
    if (rollout.behind.length === 0 || performance.now() >= endMs) return rollout
    await delay(Math.min(LOOK_MS, Math.max(1, endMs - performance.now())), undefined, { signal })
  }
}
