/** What a peer says of itself, held against what the configuration says of it (architecture decision 9). Pure. */
import type { PeerConfig } from '../config/schema.ts'
import { type Hello, MAX_VERSION, MIN_VERSION } from './frame-format.ts'
import { roleMask, rolesOf, sameRoles } from './roles.ts'

/** Why a HELLO is refused, as a sentence that says what to do; undefined if it fits. */
export const refusalOf = (hello: Hello, peer: Pick<PeerConfig, 'name' | 'roles'>): string | undefined => {
  if (hello.minVersion > MAX_VERSION || hello.maxVersion < MIN_VERSION)
    return `${peer.name} speaks link versions ${hello.minVersion} to ${hello.maxVersion}, this node ${MIN_VERSION} to ${MAX_VERSION}: upgrade the older one`
  if (hello.name !== peer.name)
    return `the node with the id of ${peer.name} calls itself ${hello.name}: correct peers[].name here or node.name there`
  const configured = roleMask(peer.roles)
  if (!sameRoles(hello.roles, configured))
    return `${peer.name} has the roles ${list(hello.roles)}, but is configured here with ${list(configured)}: correct peers[].roles here or roles there`
  return undefined
}

const list = (mask: number): string => rolesOf(mask).join(', ') || 'none'
