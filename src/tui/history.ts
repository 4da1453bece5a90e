/** Rates and values of the last looks, for the sparklines. */
import type { Look } from './model.ts'

/** Looks that are kept. */
export const HISTORY = 60

export interface History {
  atMs: number
  /** Of the agent; another one starts its counters from 0. */
  instance: string
  counters: Readonly<Record<string, number>>
  /** Newest last; rates are a second. */
  series: Readonly<Record<string, readonly number[]>>
}

export const NO_HISTORY: History = { atMs: 0, instance: '', counters: {}, series: {} }

const sum = (counters: Record<string, number>, names: readonly string[]): number =>
  names.reduce((total, name) => total + (counters[name] ?? 0), 0)

/** Counters, by the name of their series. */
const countersOf = ({ status, vips, hosts }: Look): Record<string, number> => ({
  connections: vips.vips.reduce((total, vip) => total + (vip.connections ?? 0), 0),
  'packets kernel': sum(status.counters, ['kernel_route_hit', 'kernel_decap_hit']),
  'packets agent': sum(status.counters, ['ring_packets']),
  ...Object.fromEntries(
    vips.vips.flatMap(vip => (vip.connections === null ? [] : [[`service ${vip.service}`, vip.connections]])),
  ),
  ...Object.fromEntries(
    hosts.hosts.flatMap(host => (host.connections === null ? [] : [[`host ${host.name}`, host.connections]])),
  ),
})

/** Values that are shown as they are. */
const valuesOf = ({ nodes }: Look): Record<string, number> =>
  Object.fromEntries(
    nodes.nodes.flatMap(node => {
      const rtt = node.probeRttMs ?? node.agentRttMs
      return rtt === null ? [] : [[`rtt ${node.name}`, rtt]]
    }),
  )

const append = (values: readonly number[] | undefined, value: number): number[] => [
  ...(values ?? []).slice(1 - HISTORY),
  value,
]

/** Series of what is gone are forgotten, so that the memory is bounded by what the agent shows. */
export const record = (history: History, look: Look): History => {
  const known = history.instance === look.status.instance
  const before: History = known ? history : NO_HISTORY
  const counters = countersOf(look)
  const seconds = (look.atMs - before.atMs) / 1000
  const series: Record<string, readonly number[]> = {}
  for (const [name, value] of Object.entries(counters)) {
    const old = before.counters[name]
    // A counter that fell started anew: how far it had come is not known.
    const rate = old === undefined || value < old || seconds <= 0 ? undefined : (value - old) / seconds
    series[name] = rate === undefined ? (before.series[name] ?? []) : append(before.series[name], rate)
  }
  for (const [name, value] of Object.entries(valuesOf(look)))
    series[name] = append(before.series[name], value)
  return { atMs: look.atMs, instance: look.status.instance, counters, series }
}

/** The newest value, `null` before there are two looks. */
export const latest = (history: History, name: string): number | null => history.series[name]?.at(-1) ?? null
