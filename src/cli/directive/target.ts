/** What an operator's directive is about, and the statement that gives it. Pure. */
import type { DirectiveOrder, StatementBody } from '../../cluster/types.ts'
import { didYouMean } from '../../config/suggest.ts'
import type { HostStatus, NodeRow } from '../../control/types.ts'
import { ShuntError } from '../../errors.ts'
import type { DirectiveState } from '../../health/types.ts'

/** All applications of a host. */
export const ALL = '*'
/** Of a text that is no target. */
const MAX_SHOWN = 100

export interface Target {
  node: string
  /** Name of a service, or ALL. */
  app: string
}

/**
 * `HOST` or `HOST/SERVICE`.
 * @throws ShuntError SHUNT_ERR_USAGE
 */
export const parseTarget = (text: string): Target => {
  const [, node, app] = /^([A-Za-z0-9-]+)(?:\/([A-Za-z0-9-]+))?$/.exec(text) ?? []
  if (node === undefined)
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      `${text === '' ? 'the target is empty' : `${JSON.stringify(text.slice(0, MAX_SHOWN))} is no target`}: write HOST, such as h1, or HOST/SERVICE, such as h1/web; names are of letters, digits and -`,
    )
  return { node, app: app ?? ALL }
}

/** `h1`, `h1/web` */
export const targetText = ({ node, app }: Target): string => (app === ALL ? node : `${node}/${app}`)

/**
 * @param hosts as /v1/hosts has them
 * @throws ShuntError SHUNT_ERR_GUARD for a node without the role, SHUNT_ERR_USAGE for a service that it does not have
 */
export const checkTarget = ({ app }: Target, row: NodeRow, hosts: readonly HostStatus[]): void => {
  if (!row.roles.includes('host'))
    throw new ShuntError('SHUNT_ERR_GUARD', `${row.name} is no host: it has no applications to drain`)
  if (app === ALL) return
  const services = hosts.find(host => host.name === row.name)?.services ?? []
  if (!services.includes(app))
    throw new ShuntError(
      'SHUNT_ERR_USAGE',
      `${row.name} is no host of a service ${app}${didYouMean(app, services)}; it has: ${services.join(', ') || 'none'}`,
    )
}

/** In force for `app` by an order of its own; `active` for none. */
export const orderedState = (orders: readonly DirectiveOrder[], app: string): DirectiveState =>
  orders.find(order => order.app === app)?.state ?? 'active'

/** The next order, or `null` when that is what is ordered already. */
export const nextDirective = (
  row: Pick<NodeRow, 'id' | 'directives'>,
  app: string,
  state: DirectiveState,
  atMs: number,
): (StatementBody & { kind: 'directive' }) | null => {
  if (orderedState(row.directives, app) === state) return null
  const revision = (row.directives.find(order => order.app === app)?.revision ?? 0) + 1
  return { kind: 'directive', id: row.id, app, state, revision, atMs }
}

/** The orders of `row` once `order` is among them. */
export const withDirective = (
  orders: readonly DirectiveOrder[],
  { app, state, revision }: DirectiveOrder,
): DirectiveOrder[] => [...orders.filter(order => order.app !== app), { app, state, revision }]

/** What an order about the whole host leaves to orders about one service, and the other way round; a sentence each. */
export const otherOrders = ({ node, app }: Target, orders: readonly DirectiveOrder[]): string[] =>
  orders
    .filter(order => order.state !== 'active' && order.app !== app && (app === ALL || order.app === ALL))
    .map(order => {
      const other = targetText({ node, app: order.app })
      return `${other} is ordered to be ${order.state} all the same; shunt undrain ${other} ends that`
    })
