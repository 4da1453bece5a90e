/** What `shunt atoms` shows of this node's part of the atom manager. */
import type { NodeConfig } from '../../config/schema.ts'
import { isShort } from '../../control/atom-copies.ts'
import type { AtomData, AtomQuery, AtomsData } from '../../control/types.ts'
import { PLACE, type Place } from '../../dam/atom-table.ts'
import type { Dam } from '../../dam/dam.ts'
import { timeOf } from '../../dam/order.ts'
import { ATOM_KIND, FULL, type Member } from '../../dam/types.ts'
import { flowKeyOf } from '../trace-key.ts'
import type { ServiceAtoms } from './atom-counts.ts'
import { type DamPolicy, keyOf } from './policy.ts'

const PLACE_NAME: Record<Place, AtomData['place']> = {
  [PLACE.own]: 'own',
  [PLACE.copy]: 'copy',
  [PLACE.cached]: 'cached',
  [PLACE.zombie]: 'ended',
}

export interface AtomsViewParts {
  readonly dam: Dam | null
  readonly self: Member | null
  readonly linked: ReadonlySet<string>
  readonly settled: boolean
  readonly config: NodeConfig
  readonly policy: DamPolicy
  readonly services: ReadonlyMap<string, ServiceAtoms>
  readonly counters: Record<string, number>
  readonly unsure: number
}

const wanted = (level: number): number | 'full' => (level === FULL ? 'full' : level)

export const atomsView = (parts: AtomsViewParts, query: AtomQuery): AtomsData => {
  const { dam, self, linked, settled, config, policy, services, counters, unsure } = parts
  const table = dam?.table
  const members = dam?.location.members ?? []
  // One that leaves is given no copies any more.
  const possible = members.filter(({ member, leaving }) => member !== self?.member && leaving !== true).length
  const rows = config.services.map(service => {
    const copies = policy.copiesOfName(service.name)
    const counts = services.get(service.name)
    return {
      service: service.name,
      wanted: copies === null ? ('none' as const) : wanted(copies),
      possible,
      own: counts?.own ?? 0,
      copies: counts?.copies ?? 0,
    }
  })
  return {
    incarnation: self?.incarnation ?? null,
    settled: dam === null ? null : settled && !rows.some(isShort),
    moving: dam !== null && !settled,
    members: members.map(({ member, incarnation, leaving = false }) => ({
      name: member,
      self: member === self?.member,
      incarnation,
      leaving,
      linked: member === self?.member || linked.has(member),
    })),
    used: table?.size ?? 0,
    capacity: table?.capacity ?? config.limits.atoms,
    bytes: table?.bytes ?? 0,
    places: {
      own: table?.count(PLACE.own) ?? 0,
      copies: table?.count(PLACE.copy) ?? 0,
      cached: table?.count(PLACE.cached) ?? 0,
      ended: table?.count(PLACE.zombie) ?? 0,
    },
    evicted: table === undefined ? 0 : table.evicted.cached + table.evicted.zombie + table.evicted.copy,
    unsure,
    services: rows,
    counters,
    atom: dam === null || query.flow === undefined ? null : atomData(dam, policy, query.flow),
  }
}

const atomData = (dam: Dam, policy: DamPolicy, flow: NonNullable<AtomQuery['flow']>): AtomData | null => {
  const slot = dam.table.find(keyOf(flowKeyOf(flow), ATOM_KIND.flow))
  if (slot < 0) return null
  const { host, owner, home, generation, level, zombie } = dam.table.atom(slot)
  return {
    place: PLACE_NAME[dam.table.place(slot)],
    host: policy.hostName(host) ?? null,
    owner: owner.member,
    home: home.member,
    generation,
    wanted: wanted(level),
    ageMs: Math.max(0, Math.floor(dam.clockMs(Date.now(), performance.now())) - timeOf(generation)),
    idleMs: Math.max(0, Math.round(performance.now() - dam.table.lastUseMs(slot))),
    ended: zombie,
  }
}
