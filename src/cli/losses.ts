/** What the cluster would do no more without a node, or without some of its roles. */
import type { Role } from '../config/schema.ts'
import type { NodeRow } from '../control/types.ts'
import { count } from './format.ts'

const ORDER: readonly Role[] = ['forwarder', 'classifier', 'host']

export interface Losses {
  /** That no other node has. */
  roles: Role[]
  /** Names of services whose only host it is. */
  services: string[]
}

type Row = Pick<NodeRow, 'id' | 'name' | 'roles'>

/**
 * Pure. Counts members with the role, whether they are well or not.
 * @param after roles that the node keeps
 */
export const lossesOf = (
  nodes: readonly Row[],
  services: readonly { name: string; hosts: readonly { name: string }[] }[],
  id: string,
  after: readonly string[],
): Losses => {
  const node = nodes.find(each => each.id === id)
  const taken = ORDER.filter(role => node?.roles.includes(role) && !after.includes(role))
  const others = nodes.filter(each => each.id !== id)
  const hosts = new Set(others.filter(each => each.roles.includes('host')).map(each => each.name))
  return {
    roles: taken.filter(role => !others.some(each => each.roles.includes(role))),
    services: taken.includes('host')
      ? services
          .filter(s => s.hosts.some(h => h.name === node?.name) && !s.hosts.some(h => hosts.has(h.name)))
          .map(s => s.name)
      : [],
  }
}

const MAX_NAMED = 5

/** A sentence, or undefined when nothing is lost. Pure. */
export const lossText = ({ roles, services }: Losses): string | undefined => {
  const parts = [
    ...(roles.length > 0 ? [`no other node of the cluster is a ${roles.join(' or ')}`] : []),
    ...(services.length > 0
      ? [
          services.length > MAX_NAMED
            ? `${count(services.length, 'service')} (${services.slice(0, MAX_NAMED).join(', ')}, ...) would have no host`
            : `${services.length === 1 ? 'the service' : 'the services'} ${services.join(', ')} would have no host`,
        ]
      : []),
  ]
  if (parts.length === 0) return undefined
  const text = parts.join(', and ')
  return `${text[0]!.toUpperCase()}${text.slice(1)}.`
}

/** The sentence for a node of the cluster that answers on `socket`. */
export const askLosses = async (
  socket: string,
  nodes: readonly Row[],
  id: string,
  after: readonly string[],
): Promise<string | undefined> => {
  const [{ askConfig }, { parseDocument, servicesOf }] = await Promise.all([
    import('./change/current.ts'),
    import('../config/document.ts'),
  ])
  const { data } = await askConfig(socket)
  const services =
    data.revision === 0 ? [] : servicesOf(parseDocument(data.text, `revision ${data.revision}`))
  return lossText(lossesOf(nodes, services, id, after))
}
