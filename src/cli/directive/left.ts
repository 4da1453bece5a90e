/** How many connections a host, or a service of it, has in the whole cluster: what an operator wants to know before it is stopped. */
import { get } from '../../control/client.ts'
import {
  type AppsData,
  type FlowsData,
  MAX_FLOWS,
  type NodeRow,
  type ServiceConnections,
} from '../../control/types.ts'
import { ShuntError } from '../../errors.ts'
import { count } from '../format.ts'
import { pathAt } from '../path-at.ts'
import { ALL, type Target } from './target.ts'

export interface Left {
  /** By the kernel of the host itself; `null`: it could not be asked, or does not know. */
  host: number | null
  /** Of what the host does not know, by those that could be asked. `null`: there is nothing that it does not know. */
  forwarders: {
    /** Not those that are closing. */
    flows: number
    /** Of these services; `null`: of all that the target is about. */
    services: string[] | null
    by: string[]
    /** Some flows are not counted: there are too many to list. */
    isPart: boolean
    /** Could not be asked. */
    missing: string[]
  } | null
}

/** Asks a node of itself. @throws ShuntError */
export type AskNode = <T>(path: string, node: NodeRow) => Promise<T>

export const askThrough =
  (socket: string): AskNode =>
  async <T>(path: string, node: NodeRow) =>
    (await get(socket, pathAt(path, node.self ? undefined : node.name))).data as T

/** Agents that cannot be asked: a dead one is not even tried. */
const tried = async <T>(node: NodeRow, ask: () => Promise<T>): Promise<T | null> => {
  if (!node.self && node.agent === 'dead') return null
  return ask().catch((error: unknown) => {
    if (error instanceof ShuntError) return null
    throw error
  })
}

const isForwarder = ({ roles, retiring = [] }: Pick<NodeRow, 'roles'> & { retiring?: string[] }): boolean =>
  roles.includes('forwarder') || retiring.includes('forwarder')

/** Flows through one forwarder that are not closing. A host or service that it does not know has none there. */
const flowsAt = async (
  ask: AskNode,
  node: NodeRow,
  host: string,
  service: string | null,
): Promise<{ flows: number; isPart: boolean }> => {
  const query = new URLSearchParams({ limit: String(MAX_FLOWS), host, ...(service !== null && { service }) })
  try {
    const { flows, shown } = await ask<FlowsData>(`/v1/flows?${query}`, node)
    return { flows: flows.filter(({ state }) => state !== 'closing').length, isPart: shown >= MAX_FLOWS }
  } catch (error) {
    if (error instanceof ShuntError && error.code === 'SHUNT_ERR_USAGE') return { flows: 0, isPart: false }
    throw error
  }
}

const throughForwarders = async (
  ask: AskNode,
  nodes: readonly NodeRow[],
  host: string,
  services: string[] | null,
): Promise<NonNullable<Left['forwarders']>> => {
  const asked = await Promise.all(
    nodes.filter(isForwarder).map(async node => ({
      name: node.name,
      counts: await tried(node, () =>
        Promise.all((services ?? [null]).map(service => flowsAt(ask, node, host, service))),
      ),
    })),
  )
  const counts = asked.flatMap(each => each.counts ?? [])
  return {
    flows: counts.reduce((sum, { flows }) => sum + flows, 0),
    services,
    by: asked.filter(each => each.counts !== null).map(({ name }) => name),
    isPart: counts.some(({ isPart }) => isPart),
    missing: asked.filter(each => each.counts === null).map(({ name }) => name),
  }
}

/** The host knows best: a forwarder sees of a connection only what its client sends, and not its end by the host. */
export const countLeft = async (
  { node, app }: Target,
  nodes: readonly NodeRow[],
  ask: AskNode,
): Promise<Left> => {
  const row = nodes.find(({ name }) => name === node)
  const apps = row === undefined ? null : await tried(row, () => ask<AppsData>('/v1/apps', row))
  // An agent of an earlier version does not count them.
  const told = ((apps as Partial<AppsData> | null)?.services ?? []).filter(
    ({ service }) => app === ALL || service === app,
  )
  const known = told.filter(
    (each): each is ServiceConnections & { connections: number } => each.connections !== null,
  )
  if (known.length === 0)
    return { host: null, forwarders: await throughForwarders(ask, nodes, node, app === ALL ? null : [app]) }
  const unknown = told.filter(({ connections }) => connections === null).map(({ service }) => service)
  return {
    host: known.reduce((sum, { connections }) => sum + connections, 0),
    forwarders: unknown.length === 0 ? null : await throughForwarders(ask, nodes, node, unknown),
  }
}

/** All of them, or `null` when that is not known. */
export const leftNumber = ({ host, forwarders }: Left): number | null => {
  if (forwarders === null) return host
  return forwarders.isPart || forwarders.missing.length > 0 || forwarders.by.length === 0
    ? null
    : (host ?? 0) + forwarders.flows
}

const some = (n: number, what: string): string => (n === 0 ? `no ${what}s` : count(n, what))

/** `3 connections left on h1`, and who could not be asked. */
export const leftText = ({ host, forwarders }: Left, node: string): string => {
  const own = host === null ? [] : [`${some(host, 'connection')} left on ${node}`]
  if (forwarders === null) return own.join()
  const { flows, services, by, isPart, missing } = forwarders
  const lost = missing.length === 0 ? '' : ` (${missing.join(', ')} could not be asked)`
  const what = services === null ? '' : ` of ${services.join(', ')}`
  if (by.length === 0) return [...own, `how many connections${what} are left is not known${lost}`].join(', ')
  const least = isPart || (missing.length > 0 && flows > 0) ? 'at least ' : ''
  return [...own, `${least}${some(flows, 'connection')}${what} left through ${by.join(', ')}${lost}`].join(
    ', ',
  )
}
