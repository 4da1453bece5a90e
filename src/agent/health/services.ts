/** Services and applications of this node's configuration, as the health side needs them. Pure. */
import type { DirectiveOrder } from '../../cluster/types.ts'
import type { NodeConfig, ServiceConfig } from '../../config/schema.ts'
import type { AppId, DirectiveCause, DirectiveState, Row } from '../../health/types.ts'

/** The service that an application identifier is of; undefined: the document in force has none. */
export const serviceOf = (
  { services }: Pick<NodeConfig, 'services'>,
  app: Pick<AppId, 'vip' | 'port' | 'protocol'>,
): ServiceConfig | undefined =>
  services.find(
    ({ vip, port, protocol }) => vip === app.vip && port === app.port && protocol === app.protocol,
  )

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

/** Of a directive that every unit follows now. @param row undefined: it is gone meanwhile */
export const settledNews = (
  { node, services }: Pick<NodeConfig, 'node' | 'services'>,
  row: Pick<Row, 'app' | 'cause'> | undefined,
  state: DirectiveState,
): { service: string | undefined; host: string; text: string } => {
  const service = row && serviceOf({ services }, row.app)?.name
  const why = (state !== 'active' && row && OF_ITSELF[row.cause]) || ''
  const text = `every unit has the application of ${service ?? 'a former service'} on ${node.name} ${state}${why}`
  return { service, host: node.name, text }
}
