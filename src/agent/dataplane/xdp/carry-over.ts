/**
 * Which maps of the edge object an agent takes over, and which it makes anew. A map that this list does not name is taken over if an agent
 * before had it, with the same layout and size, and begins empty if not: so a new map needs no line here.
 */
import { errorText, ShuntError } from '../../../errors.ts'
import type { BpfMap } from '../../../os/bpf/map.ts'
import type { ObjectMap } from '../../../os/bpf/object-file.ts'
import { EDGE_MAPS } from './layout/edge.ts'
import type { MigrationTable } from './migrations.ts'
import type { PinnedMap } from './pins.ts'
import type { TableMaker } from './table-maker.ts'

/** Said by the plan, whole: the next object's are filled before packets meet them, and the object before keeps its own until then. */
const FROM_PLAN: ReadonlySet<string> = new Set([
  'services',
  'hosts',
  'tunnels',
  'targets',
  'vips',
  'devices',
  'known_hops',
  'class_services',
  'class_choices',
  'class_pools',
  'class_events',
  'captures',
  'learn_tunnels',
  'learnt',
  'mapping_events',
])

/** Fingerprints of the maps that are pinned, by name. */
export const EDGE_LAYOUTS: ReadonlyMap<string, string> = new Map(
  Object.values(EDGE_MAPS).map(({ name, layout }): [string, string] => [name, layout]),
)

export interface CarryOver {
  readonly reuse: Record<string, BpfMap>
  readonly maxEntries: Record<string, number>
  /** What was begun anew though it was there, and why. */
  readonly notes: string[]
}

const fits = (map: ObjectMap, { info }: BpfMap, maxEntries: number): boolean =>
  info.type === map.type &&
  info.keyBytes === map.keyBytes &&
  info.valueBytes === map.valueBytes &&
  info.flags === map.flags &&
  info.maxEntries === maxEntries

/**
 * What loading needs to know.
 * @param tables those that must be gone on with: routes and mappings
 * @throws ShuntError when one of them cannot be
 */
export const carryOver = (
  maps: readonly ObjectMap[],
  pinned: ReadonlyMap<string, PinnedMap>,
  tables: readonly TableMaker[],
  sizes: Readonly<Record<string, number>>,
  migrations: MigrationTable,
): CarryOver => {
  const carry: CarryOver = { reuse: {}, maxEntries: { ...sizes }, notes: [] }
  for (const table of tables) {
    const before = pinned.get(table.name)
    if (before !== undefined) takeTable(table, before, EDGE_LAYOUTS.get(table.name)!, migrations)
    carry.maxEntries[table.name] = table.entries
    if (table.reused !== null) carry.reuse[table.name] = table.reused
  }
  for (const map of maps) {
    const before = pinned.get(map.name)
    const layout = EDGE_LAYOUTS.get(map.name)
    if (before === undefined || layout === undefined || FROM_PLAN.has(map.name)) continue
    if (tables.some(({ name }) => name === map.name)) continue
    if (before.layout === layout && fits(map, before.map, carry.maxEntries[map.name] ?? map.maxEntries))
      carry.reuse[map.name] = before.map
    else carry.notes.push(`${map.name} begins at zero: the version before kept it in another form`)
  }
  return carry
}

const takeTable = (
  table: TableMaker,
  { layout, map }: PinnedMap,
  wanted: string,
  migrations: MigrationTable,
): void => {
  if (layout === wanted) return table.goOnWith(map)
  const migrate = migrations[table.name]?.[layout]
  if (migrate === undefined) throw cannot(table.name, `there is no way from its form ${layout} to ${wanted}`)
  table.migrate(map, migrate)
}

/** The old state stays in force: nothing has been touched. */
export const cannot = (name: string, why: unknown): ShuntError =>
  new ShuntError(
    'SHUNT_ERR_DATAPLANE',
    `${name} of the version before cannot be taken over (${errorText(why)}); that version's data plane stays in force. ` +
      'Start that version again, or give its state up with `shunt agent --flush` and start this one',
    { cause: why },
  )
