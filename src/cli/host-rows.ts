/** The health and load tables as lines of `shunt hosts -o wide`. Pure, but for colour. */
import type { AbsentRow, EndpointRow, HealthData, ShareRow } from '../control/types.ts'
import { absentOf, missedOf, missedRemedy, missedText } from './absent.ts'
import { duration } from './format.ts'
import { allOverloadedText, failOpenText, noneText, whyNone } from './ready.ts'
import { paintState } from './state.ts'
import { table } from './table.ts'

export interface WideRow {
  host: string
  /** `null` for a host of which there are no rows. */
  row: EndpointRow | null
  /** Instead of a row: the application that should be there. */
  absent?: AbsentRow
  /** `undefined`: not of a cache. */
  leaseMs: number | null | undefined
  /** Of the service's new connections; `null` where this node does not choose. */
  percent: number | null
}

const shareOf = (shares: readonly ShareRow[] | null, { host, service }: EndpointRow): number | null => {
  const share = shares?.find(each => each.service === service)
  if (share === undefined) return null
  return share.hosts.find(each => each.host === host)?.percent ?? 0
}

/** What this node's cache has of all hosts; where it is no unit, its own table. */
export const wideRows = (data: HealthData): WideRow[] => {
  const { own, cache, shares } = data
  if (cache === null)
    return [
      ...(own?.rows ?? []).map(row => ({ host: row.host, row, leaseMs: undefined, percent: null })),
      ...absentOf(data).map(absent => ({
        ...{ host: absent.host, row: null, absent, leaseMs: undefined, percent: null },
      })),
    ]
  return cache.flatMap(({ host, leaseMs, rows }): WideRow[] => {
    const all: WideRow[] = [
      ...rows.map(row => ({ host, row, leaseMs, percent: shareOf(shares, row) })),
      ...absentOf(data)
        .filter(absent => absent.host === host)
        .map(absent => ({ host, row: null, absent, leaseMs, percent: null })),
    ]
    return all.length === 0 ? [{ host, row: null, leaseMs, percent: null }] : all
  })
}

const endpointText = ({ host, service, vip }: EndpointRow): string => `${service ?? vip} on ${host}`

const noneTrouble = (data: HealthData, service: string): string => {
  const why = whyNone(data, service)
  return why === '' ? noneText(service) : `${noneText(service)} (${why})`
}

/** What keeps connections away from a host, or sends them to one that should get none. */
export const wideTroubles = (data: HealthData): string[] => [
  ...wideRows(data).flatMap(({ row }) =>
    row?.health === 'failing' ? [`${endpointText(row)} is failing`] : [],
  ),
  ...missedOf(data).map(row => `${missedText(row)}: ${missedRemedy(row)}`),
  ...(data.cache ?? [])
    .filter(({ leaseMs, rows }) => leaseMs === 0 && rows.length > 0)
    .map(({ host }) => `the lease of ${host} is over: it gets no new connections`),
  ...(data.shares ?? []).flatMap(({ service, panic, hosts }) => {
    if (panic) return [failOpenText(service)]
    return hosts.length === 0 ? [noneTrouble(data, service)] : []
  }),
]

/** What is as it is meant to be, and yet not what one expects: hosts that have too much to do. */
export const wideRemarks = (data: HealthData): string[] => {
  const used = new Set((data.shares ?? []).filter(({ overload }) => overload).map(({ service }) => service))
  const drained = wideRows(data).flatMap(({ row }) =>
    row?.cause === 'overload' && row.target !== 'active' && !used.has(row.service ?? '') ? [row] : [],
  )
  return [
    ...drained.map(
      row =>
        `${endpointText(row)} is overloaded (load ${row.load}%): no new connections until its load falls`,
    ),
    ...[...used].map(allOverloadedText),
  ]
}

const leaseText = (leaseMs: number | null | undefined): string | null =>
  leaseMs === 0 ? 'over' : duration(leaseMs ?? null)

const percentText = (percent: number | null): string | null =>
  percent === null ? null : `${Number.isInteger(percent) ? percent : percent.toFixed(1)}%`

export const renderWide = (data: HealthData): string =>
  table(
    [
      { head: 'HOST', cell: r => r.host },
      { head: 'SERVICE', cell: r => r.row?.service ?? r.absent?.service },
      { head: 'VIP', cell: r => r.row?.vip ?? r.absent?.vip },
      { head: 'HEALTH', cell: r => r.row?.health ?? (r.absent && 'absent'), paint: paintState },
      { head: 'LOAD', cell: r => r.row && `${r.row.load}%`, right: true },
      { head: 'CAPACITY', cell: r => r.row?.capacity, right: true },
      { head: 'TARGET', cell: r => r.row?.target, paint: paintState },
      { head: 'CURRENT', cell: r => r.row?.current, paint: paintState },
      { head: 'CAUSE', cell: r => r.row?.cause },
      {
        head: 'LEASE',
        cell: r => leaseText(r.leaseMs),
        right: true,
        paint: text => (text === 'over' ? paintState(text) : text),
      },
      { head: 'SHARE', cell: r => percentText(r.percent), right: true },
    ],
    wideRows(data),
  )
