/**
 * Members that left, or lost the role host or forwarder, stay known for a while: their running flows go on, and nothing new
 * is sent to them (R-A5). An evicted one is forgotten at once. Pure.
 */
import type { ClusterView, Member } from '../../cluster/types.ts'
import type { Role } from '../../config/schema.ts'

/** Roles that carry flows. A classifier's are chosen already when it goes. */
const CARRYING: readonly Role[] = ['forwarder', 'host']

export interface Retained {
  readonly member: Member
  /** What it still is, besides its roles in force. */
  readonly roles: readonly Role[]
  readonly untilMs: number
}
export type Retention = ReadonlyMap<string, Retained>

/** What is kept after the view has changed, and what of it is over. */
export const retain = (
  before: Retention,
  old: ClusterView | null,
  now: ClusterView,
  drainMs: number,
  nowMs: number,
): Map<string, Retained> => {
  const kept = new Map<string, Retained>()
  const evicted = new Set(now.departed.filter(d => d.reason === 'evicted').map(d => d.id))
  const current = new Map(now.members.map(member => [member.id, member]))
  const former = new Map(old?.members.map(member => [member.id, member]))
  for (const id of new Set([...before.keys(), ...former.keys()])) {
    if (evicted.has(id)) continue
    const earlier = before.get(id)
    const held = former.get(id)?.roles ?? []
    const has = current.get(id)?.roles ?? []
    const lost = CARRYING.filter(role => held.includes(role) && !has.includes(role))
    const still = (earlier !== undefined && earlier.untilMs > nowMs ? earlier.roles : []).filter(
      role => !has.includes(role) && !lost.includes(role),
    )
    if (lost.length + still.length === 0) continue
    kept.set(id, {
      member: current.get(id) ?? former.get(id) ?? earlier!.member,
      roles: [...lost, ...still],
      untilMs: lost.length > 0 ? nowMs + drainMs : earlier!.untilMs,
    })
  }
  return kept
}

/** When the next one is over; Infinity with none. */
export const retentionEndMs = (kept: Retention): number =>
  Math.min(Number.POSITIVE_INFINITY, ...Array.from(kept.values(), entry => entry.untilMs))
