/** What the atom manager of this node says of itself: counters, limits, and what `shunt atoms` shows. */
import type { NodeConfig } from '../../config/schema.ts'
import type { AtomQuery, AtomsData, LimitStatus } from '../../control/types.ts'
import type { Dam } from '../../dam/dam.ts'
import type { Member } from '../../dam/types.ts'
import { AtomCounts } from './atom-counts.ts'
import { atomsView } from './atoms-view.ts'
import type { DamLinks } from './dam-links.ts'
import type { DamPolicy } from './policy.ts'
import { MOST_OPEN, type Resolver } from './resolver.ts'

type Counters = Readonly<Record<string, number>>

export interface DamReportParts {
  /** Null: this node is no member. */
  dam(): Dam | null
  self(): Member | null
  policy(): DamPolicy
  config(): NodeConfig
  isSettled(): boolean
  /** Atoms that wait for their hosts to be asked. */
  unsure(): number
  readonly links: Pick<DamLinks, 'linked' | 'counted'>
  readonly resolver: Pick<Resolver, 'open' | 'counters'>
  readonly counters: { readonly own: Counters; clients: Counters; checks: Counters; flowChecks: Counters }
}

export class DamReport {
  readonly #parts: DamReportParts
  readonly #counts: AtomCounts

  constructor(parts: DamReportParts) {
    this.#parts = parts
    const table = () => parts.dam()?.table ?? null
    this.#counts = new AtomCounts(table, key => parts.policy().serviceOf(key)?.name)
  }

  counted(): Record<string, number> {
    const { dam, links, resolver, counters } = this.#parts
    const core = dam()?.counters
    const linked = links.counted()
    const all = {
      ...counters.own,
      ...linked,
      strangers: linked.strangers + (core?.strangers ?? 0),
      ...counters.clients,
      refused_atoms: core?.refusedAtoms ?? 0,
      refused_room: core?.refusedRoom ?? 0,
      refused_orphans: core?.refusedOrphans ?? 0,
      refused_queries: core?.refusedQueries ?? 0,
      refused_asks: core?.refusedAsks ?? 0,
      outdated: core?.outdated ?? 0,
      unasked_returns: core?.unaskedReturns ?? 0,
    }
    const named = (prefix: string, values: Counters): [string, number][] =>
      Object.entries(values).map(([name, value]) => [`${prefix}_${name}`, value])
    return Object.fromEntries([
      ...named('atoms', all),
      ...named('atoms_resolve', resolver.counters),
      ...named('atoms_check', counters.checks),
      ...named('flows_check', counters.flowChecks),
    ])
  }

  limits(): LimitStatus[] {
    const dam = this.#parts.dam()
    if (dam === null) return []
    const { table, takenOver, counters } = dam
    const { cached, zombie, copy } = table.evicted
    const { size, most } = takenOver
    const { open, counters: sought } = this.#parts.resolver
    return [
      { name: 'atoms', used: table.size, capacity: table.capacity, evicted: cached + zombie + copy },
      { name: 'atoms taken over', used: size, capacity: most, evicted: counters.refusedOrphans },
      { name: 'flows looked for', used: open, capacity: MOST_OPEN, evicted: sought.refused },
    ]
  }

  async view(query: AtomQuery): Promise<AtomsData> {
    const services = await this.#counts.look()
    const { dam, self, policy, config, isSettled, unsure, links } = this.#parts
    return atomsView(
      {
        ...{ dam: dam(), self: self(), config: config(), policy: policy(), services },
        linked: links.linked,
        settled: isSettled(),
        counters: this.counted(),
        unsure: unsure(),
      },
      query,
    )
  }
}
