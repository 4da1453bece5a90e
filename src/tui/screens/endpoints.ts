/** What the health and load tables say of one host, all its applications together. Pure. */

import { absentOf } from '../../cli/absent.ts'
import { causeText } from '../../cli/cause.ts'
import type { AbsentRow, EndpointRow, HealthData, ShareRow } from '../../control/types.ts'
import type { DirectiveState } from '../../health/types.ts'
import type { Style } from '../lines.ts'
import { type Cell, cell, stateCell } from './screen.ts'

const WORST = ['absent', 'failing', 'unknown', 'healthy'] as const
const STRICTEST = ['inactive', 'draining', 'active'] as const

export const endpointsOf = (health: HealthData | null, host: string): EndpointRow[] =>
  health?.cache?.find(table => table.host === host)?.rows ??
  health?.own?.rows.filter(row => row.host === host) ??
  []

/** Of the host: what should listen there and does not. */
export const absentFrom = (health: HealthData | null, host: string): AbsentRow[] =>
  absentOf(health).filter(row => row.host === host)

/** `failing`, or `failing 1/3` when it is not so of all. */
const worst = <T extends string>(order: readonly T[], values: readonly T[]): string | null => {
  const word = order.find(each => values.includes(each))
  if (word === undefined) return null
  const few = values.filter(value => value === word).length
  return few === values.length ? word : `${word} ${few}/${values.length}`
}

export const healthCell = (rows: readonly EndpointRow[], absent: readonly AbsentRow[]): Cell => {
  const text = worst<(typeof WORST)[number]>(WORST, [
    ...rows.map(row => row.health),
    ...absent.map(() => 'absent' as const),
  ])
  return text === null ? cell(null) : { text, style: stateCell(text.split(' ')[0]!).style }
}

/** Of the busiest one. */
export const loadCell = (rows: readonly EndpointRow[]): Cell => {
  if (rows.length === 0) return cell(null)
  const load = Math.max(...rows.map(row => row.load))
  const style: Style | undefined = load >= 100 ? 'bad' : load >= 75 ? 'odd' : undefined
  return cell(`${load}%`, { sort: load, ...(style && { style }) })
}

type Shares = readonly ShareRow[] | null

/** Why rows are not active: `order`, or all causes that there are; '' for none. */
const causesText = (rows: readonly EndpointRow[], shares: Shares): string => {
  const causes = new Set(rows.filter(row => row.target !== 'active').map(row => causeText(row, shares)))
  return [...causes].sort().join(',')
}

/** The strictest target; `active>draining` while not every unit follows it yet. Where there is room with the cause: `draining (order)`. */
export const directiveCell = (rows: readonly EndpointRow[], shares: Shares = null): Cell => {
  const target = worst<DirectiveState>(
    STRICTEST,
    rows.map(row => row.target),
  )
  if (target === null) return cell(null)
  const open = rows.find(row => row.target !== row.current)
  const word = open === undefined ? target : `${open.current}>${open.target}`
  const style = word === 'active' ? 'good' : 'odd'
  const causes = causesText(open === undefined ? rows : [open], shares)
  return causes === '' ? { text: word, style } : { text: `${word} (${causes})`, narrow: word, style }
}

/** Of the details of a node: a line an application. */
export const endpointFacts = (
  rows: readonly EndpointRow[],
  absent: readonly AbsentRow[],
  shares: Shares = null,
): [string, string][] => [
  ...rows.map((row): [string, string] => {
    const directive = row.target === row.current ? row.current : `${row.current}>${row.target}`
    const why = causeText(row, shares)
    const cause = why === 'default' ? '' : ` (${why})`
    return [row.service ?? row.vip, `${row.vip} ${row.health}, load ${row.load}%, ${directive}${cause}`]
  }),
  ...absent.map(({ service, vip, order }): [string, string] => [
    service,
    `${vip} absent: nothing listens${order === null ? '' : `, ${order} (order)`}`,
  ]),
]
