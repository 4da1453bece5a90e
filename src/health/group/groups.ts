/**
 * Groups of hosts (R-B7, figure 16), from the membership alone: all nodes that know the same hosts cut them the same way.
 *
 * Hosts are sorted by id and cut into 2^d runs of equal length (d as small as the size allows, so runs are more than half full).
 * One host that comes or goes moves at most one host over each border between runs: at most 2^d - 1 of all hosts change
 * their group. Only when the number of hosts passes size * 2^d is every run cut in two; then the first half of each run keeps
 * its number (numbers are the positions with their bits reversed), so that about half of the hosts change their group.
 */
import { GROUP_SIZE, MAX_ENTRIES } from '../types.ts'

export interface GroupHost {
  readonly name: string
  /** Peer id. */
  readonly id: string
  /** Host number (u32). */
  readonly host: number
}

export interface Group {
  readonly index: number
  /** Sorted by id. */
  readonly hosts: GroupHost[]
}

const reversed = (position: number, bits: number): number => {
  let result = 0
  for (let bit = 0; bit < bits; bit++) result = result * 2 + ((position >> bit) & 1)
  return result
}

/** `size`: hosts of a group at most, 1 to MAX_ENTRIES (a consolidated heartbeat holds no more). Sizes differ by at most one; no group is empty. Sorted by index. */
export const groupsOf = (hosts: readonly GroupHost[], size = GROUP_SIZE): Group[] => {
  const sorted = [...hosts].sort((a, b) => (a.id < b.id ? -1 : 1))
  const most = Math.min(Math.max(1, size), MAX_ENTRIES)
  let bits = 0
  while (2 ** bits * most < sorted.length) bits++
  const count = 2 ** bits
  const border = (position: number): number => Math.floor((position * sorted.length) / count)
  return Array.from({ length: count }, (_, at) => ({
    index: reversed(at, bits),
    hosts: sorted.slice(border(at), border(at + 1)),
  }))
    .filter(group => group.hosts.length > 0)
    .sort((a, b) => a.index - b.index)
}
