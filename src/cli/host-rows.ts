/** The health and load tables as lines of `shunt hosts -o wide`. Pure, but for colour. */
import type { AbsentRow, EndpointRow, HealthData, ShareRow } from '../control/types.ts'
import { absentOf, missedOf, missedRemedy, orderedAbsentOf, orderedAbsentText } from './absent.ts'
import { causeText } from './cause.ts'
import { duration } from './format.ts'
import { allOverloadedText, failOpenText, namesText, noneText, whyNone } from './ready.ts'
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

/** One warning for all hosts of a service that fail for the same reason; it is known to the host itself alone. */
const failingTexts = (data: HealthData): string[] => {
  const failing = wideRows(data).flatMap(({ row, leaseMs }) =>
    row?.health === 'failing' && leaseMs !== 0 ? [row] : [],
  )
  const whyOf = (row: EndpointRow): string =>
    data.own?.rows.find(own => own.host === row.host && own.vip === row.vip && own.protocol === row.protocol)
      ?.why ?? ''
  return [...Map.groupBy(failing, row => `${row.service ?? row.vip} ${whyOf(row)}`).values()].map(rows => {
    const [first] = rows as [EndpointRow]
    const where = `${first.service ?? first.vip} on ${namesText(rows.map(({ host }) => host))} is failing`
    const why = whyOf(first)
    return why === '' ? `${where}; shunt hosts -o wide --node ${first.host} says why` : `${where}: ${why}`
  })
}

const missedTexts = (data: HealthData): string[] =>
  [...Map.groupBy(missedOf(data), ({ service }) => service)].map(
    ([service, rows]) =>
      `nothing listens for ${service} on ${namesText(rows.map(({ host }) => host))}: ${missedRemedy(rows[0]!)}`,
  )

/** What keeps connections away from a host, or sends them to one that should get none. */
export const wideTroubles = (data: HealthData): string[] => [
  ...failingTexts(data),
  ...missedTexts(data),
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

/** Orders that show in no row, since the application is not there. */
export const orderRemarks = (data: HealthData): string[] =>
  orderedAbsentOf(data).map(row => `${orderedAbsentText(row)}; shunt undrain ends it`)

/** Of a host that is not heard nothing is known: what its rows said last is no fact any more. */
const known = <T>({ row, leaseMs }: WideRow, of: (row: EndpointRow) => T): T | null =>
  row === null || leaseMs === 0 ? null : of(row)

const leaseText = (leaseMs: number | null | undefined): string | null =>
  leaseMs === 0 ? 'over' : duration(leaseMs ?? null)

const percentText = (percent: number | null): string | null =>
  percent === null ? null : `${Number.isInteger(percent) ? percent : percent.toFixed(1)}%`

/** By whom the heartbeats of a host come; null: nothing comes, or its agent is too old to have any. */
const viaText = (data: HealthData, { host, leaseMs }: WideRow): string | null => {
  const known = data.cache?.find(each => each.host === host)
  return known === undefined || !leaseMs ? null : (known.via ?? 'direct')
}

export const renderWide = (data: HealthData): string =>
  table(
    [
      { head: 'HOST', cell: r => r.host },
      { head: 'SERVICE', cell: r => r.row?.service ?? r.absent?.service },
      { head: 'VIP', cell: r => r.row?.vip ?? r.absent?.vip },
      { head: 'HEALTH', cell: r => known(r, row => row.health) ?? (r.absent && 'absent'), paint: paintState },
      { head: 'LOAD', cell: r => known(r, row => `${row.load}%`), right: true },
      { head: 'CAPACITY', cell: r => r.row?.capacity ?? r.absent?.capacity, right: true },
      { head: 'TARGET', cell: r => known(r, row => row.target) ?? r.absent?.order, paint: paintState },
      { head: 'CURRENT', cell: r => known(r, row => row.current), paint: paintState },
      {
        head: 'CAUSE',
        cell: r => known(r, row => causeText(row, data.shares)) ?? (r.absent?.order && 'order'),
      },
      { head: 'VIA', cell: r => viaText(data, r) },
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
