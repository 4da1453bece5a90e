/** What the atom manager of this node says of itself: counters, limits, and what `shunt atoms` shows. */
import type { NodeConfig } from '../../config/schema.ts'
import type { AtomQuery, AtomsData, LimitStatus } from '../../control/types.ts'
import type { Dam } from '../../dam/dam.ts'
import type { Member } from '../../dam/types.ts'
import { AtomCounts } from './atom-counts.ts'
import { atomsView } from './atoms-view.ts'
import type { DamLinks } from './dam-links.ts'
import type { DamPolicy } from './policy.ts'

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
  readonly counters: { readonly own: Counters; clients: Counters; resolver: Counters; checks: Counters }
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
    const { dam, links, counters } = this.#parts
    const core = dam()?.counters
    const all = {
      ...counters.own,
      ...links.counted(),
      ...counters.clients,
      refused_atoms: core?.refusedAtoms ?? 0,
      refused_room: core?.refusedRoom ?? 0,
      refused_queries: core?.refusedQueries ?? 0,
      outdated: core?.outdated ?? 0,
      unasked_returns: core?.unaskedReturns ?? 0,
    }
    const named = (prefix: string, values: Counters): [string, number][] =>
      Object.entries(values).map(([name, value]) => [`${prefix}_${name}`, value])
    return Object.fromEntries([
      ...named('atoms', all),
      ...named('atoms_resolve', counters.resolver),
      ...named('atoms_check', counters.checks),
    ])
  }

  limits(): LimitStatus[] {
    const table = this.#parts.dam()?.table
    if (table === undefined) return []
    const { cached, zombie, copy } = table.evicted
    return [{ name: 'atoms', used: table.size, capacity: table.capacity, evicted: cached + zombie + copy }]
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
