/**
 * How a node stands to its cluster. Removed is removed, for ever. But a node whose admission is in conflict (or was forced out of
 * its place of a token) goes on: an issuer that lies can bring that about for those that joined at it or after its token was made, and the
 * node must be there when the operator's eviction of the other one arrives. Pure.
 */
import { addressesOf } from '../../cluster/fact-addresses.ts'
import type { ClusterView, Member } from '../../cluster/types.ts'

export type Standing =
  | { kind: 'member'; member: Member }
  /** No member, and for now at least not for good. */
  | { kind: 'conflict'; why: string }
  | { kind: 'gone'; why: string }
  /** Nothing speaks of it. */
  | { kind: 'unknown'; why: string }

export const standingOf = (view: ClusterView, ownId: string): Standing => {
  const gone = view.departed.find(({ id }) => id === ownId)
  if (gone?.reason === 'left')
    return { kind: 'gone', why: 'this node has left the cluster; join again with shunt join TOKEN' }
  if (gone !== undefined)
    return {
      kind: 'gone',
      why: 'this node was evicted from the cluster; ask the operator for a token and join again',
    }
  const clash = view.conflicts.find(({ id }) => id === ownId)
  if (clash !== undefined)
    return {
      kind: 'conflict',
      why: `this node is no member for now: ${clash.why}; look at shunt nodes on another node, evict the one that should not be there, or join again under another name or address`,
    }
  const member = view.members.find(({ id }) => id === ownId)
  if (member !== undefined) return { kind: 'member', member }
  return {
    kind: 'unknown',
    why: 'the saved state does not know this node; was its identity file replaced? restore it from a backup, or join again',
  }
}

/** The members as this node goes on with them while it is none: itself as it was, without those that have its name or addresses. */
export const despiteConflict = (view: ClusterView, self: Member): ClusterView => {
  const own = new Set(addressesOf(self))
  const clashes = (other: Member): boolean =>
    other.id === self.id || other.name === self.name || addressesOf(other).some(ip => own.has(ip))
  return { ...view, members: [...view.members.filter(member => !clashes(member)), self] }
}
