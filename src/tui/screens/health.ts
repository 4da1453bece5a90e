/** Every application of every host: its row of the health and load table, and what this node makes of it. */

import { causeText } from '../../cli/cause.ts'
import { duration } from '../../cli/format.ts'
import { type WideRow, wideRows } from '../../cli/host-rows.ts'
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { OwnRow, ShareRow } from '../../control/types.ts'
import type { Snapshot } from '../model.ts'
import { directiveCell, loadCell } from './endpoints.ts'
import { type Cell, cell, type Details, type Screen, stateCell } from './screen.ts'

const serviceOf = ({ row, absent }: WideRow): string | null => row?.service ?? absent?.service ?? null
const vipOf = ({ row, absent }: WideRow): string | null => row?.vip ?? absent?.vip ?? null

/** As commands take it: HOST/SERVICE, or HOST where no application is known. */
const keyOf = (each: WideRow): string => {
  const name = serviceOf(each) ?? vipOf(each)
  return name === null ? each.host : `${each.host}/${name}`
}

/** The lease is over: what the row says is of the time before. */
const isStale = ({ leaseMs }: WideRow): boolean => leaseMs === 0

const rowsOf = ({ health }: Snapshot): WideRow[] => (health === null ? [] : wideRows(health))

/** What the health rests on is known to the host alone. */
const ownOf = ({ health }: Snapshot, { host, row }: WideRow): OwnRow | undefined =>
  row === null
    ? undefined
    : health?.own?.rows.find(own => own.host === host && own.vip === row.vip && own.protocol === row.protocol)

const ordersFor = ({ nodes }: Snapshot, host: string, service: string | null): DirectiveOrder[] =>
  (nodes.nodes.find(node => node.name === host)?.directives ?? []).filter(
    ({ app, state }) => state !== 'active' && (app === '*' || app === service),
  )

const orderText = (orders: readonly DirectiveOrder[]): string | null =>
  orders.map(({ app, state }) => `${state} (${app === '*' ? 'all of the host' : app})`).join(', ') || null

const healthOf = (each: WideRow): Cell => {
  if (each.absent !== undefined) return stateCell('absent')
  if (each.row === null) return cell(null)
  return isStale(each) ? cell(`was ${each.row.health}`, { style: 'dim' }) : stateCell(each.row.health)
}

const directiveOf = (each: WideRow, shares: readonly ShareRow[] | null): Cell => {
  if (each.row !== null) return isStale(each) ? cell(null) : directiveCell([each.row], shares)
  const order = each.absent?.order ?? null
  return order === null ? cell(null) : { text: `${order} (order)`, narrow: order, style: 'odd' }
}

const leaseCell = (leaseMs: WideRow['leaseMs']): Cell =>
  leaseMs === 0
    ? cell('over', { sort: 0, style: 'bad' })
    : cell(duration(leaseMs ?? null), { sort: leaseMs ?? -1 })

const percentText = (percent: number | null): string | null => (percent === null ? null : `${percent}%`)

const waitText = (own: OwnRow | undefined): string | null => {
  if (own?.waiting == null) return null
  const units = own.waiting.units.map(({ unit, why }) => `${unit} (${why})`).join(', ')
  return `${duration(own.waiting.sinceMs)}, for ${units || 'the last answer'}`
}

const details = (key: string, snapshot: Snapshot): Details | null => {
  const each = rowsOf(snapshot).find(row => keyOf(row) === key)
  if (each === undefined) return null
  const { host, row, leaseMs, percent, absent } = each
  const own = ownOf(snapshot, each)
  const stale = isStale(each) ? ', as it was when the host was last heard' : ''
  const facts: [string, string | null][] = [
    ['host', host],
    ['service', serviceOf(each)],
    ['VIP', vipOf(each)],
    ['health', absent === undefined ? row && `${row.health}${stale}` : 'absent: nothing listens'],
    ['why', own?.why ?? `its host knows: shunt hosts -o wide --node ${host}`],
    ['load', row && `${row.load}% of what it can do`],
    ['capacity', row === null ? (absent ? String(absent.capacity) : null) : String(row.capacity)],
    ['target', row && `${row.target}: what the host wants of the units${stale}`],
    ['current', row && `${row.current}: what all units are known to do${stale}`],
    ['cause', row && causeText(row, snapshot.health?.shares ?? null)],
    ['waits', waitText(own)],
    ['order', orderText(ordersFor(snapshot, host, serviceOf(each)))],
    ['lease', leaseMs === 0 ? 'over: it gets no new connections' : duration(leaseMs ?? null)],
    ['share', percentText(percent)],
  ]
  return {
    title: key,
    facts: facts.map(([name, value]) => [name, value === null || value === '' ? '-' : value]),
    subject: host,
  }
}

export const health: Screen = {
  id: 'health',
  columns: [
    { id: 'host', head: 'HOST', min: 8 },
    { id: 'service', head: 'SERVICE', min: 8 },
    { id: 'vip', head: 'VIP', drop: 2 },
    { id: 'health', head: 'HEALTH' },
    { id: 'load', head: 'LOAD', right: true },
    { id: 'directive', head: 'DIRECTIVE', min: 17 },
    { id: 'capacity', head: 'CAPACITY', right: true, drop: 3 },
    { id: 'lease', head: 'LEASE', right: true },
    { id: 'share', head: 'SHARE', right: true },
    { id: 'why', head: 'WHY', min: 16, grow: 80, drop: 1 },
  ],
  sort: { column: 'host', reverse: false },
  rows: (snapshot, _history, scope) =>
    rowsOf(snapshot)
      .filter(each => scope.host === undefined || each.host === scope.host)
      .filter(each => scope.service === undefined || serviceOf(each) === scope.service)
      .map(each => ({
        key: keyOf(each),
        cells: [
          cell(each.host),
          cell(serviceOf(each)),
          cell(vipOf(each)),
          healthOf(each),
          isStale(each) ? cell(null) : loadCell(each.row === null ? [] : [each.row]),
          directiveOf(each, snapshot.health?.shares ?? null),
          cell(each.row?.capacity ?? each.absent?.capacity ?? null),
          leaseCell(each.leaseMs),
          cell(percentText(each.percent), { sort: each.percent ?? -1 }),
          cell(ownOf(snapshot, each)?.why ?? null),
        ],
      })),
  open: () => null,
  flows: key => ({ host: key.split('/')[0]! }),
  details,
  empty: 'no applications are known here; a host or a load balancing unit knows them (shunt top on one)',
}
