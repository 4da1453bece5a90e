/**
 * Roles on the wire: a bit each, append-only. Bits that this version does not know are ignored, so that a
 * newer node may carry roles that an older one has never heard of (R-A2).
 */
import type { Role } from '../config/schema.ts'

const ROLE_BITS: readonly (readonly [Role, number])[] = [
  ['forwarder', 1],
  ['classifier', 2],
  ['host', 4],
]
const KNOWN_BITS = ROLE_BITS.reduce((mask, [, bit]) => mask | bit, 0)

/** The bitmask of a set of roles. */
export const roleMask = (roles: Iterable<Role>): number => {
  const set = new Set(roles)
  return ROLE_BITS.reduce((mask, [role, bit]) => (set.has(role) ? mask | bit : mask), 0)
}

/** The roles of a bitmask, in the order forwarder, classifier, host; unknown bits are left out. */
export const rolesOf = (mask: number): Role[] =>
  ROLE_BITS.filter(([, bit]) => (mask & bit) !== 0).map(([role]) => role)

/** Whether two bitmasks name the same roles, as far as this version knows them. */
export const sameRoles = (a: number, b: number): boolean => (a & KNOWN_BITS) === (b & KNOWN_BITS)
