/** What still keeps new connections from a host when an order about it is withdrawn, and what is stricter than an order. Pure. */
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { OwnRow } from '../../control/types.ts'
import { isStricter } from '../../health/host/directive.ts'
import type { DirectiveCause, DirectiveState } from '../../health/types.ts'
import { rowsOf } from './progress.ts'
import { ALL, type Target, targetText } from './target.ts'

export interface Held {
  /** `null` when the document in force has no such service, or for all of the host. */
  service: string | null
  /** `address:port` of the row; `null` for an order of whose rows nothing is known: nothing listens, or nobody asked. */
  vip: string | null
  state: DirectiveState
  cause: DirectiveCause
  /** TARGET of the order that holds it: `shunt undrain` of it ends that. `null`: no order does. */
  order: string | null
}

const holds = (order: DirectiveOrder, service: string | null): boolean =>
  order.state !== 'active' && (order.app === ALL || order.app === service)

const ofRow = (row: OwnRow, node: string, orders: readonly DirectiveOrder[]): Held[] => {
  const { service, vip, target, cause } = row
  const order = orders.find(each => holds(each, service))
  if (order !== undefined) {
    const state = isStricter(target, order.state) ? target : order.state
    return [{ service, vip, state, cause: 'order', order: targetText({ node, app: order.app }) }]
  }
  // A row that the withdrawn order still holds back is on its way.
  return target === 'active' || cause === 'order' ? [] : [{ service, vip, state: target, cause, order: null }]
}

/**
 * @param rows the table of the host itself, as far as it was asked
 * @param orders about that host, in force, without the one that was withdrawn
 */
export const heldOf = (
  target: Target,
  rows: readonly OwnRow[],
  orders: readonly DirectiveOrder[],
): Held[] => {
  const { node, app } = target
  const mine = rowsOf(rows, app)
  const unseen = orders
    .filter(order => order.state !== 'active' && (app === ALL || order.app === ALL || order.app === app))
    .filter(order => !mine.some(row => holds(order, row.service)))
  return [
    ...mine.flatMap(row => ofRow(row, node, orders)),
    ...unseen.map((order): Held => {
      const service = order.app === ALL ? (app === ALL ? null : app) : order.app
      const by = targetText({ node, app: order.app })
      return { service, vip: null, state: order.state, cause: 'order', order: by }
    }),
  ]
}

/** Of what no order holds: it may get new connections all the same, for want of others (R-B10). */
const OF_ITSELF: Partial<Record<DirectiveCause, string>> = {
  health: 'is failing: it gets new connections only while no host of it is well',
  overload: 'is overloaded: it gets new connections only while all hosts of it are, or fail',
}

/**
 * Rows that get less than an order about them leaves.
 * @param rows the table of the host itself, which follows all its orders
 * @param orders about that host, in force
 */
export const stricterOf = (
  { node, app }: Target,
  state: DirectiveState,
  rows: readonly OwnRow[],
  orders: readonly DirectiveOrder[],
): Held[] => {
  const mine = rowsOf(rows, app)
  const strict = orders.filter(order => isStricter(order.state, state) && order.app !== app)
  const by = ({ app: ordered }: DirectiveOrder): string => targetText({ node, app: ordered })
  const ofRows = mine.flatMap(({ service, vip, target, health }): Held[] => {
    if (!isStricter(target, state)) return []
    const order = strict.find(each => holds(each, service))
    if (order !== undefined) return [{ service, vip, state: target, cause: 'order', order: by(order) }]
    return health === 'failing' ? [{ service, vip, state: target, cause: 'health', order: null }] : []
  })
  const unseen = strict
    .filter(order => app === ALL || order.app === ALL)
    .filter(order => !mine.some(({ service }) => holds(order, service)))
    .map((order): Held => {
      const service = order.app === ALL ? app : order.app
      return { service, vip: null, state: order.state, cause: 'order', order: by(order) }
    })
  return [...ofRows, ...unseen]
}

/** `web is draining (order h1/web), dns is failing: it gets ...`; '' for nothing. */
export const heldText = (held: readonly Held[]): string =>
  held
    .map(({ service, vip, state, cause, order }) => {
      const name = service ?? vip ?? 'all of it'
      const own = order === null ? OF_ITSELF[cause] : undefined
      const why = order === null ? cause : `${cause} ${order}`
      return own === undefined ? `${name} is ${state} (${why})` : `${name} ${own}`
    })
    .join(', ')

/** The same of what is stricter than an order: `web is inactive (order h1)`. */
export const stricterText = (held: readonly Held[]): string =>
  held
    .map(({ service, vip, state, order }) => {
      const why = order === null ? 'it is failing' : `order ${order}`
      return `${service ?? vip ?? 'all of it'} is ${state} (${why})`
    })
    .join(', ')
