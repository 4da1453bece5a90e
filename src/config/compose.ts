/** What a managed node runs by: its node file together with what its cluster agreed on. Pure. */
import { type GroupsConfig, groups, type OverloadConfig, overload } from './health-fields.ts'
import type { NodeConfig, NodeFile, PeerConfig, Role, ServiceConfig, TimeoutsConfig } from './schema.ts'

/** Whether roles, peers, services and secrets come from the statements of a managed cluster. */
export const isManaged = (file: NodeFile): boolean => file.cluster.secrets === undefined

/** What a managed cluster says of one node and to it. */
export interface ComposedParts {
  roles: readonly Role[]
  peers: readonly PeerConfig[]
  services: readonly ServiceConfig[]
  /** Those of the cluster document; they win over the node file's. */
  timeouts: { readonly [K in keyof TimeoutsConfig]?: number | undefined }
  /** Those of the cluster document; left out: the defaults, on all nodes alike. */
  groups?: GroupsConfig | undefined
  overload?: OverloadConfig | undefined
}

/**
 * The configuration that a managed node runs by. Its `cluster.secrets` is empty: statements carry secrets, not files.
 */
export const composeConfig = (file: NodeFile, parts: ComposedParts): NodeConfig => {
  const given = Object.entries(parts.timeouts).filter(([, ms]) => ms !== undefined)
  const timeouts: TimeoutsConfig = { ...file.timeouts, ...Object.fromEntries(given) }
  return {
    ...file,
    roles: [...parts.roles],
    cluster: { ...file.cluster, secrets: [] },
    peers: [...parts.peers],
    services: [...parts.services],
    groups: parts.groups ?? groups.parse({}),
    overload: parts.overload ?? overload.parse({}),
    // Each source keeps this rule by itself, but one's lease may meet the other's idle time.
    timeouts: { ...timeouts, routeLease: Math.min(timeouts.routeLease, Math.floor(timeouts.tcpIdle / 2)) },
  }
}
