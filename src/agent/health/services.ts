/** Services and applications of this node's configuration, as the health side needs them. Pure. */
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { NodeConfig, ServiceConfig } from '../../config/schema.ts'
import type { AppId, DirectiveCause, DirectiveState, Row } from '../../health/types.ts'

type Place = Pick<AppId, 'vip' | 'port' | 'protocol'>
const placeOf = ({ vip, port, protocol }: Place): string => `${protocol} ${vip} ${port}`

/** Of documents: each of thousands of rows asks for its service. */
const places = new WeakMap<readonly ServiceConfig[], ReadonlyMap<string, ServiceConfig>>()
const byPlace = (services: readonly ServiceConfig[]): ReadonlyMap<string, ServiceConfig> => {
  const known = places.get(services) ?? new Map(services.map(service => [placeOf(service), service]))
  places.set(services, known)
  return known
}

/** The service that an application identifier is of; undefined: the document in force has none. */
export const serviceOf = (
  { services }: Pick<NodeConfig, 'services'>,
  app: Place,
): ServiceConfig | undefined => byPlace(services).get(placeOf(app))

/** Each (service, host) that `now` has and `before` has not. */
export const addedHosts = (
  before: Pick<NodeConfig, 'services'>,
  now: Pick<NodeConfig, 'services'>,
): { service: string; host: string }[] => {
  const pairs = ({ services }: Pick<NodeConfig, 'services'>) =>
    services.flatMap(({ name, hosts }) => hosts.map(host => ({ service: name, host: host.name })))
  const known = new Set(pairs(before).map(({ service, host }) => `${service} ${host}`))
  return pairs(now).filter(({ service, host }) => !known.has(`${service} ${host}`))
}

/**
 * What the operator ordered for this host, by key of the application; '*' is for all of them. An order to be active is none.
 * @param endpoints what listens here now
 */
export const ordersOf = (
  directives: readonly DirectiveOrder[],
  endpoints: readonly { readonly key: string; readonly service: { readonly name: string } }[],
): Map<string, Exclude<DirectiveState, 'active'>> => {
  const wanted = new Map<string, Exclude<DirectiveState, 'active'>>()
  for (const { app, state } of directives) {
    if (state === 'active') continue
    const keys =
      app === '*' ? ['*'] : endpoints.filter(({ service }) => service.name === app).map(({ key }) => key)
    for (const key of keys) wanted.set(key, state)
  }
  return wanted
}

const OF_ITSELF: Partial<Record<DirectiveCause, string>> = {
  overload: ': it is overloaded',
  health: ': it fails',
}

/** A directive of this host that every unit follows now. */
export interface SettledNews {
  /** Undefined: the document in force has none for it. */
  readonly service: string | undefined
  readonly host: string
  /** Its state, and why. */
  readonly what: string
}

/** @param row undefined: it is gone meanwhile */
export const settledNews = (
  { node, services }: Pick<NodeConfig, 'node' | 'services'>,
  row: Pick<Row, 'app' | 'cause'> | undefined,
  state: DirectiveState,
): SettledNews => {
  const service = row && serviceOf({ services }, row.app)?.name
  const why = (state !== 'active' && row && OF_ITSELF[row.cause]) || ''
  return { service, host: node.name, what: `${state}${why}` }
}

/** Rows of applications at their services' own ports before those at endpoints of their own. */
export const ownPortsFirst = (rows: readonly Row[]): Row[] => {
  const { true: own = [], false: others = [] } = Object.groupBy(rows, ({ app }) =>
    app.physicalPort === app.port ? 'true' : 'false',
  )
  return [...own, ...others]
}
