/** Why an application's directive or share is what it is, in a word or two. Pure. */
import type { EndpointRow, ShareRow } from '../control/types.ts'

/**
 * `health, used` when it gets connections although it is not active, for want of better ones; `slow start` while its share grows.
 * @param shares of the node that says so; `null` where it does not choose
 */
export const causeText = (row: EndpointRow, shares: readonly ShareRow[] | null): string => {
  const share = shares
    ?.find(({ service }) => service === row.service)
    ?.hosts.find(({ host }) => host === row.host)
  if (share === undefined) return row.cause
  const isActive = row.target === 'active' && row.current === 'active'
  if (!isActive && (row.cause === 'health' || row.cause === 'overload')) return `${row.cause}, used`
  // An agent of an earlier version does not say it.
  return row.cause === 'default' && (share.slowStartMs ?? 0) > 0 ? 'slow start' : row.cause
}
