/** What is counted of the atom manager, and how full its tables are, for shunt status and shunt atoms. */
import type { LimitStatus } from '../../control/types.ts'
import type { Dam } from '../../dam/dam.ts'
import { MOST_OPEN, type Resolver } from './resolver.ts'

export interface DamCounted {
  readonly dam: Dam | null
  readonly own: Record<string, number>
  readonly links: Record<string, number> & { readonly strangers: number }
  readonly resolver: Resolver
  readonly checks: Record<string, number>
}

export const damCounters = ({ dam, own, links, resolver, checks }: DamCounted): Record<string, number> => {
  const counted = dam?.counters
  const parts = {
    ...own,
    ...links,
    strangers: links.strangers + (counted?.strangers ?? 0),
    refused_atoms: counted?.refusedAtoms ?? 0,
    refused_room: counted?.refusedRoom ?? 0,
    refused_orphans: counted?.refusedOrphans ?? 0,
    refused_queries: counted?.refusedQueries ?? 0,
    refused_asks: counted?.refusedAsks ?? 0,
    outdated: counted?.outdated ?? 0,
    unasked_returns: counted?.unaskedReturns ?? 0,
  }
  const named = (prefix: string, counters: Record<string, number>): [string, number][] =>
    Object.entries(counters).map(([name, value]) => [`${prefix}_${name}`, value])
  return Object.fromEntries([
    ...named('atoms', parts),
    ...named('atoms_resolve', resolver.counters),
    ...named('atoms_check', checks),
  ])
}

export const damLimits = (dam: Dam | null, resolver: Resolver): LimitStatus[] => {
  if (dam === null) return []
  const { table, takenOver, counters } = dam
  const { cached, zombie, copy } = table.evicted
  const { size, most } = takenOver
  const { open, counters: resolved } = resolver
  return [
    { name: 'atoms', used: table.size, capacity: table.capacity, evicted: cached + zombie + copy },
    { name: 'atoms taken over', used: size, capacity: most, evicted: counters.refusedOrphans },
    { name: 'flows looked for', used: open, capacity: MOST_OPEN, evicted: resolved.refused },
  ]
}
