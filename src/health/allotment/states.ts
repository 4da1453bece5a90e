/** What a unit lets happen to the flows that hosts have already, and where it looks for one that it does not know. Pure. */
import type { DirectiveState } from '../types.ts'
import { availableCapacity, type Candidate, type Share } from './shares.ts'

export interface HostState {
  readonly host: string
  readonly state: DirectiveState
  /** For the guess where a flow of unknown origin may be; 0: nowhere. */
  readonly weight: number
  /** Its load is at the threshold of the service; left out: it is not, or there is none. */
  readonly full?: true
}

const STRICTNESS: Record<DirectiveState, number> = { active: 0, draining: 1, inactive: 2 }

const stricter = (a: DirectiveState, b: DirectiveState): DirectiveState =>
  STRICTNESS[a] > STRICTNESS[b] ? a : b

/**
 * A host counts on a stricter state as soon as all units hold it, and offers a milder one only then: so the stricter of target and
 * current state is what a unit follows. Those that have a share are active whatever their row says (all-unhealthy mode). Of several
 * rows of one host the mildest counts, since packets do not tell them apart.
 */
export const statesOf = (
  candidates: readonly Candidate[],
  shares: readonly Pick<Share, 'host'>[],
  fullAt?: number,
): HostState[] => {
  const chosen = new Set(shares.map(({ host }) => host))
  const states = new Map<string, HostState>()
  for (const { host, row } of candidates) {
    const before = states.get(host)
    const own = chosen.has(host) ? 'active' : stricter(row.target, row.current)
    const state = before === undefined || STRICTNESS[own] < STRICTNESS[before.state] ? own : before.state
    const full = fullAt !== undefined && row.load >= fullAt && (before === undefined || before.full === true)
    const weight = (before?.weight ?? 0) + availableCapacity(row)
    states.set(host, { host, state, weight, ...(full ? { full } : {}) })
  }
  return [...states.values()]
}
