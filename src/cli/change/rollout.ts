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

/** A link that fails for a moment is there again within this: a silent agent is noticed after a second, and called again within two. */
export const UNHEARD_MS = 3_000

/** Since when each of the unheard has been so. Pure. */
const sinceWhen = (
  former: ReadonlyMap<string, number>,
  unheard: readonly string[],
  nowMs: number,
): Map<string, number> => new Map(unheard.map(node => [node, former.get(node) ?? nowMs]))

export interface RolloutWait {
  revision: number
  text: string
  /** At most this long; 0 looks once. */
  waitMs: number
  /** What the agent here says of the document in force. */
  ask(): Promise<ConfigData>
  now?(): number
  sleep(ms: number): Promise<void>
}

/**
 * Until all that are heard have the revision in force, and the others were given UNHEARD_MS to be heard again: those are worth no
 * longer wait, for they may be down for good.
 * @throws ShuntError SHUNT_ERR_CONFLICT when another operator's text won
 */
export const followRollout = async (wait: RolloutWait): Promise<Rollout> => {
  const { revision, text, waitMs, now = () => performance.now() } = wait
  const endMs = now() + waitMs
  let unheard: ReadonlyMap<string, number> = new Map()
  for (;;) {
    const data = await wait.ask()
    checkStillWon(data, revision, text)
    const rollout = rolloutOf(data.rollout, revision)
    const nowMs = now()
    unheard = sinceWhen(unheard, rollout.unheard, nowMs)
    const mayReturn = [...unheard.values()].some(sinceMs => nowMs - sinceMs < UNHEARD_MS)
    if ((rollout.behind.length === 0 && !mayReturn) || nowMs >= endMs) return rollout
    await wait.sleep(Math.min(LOOK_MS, Math.max(1, endMs - nowMs)))
  }
}

/** As followRollout, asking the agent at `socket`; `signal` gives up early. */
export const awaitRollout = (
  socket: string,
  revision: number,
  text: string,
  waitMs: number,
  signal: AbortSignal,
): Promise<Rollout> =>
  followRollout({
    ...{ revision, text, waitMs },
    ask: async () => (await askConfig(socket, undefined, signal)).data,
    sleep: ms => delay(ms, undefined, { signal }),
  })
