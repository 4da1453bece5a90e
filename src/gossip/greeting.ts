/** What a peer says of itself, held against what is known of it here (architecture decision 9). Pure. */
import type { PeerConfig } from '../config/schema.ts'
import { type Hello, MAX_VERSION, MIN_VERSION } from './frame-format.ts'
import { roleMask, rolesOf, sameRoles } from './roles.ts'

/** Link versions that a node speaks, both inclusive. */
export interface Versions {
  min: number
  max: number
}
export const VERSIONS: Readonly<Versions> = { min: MIN_VERSION, max: MAX_VERSION }

export interface GreetingRules {
  versions: Versions
  /** False in a managed cluster, where signed membership says what a node may do, not the node. */
  checkRoles: boolean
}

/** Why a HELLO is refused, as a sentence that says what to do; undefined if it fits. */
export const refusalOf = (
  hello: Hello,
  peer: Pick<PeerConfig, 'name' | 'roles'>,
  { versions, checkRoles }: GreetingRules = { versions: VERSIONS, checkRoles: true },
): string | undefined => {
  if (hello.minVersion > versions.max || hello.maxVersion < versions.min)
    return `${peer.name} speaks link versions ${hello.minVersion} to ${hello.maxVersion}, this node ${versions.min} to ${versions.max}: upgrade the older one`
  if (hello.name !== peer.name)
    return `the node with the id of ${peer.name} calls itself ${hello.name}: correct ${checkRoles ? 'peers[].name here or ' : ''}node.name there`
  const configured = roleMask(peer.roles)
  if (checkRoles && !sameRoles(hello.roles, configured))
    return `${peer.name} has the roles ${list(hello.roles)}, but is configured here with ${list(configured)}: correct peers[].roles here or roles there`
  return undefined
}

/** The version that two nodes with overlapping ranges speak: the highest that both know. */
export const negotiated = (ours: Versions, hello: Hello): number => Math.min(ours.max, hello.maxVersion)

const list = (mask: number): string => rolesOf(mask).join(', ') || 'none'
