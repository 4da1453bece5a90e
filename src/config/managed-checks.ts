/** Rules of the node file of a managed cluster, whose nodes agree on everything else. */
import { leaseProblems, tunnel6Problems } from './checks.ts'
import { type Problem, unique } from './problems.ts'
import type { NodeFile } from './schema.ts'

/** What must not stand in a managed node's file, where one copy of it would differ from what the cluster agreed on. */
const AGREED: Record<string, string> = {
  roles: 'shunt roles changes roles',
  peers: 'shunt nodes shows the nodes',
  services: 'shunt apply changes services',
  groups: 'shunt apply changes groups',
  overload: 'shunt apply changes overload',
}

/** Keys of a file without `cluster.secrets` that only a file with them may have. */
export const managedShape = (data: object): Problem[] =>
  Object.entries(AGREED)
    .filter(([key]) => key in data)
    .map(([key, how]) => ({
      path: [key],
      message: `must not be here: this file has no cluster.secrets, so it is of a managed cluster, whose nodes agree on ${key} (${how}); for a static cluster give cluster.secrets`,
    }))

/** Every broken rule of a managed node's file. */
export const checkManagedFile = (file: NodeFile): Problem[] => {
  const problems: Problem[] = []
  const { cluster, tunnel } = file.addresses
  const once = unique(problems, 'address')
  once(cluster, ['addresses', 'cluster'])
  if (tunnel !== undefined) once(tunnel, ['addresses', 'tunnel'])
  for (const key of ['cluster6', 'tunnel6'] as const) {
    const ip = file.addresses[key]
    if (ip !== undefined) once(ip, ['addresses', key])
  }
  problems.push(...tunnel6Problems(file.addresses))
  if (tunnel !== undefined && file.interfaces.uplink.length === 0)
    problems.push({
      path: ['interfaces'],
      message: `addresses.tunnel lets this node be a forwarder, which needs interfaces.uplink, where packets for a virtual IP arrive`,
    })
  return [...problems, ...leaseProblems(file.timeouts)]
}
