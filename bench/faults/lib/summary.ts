/** From repetitions to rows: the least, the middle and the most of each figure. Pure. */
import { median, short } from '../../lib/stats.ts'
import { COMPONENTS, type Component, WAYS, type Way } from '../contract.ts'
import type { Outcome } from './measure.ts'

/** One repetition; `error`: why there is nothing to count. */
export interface Repetition {
  readonly driver: string
  readonly component: Component
  readonly way: Way
  readonly outcome: Outcome | null
  readonly error: string | null
}

export interface Row {
  readonly component: Component
  readonly way: Way
  readonly driver: string
  readonly outcomes: readonly Outcome[]
  /** Repetitions that came to nothing. */
  readonly failed: number
}

const order = <T extends object>(names: T): ((name: string) => number) => {
  const all = Object.keys(names)
  return name => all.indexOf(name)
}
const componentOrder = order(COMPONENTS)
const wayOrder = order(WAYS)

/** A row a fault and driver, by fault. */
export const rowsOf = (repetitions: readonly Repetition[], drivers: readonly string[]): Row[] => {
  const groups = Map.groupBy(repetitions, ({ component, way, driver }) => `${component}/${way}/${driver}`)
  return [...groups.values()]
    .map(group => ({
      ...{ component: group[0]!.component, way: group[0]!.way, driver: group[0]!.driver },
      outcomes: group.flatMap(({ outcome }) => outcome ?? []),
      failed: group.filter(({ outcome }) => outcome === null).length,
    }))
    .toSorted(
      (a, b) =>
        componentOrder(a.component) - componentOrder(b.component) ||
        wayOrder(a.way) - wayOrder(b.way) ||
        drivers.indexOf(a.driver) - drivers.indexOf(b.driver),
    )
}

/** `12`, or `0/3/12` where they differ: least, middle, most. Unknown ones are left out; `-` without any. */
export const spread = (values: readonly (number | null)[]): string => {
  const known = values.filter(value => value !== null)
  if (known.length === 0) return '-'
  const three = [Math.min(...known), median(known), Math.max(...known)].map(value => Math.round(value))
  return new Set(three).size === 1 ? String(three[0]) : three.join('/')
}

/** Broken connections of all that could have lived on, in percent, over all repetitions. */
export const brokenShare = (row: Row, connections: number): string => {
  const broken = row.outcomes.reduce(
    (sum, { brokenIdle, brokenActive }) => sum + brokenIdle + brokenActive,
    0,
  )
  const own = row.outcomes.reduce((sum, outcome) => sum + outcome.own, 0)
  const all = row.outcomes.length * connections - own
  return all === 0 ? '-' : broken === 0 ? '0' : short((100 * broken) / all)
}
